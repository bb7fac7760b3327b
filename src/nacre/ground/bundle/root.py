"""The root of a container: bound at its place, filled, and at last made the root of all.

Until then the host's own paths are there, for the mounts, for hooks and for system calls that need /proc.
"""

from __future__ import annotations

import os
import stat

from ...words.errors import SandboxError
from .. import linux, mounts
from ..sandbox.operations import null_device
from ..sandbox.room import Operation
from .place import BundleRoom

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..sandbox.room import Room

_ABSENT = frozenset((2, 20))
_HIDING = linux.MOUNT_ATTR_RDONLY | linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV | linux.MOUNT_ATTR_NOEXEC


class BindRoot(Operation):
    """The folder of the root as a mount of its own. `propagation`: flags for what the host shows meanwhile.

    Nothing may be shared where the root is moved (pivot_root(2)).
    """

    path: str
    propagation: int = 0
    label: str = ""

    def apply(self, room: Room) -> None:  # noqa: D102
        assert isinstance(room, BundleRoom)
        room.rootfs, room.label = self.path, self.label
        try:
            linux.mount(None, "/", "", self.propagation or linux.MS_REC | linux.MS_SLAVE)
            point, kind = mounts.shared_with(self.path)
            if kind == "shared":
                linux.mount(None, point, "", linux.MS_PRIVATE)
            clone = linux.OPEN_TREE_CLONE | linux.AT_RECURSIVE
            room.root = linux.open_tree(linux.AT_FDCWD, self.path, clone)
            linux.move_mount(room.root, linux.AT_FDCWD, self.path)
        except OSError as error:
            raise SandboxError(f"cannot mount the root {self.path}: {error.strerror}") from None

    def __str__(self) -> str:
        return f"root: {self.path}"


class ReadOnlyPaths(Operation):
    """Existing paths with all beneath them; links stay in the root."""

    paths: tuple[str, ...]

    def apply(self, room: Room) -> None:  # noqa: D102
        clone = linux.OPEN_TREE_CLONE | linux.AT_RECURSIVE | linux.AT_EMPTY_PATH
        for path in self.paths:
            place = _existing(room, path)
            if place < 0:
                continue
            try:
                fd = linux.open_tree(place, b"", clone)
                linux.mount_setattr(fd, add=linux.MOUNT_ATTR_RDONLY, flags=linux.AT_RECURSIVE)
                linux.move_mount(fd, place)
                os.close(fd)
            except OSError as error:
                raise SandboxError(f"cannot make {path} read-only: {error.strerror}") from None
            finally:
                os.close(place)

    def __str__(self) -> str:
        return f"read-only: {' '.join(self.paths)}"


class MaskPaths(Operation):
    """Existing paths: a file behind the null device, a folder behind an empty tmpfs.

    The null device is the host's.
    """

    paths: tuple[str, ...]

    def apply(self, room: Room) -> None:  # noqa: D102
        null = null_device()
        for path in self.paths:
            place = _existing(room, path)
            if place < 0:
                continue
            try:
                self._hide(place, null)
            except OSError as error:
                raise SandboxError(f"cannot mask {path}: {error.strerror}") from None
            finally:
                os.close(place)
        os.close(null)

    def _hide(self, place: int, null: int) -> None:
        if stat.S_ISDIR(os.fstat(place).st_mode):
            options = (("nr_blocks", "1"), ("nr_inodes", "1"), ("mode", "755"))
            fd = mounts.filesystem("tmpfs", options, _HIDING)
        else:
            fd = linux.open_tree(null, b"", linux.OPEN_TREE_CLONE | linux.AT_EMPTY_PATH)
        linux.move_mount(fd, place)
        os.close(fd)

    def __str__(self) -> str:
        return f"masked: {' '.join(self.paths)}"


def _existing(room: Room, path: str) -> int:
    """A descriptor of what is there; -1 for nothing. Raises SandboxError."""
    try:
        return room.open(path)
    except OSError as error:
        if error.errno in _ABSENT:
            return -1
        raise SandboxError(f"cannot open {path} in the container: {error.strerror}") from None


class TakeHost(Operation):
    """The root takes the place of the host's, which goes. `moved`: without pivot_root(2), for a ramfs.

    `propagation`: flags that the root has from then on.
    """

    moved: bool = False
    propagation: int = 0

    def apply(self, room: Room) -> None:  # noqa: D102
        try:
            os.fchdir(room.root)
            self._move(room) if self.moved else self._pivot()
            os.chdir("/")
            if self.propagation:
                linux.mount(None, "/", "", self.propagation)
        except OSError as error:
            hint = "" if self.moved else "for a root on a ramfs there is --no-pivot"
            raise SandboxError(f"cannot change the root: {error.strerror}", hint=hint) from None

    def _pivot(self) -> None:
        """Source: pivot_root(2), "pivot_root(".", ".")"; nothing of what goes is told to others."""
        host = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        linux.pivot_root(".", ".")
        os.fchdir(host)
        linux.mount(None, ".", "", linux.MS_REC | linux.MS_SLAVE)
        linux.umount(".")
        os.close(host)

    def _move(self, room: Room) -> None:
        assert isinstance(room, BundleRoom)
        linux.mount(room.rootfs, "/", "", linux.MS_MOVE)
        os.chroot(".")

    def __str__(self) -> str:
        return "leave the host's root"
