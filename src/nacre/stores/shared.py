"""EROFS mounts that the containers of a store share: mounted once, so that each page is cached once.

    ROOT/shared/<index>.<devices>.<boot>.<pid namespace>.<pid>.<start>.<fd>    empty

Such a name says: that process has that mount open as that descriptor. The mount is attached nowhere. Who
needs the same one takes a duplicate of the descriptor (pidfd_getfd(2)) and writes down a name of its own,
so the mount lives as long as anybody uses it, and is gone with the last one, however that ends: nothing has
to be unmounted, nothing shows in a mount table or travels into another mount namespace.

The lock of a mount is flock(2) on its index. Whoever holds it finds each name true or its process dead:
names are written and removed, and their descriptors closed, under the lock. Names of the dead are removed by
whoever meets them. Where sharing fails for any reason, the mount is one's own.
"""

from __future__ import annotations

import fcntl
import os
from time import sleep

from ..ground import linux, mounts
from ..ground.files import private_dir, trace, unlink
from ..words.errors import StoreError
from ..words.mount import Directory, Erofs, Overlay
from .database import boot_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from ..words.mount import Mount

FOLDER = "shared"
_TRIES, _PAUSE = 100, 0.005


class Shared:
    """A mount whose lower EROFS mounts this process holds, and shares with the other users of the store.

    `with Shared(root, mount) as held:` gives the mount with paths of the descriptors in the place of `Erofs`
    values; good until the end of the block, in this process and in those that see its /proc. The block may
    end in another thread, not in a forked child. Raises SandboxError when something cannot be mounted.
    """

    def __init__(self, root: str, mount: Mount) -> None:
        """Nothing is done yet."""
        self._folder, self._mount = f"{root}/{FOLDER}", mount
        self._held: list[_Held] = []

    def __enter__(self) -> Mount:
        mount = self._mount
        if not isinstance(mount, Overlay) or all(isinstance(lower, str) for lower in mount.lowers):
            return mount
        if not _proc_is_ours() or not mounts.takes_detached():
            return mount
        try:
            return mount.replace(lowers=tuple(map(self._lower, mount.lowers)))
        except BaseException:
            self._release()
            raise

    def describe(self) -> list[list[Any]]:
        """What is held, as plain values: for `release`, in another program of this process."""
        return [held.describe() for held in self._held]

    def _lower(self, lower: str | Erofs) -> str:
        if isinstance(lower, str):
            return lower
        held = _Held(self._folder, lower)
        self._held.append(held)
        return f"/proc/{os.getpid()}/fd/{held.fd}"

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self._release()

    def _release(self) -> None:
        while self._held:
            self._held.pop().release()


def release(described: list[list[Any]]) -> None:
    """Let go of what another program of this process held, as it was described."""
    for fd, name, index in described:
        _Held.adopt(fd, name, index).release()


def detached(root: str, mount: Mount) -> int:
    """As `mounts.detached`, over the mounts that others share already. Raises SandboxError."""
    with Shared(root, mount) as held:
        return mounts.detached(held)


def opened(root: str, mount: Mount) -> int:
    """As `mounts.opened`, over the mounts that others share already. Raises SandboxError."""
    return mounts.opened(mount) if isinstance(mount, Directory) else detached(root, mount)


def tidy(root: str) -> None:
    """Remove the names of processes that are dead. Raises OSError."""
    for name in _names(f"{root}/{FOLDER}"):
        if _is_dead(name):
            unlink(f"{root}/{FOLDER}/{name}")


class _Held:
    """One mount, open as `fd`, written down if that is possible."""

    def __init__(self, folder: str, lower: Erofs) -> None:
        self.fd, self._name, self._index = -1, "", lower.index
        try:
            with _Lock(lower.index):
                self._join(folder, lower)
        except (OSError, StoreError):
            if self.fd < 0:
                self.fd = mounts.detached(lower)

    @classmethod
    def adopt(cls, fd: int, name: str, index: str) -> _Held:
        """One that `describe` told of."""
        self = cls.__new__(cls)
        self.fd, self._name, self._index = fd, name, index
        return self

    def describe(self) -> list[Any]:
        """As plain values, for `adopt`."""
        return [self.fd, self._name, self._index]

    def _join(self, folder: str, lower: Erofs) -> None:
        key = _key(lower)
        self.fd = _borrow(folder, key)
        if self.fd < 0:
            self.fd = mounts.detached(lower)
        trace("shared:mounted")
        private_dir(folder)
        name = f"{folder}/{key}.{_myself()}.{self.fd}"
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        self._name = name
        trace("shared:written")

    def release(self) -> None:
        """Let go. A name that cannot be removed now keeps its descriptor open: it must not lie."""
        try:
            if self._name:
                with _Lock(self._index):
                    unlink(self._name)
                    os.close(self.fd)
            else:
                os.close(self.fd)
        except OSError:
            return


class _Lock:
    """flock(2) on a file. TimeoutError when a process that is stopped seems to hold it."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._take()
        except BaseException:
            os.close(self._fd)
            raise

    def _take(self) -> None:
        for _ in range(_TRIES):
            try:
                return fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                sleep(_PAUSE)
        raise TimeoutError("a shared mount is locked")

    def __enter__(self) -> None:
        return

    def __exit__(self, *_exc: object) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)  # a child that was forked meanwhile has it open as well
        os.close(self._fd)


def _key(lower: Erofs) -> str:
    """Which files lie beneath: inode numbers are nobody else's as long as a mount holds the files."""
    devices = sum(os.stat(path).st_ino for path in lower.devices)
    return f"{os.stat(lower.index).st_ino:x}.{devices:x}"


def _myself() -> str:
    return f"{_here()}.{os.getpid()}.{linux.start_time(os.getpid())}"


def _here() -> str:
    """This boot and pid namespace: where a pid means what it says."""
    return f"{boot_id()[:8]}.{os.stat('/proc/self/ns/pid').st_ino}"


def _proc_is_ours() -> bool:
    """Whether /proc is that of our pid namespace; else its numbers are other processes."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def _borrow(folder: str, key: str) -> int:
    """A duplicate of somebody's descriptor of the mount, -1 if there is none to be had."""
    mine = f"{key}.{_here()}."
    for name in _names(folder):
        if name.startswith(mine):
            fd = _duplicate(*map(int, name.rsplit(".", 3)[1:]))
            if fd >= 0:
                return fd
            if _is_dead(name):
                unlink(f"{folder}/{name}")
    return -1


def _duplicate(pid: int, start: int, number: int) -> int:
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return -1
    try:
        return linux.pidfd_getfd(pidfd, number) if linux.start_time(pid) == start else -1
    except OSError:
        return -1
    finally:
        os.close(pidfd)


def _is_dead(name: str) -> bool:
    """Of another boot, or of a process of this pid namespace that has ended, perhaps not yet waited for."""
    _, _, boot, namespace, pid, start, number = name.split(".")
    if f"{boot}.{namespace}" != _here():
        return boot != boot_id()[:8]
    return linux.start_time(int(pid)) != int(start) or not os.path.lexists(f"/proc/{pid}/fd/{number}")


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
