"""The IPC namespace of another container, and its /dev/shm."""

from __future__ import annotations

import os

from ...words.errors import SandboxError
from .. import linux
from .borrow import within
from .operations import enter, shown
from .room import Operation, Room

_SHARED = "/dev/shm"


class JoinIpc(Operation):
    """Enter the namespace at `path`, /proc/PID/ns/ipc, and get hold of what that process has at /dev/shm.

    To be done while the mount namespace is that of the parent. The other's mount namespace is entered for one
    system call; what that container may have put at the path is its own, whatever it is.
    """

    path: str
    started: int = 0

    def apply(self, room: Room) -> None:  # noqa: D102
        folder = os.path.dirname(self.path)
        try:
            enter(self.path, linux.CLONE_NEWIPC, self.started)
            room.shared = _shared(f"{folder}/mnt", self.started)
        except PermissionError:
            raise SandboxError(
                "failed to join IPC namespace: it is in another user namespace",
                hint="containers created by root can",
            ) from None
        except OSError as error:
            raise SandboxError(f"failed to join IPC namespace: {error.strerror}") from None

    def __str__(self) -> str:
        return f"join the ipc namespace at {self.path}"


def _shared(path: str, started: int) -> int:
    """A detached copy of the mount at /dev/shm of that mount namespace."""
    flags = linux.OPEN_TREE_CLONE | linux.AT_SYMLINK_NOFOLLOW
    namespace = shown(path, started)
    try:
        return within(namespace, lambda: linux.open_tree(linux.AT_FDCWD, _SHARED, flags))
    finally:
        os.close(namespace)


class SharedMemory(Operation):
    """What `JoinIpc` got hold of, at /dev/shm."""

    def apply(self, room: Room) -> None:  # noqa: D102
        os.mkdir(_SHARED, 0o755)
        linux.move_mount(room.shared, linux.AT_FDCWD, _SHARED)
        os.close(room.shared)

    def __str__(self) -> str:
        return f"{_SHARED} of the other container"
