"""EROFS mounts that the containers of a store share: mounted once, so that each page is cached once.

    ROOT/shared/<index>.<devices>.<boot>.<pid namespace>.<pid>.<start>.<fd>    empty

Such a name says: that process has that mount open as that descriptor. The mount is attached nowhere. Who
needs the same one takes a duplicate of the descriptor (pidfd_getfd(2)) and writes down a name of its own,
so the mount lives as long as anybody uses it, and is gone with the last one, however that ends: nothing has
to be unmounted, nothing shows in a mount table or travels into another mount namespace.

The lock of a mount is flock(2) on its index. Whoever holds it finds each name true or its process dead:
names are written and removed, and their descriptors closed, under the lock. Names of the dead are removed by
whoever meets them. Where sharing fails for any reason, the mount is one's own.

In the same way a process writes down that it holds the group by which the contents of a tree come when they
are read (`trees.lazy`): <index>.lazy.<boot>… who shows the tree, <index>.fill.<boot>… who fills it.
"""

from __future__ import annotations

import fcntl
import os
from time import sleep

from ..ground import linux, mounts
from ..ground.files import private_dir, trace, unlink
from ..words.errors import StoreError
from ..words.mount import BY_DESCRIPTOR, Directory, Erofs, Overlay
from .database import boot_id
from .layout import SHARED, has_lazy, names
from .trees.files import FS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Any, NoReturn

    from ..words.mount import Mount
    from .served import ShownIndex
    from .store import Store

_HIGH = 32
_TRIES, _PATIENT, _PAUSE = 100, 6000, 0.005
"""How often a lock is tried: for a mount that one can make oneself, and where nothing goes without it."""


class Shared:
    """A mount whose lower EROFS mounts this process holds, and shares with the other users of the store.

    `with Shared(root, mount) as held:` gives the mount with paths of the descriptors in the place of `Erofs`
    values; good until the end of the block, in this process and in those that see its /proc. The block may
    end in another thread, not in a forked child. Raises SandboxError when something cannot be mounted.
    """

    def __init__(self, root: str, mount: Mount) -> None:
        """Nothing is done yet."""
        self._folder, self._mount = f"{root}/{SHARED}", mount
        self._held: list[_Held] = []

    def __enter__(self) -> Mount:
        mount = self._mount
        if not isinstance(mount, Overlay) or all(isinstance(lower, str) for lower in mount.lowers):
            return mount
        if not mount.userxattr and (not _proc_is_ours() or not mounts.takes_detached()):
            return mount
        try:
            if mount.userxattr:
                return mount.replace(lowers=self._served(mount.lowers))
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
        for index in lower.lazy:
            self._held.append(_Group(self._folder, index))
        held = self._hold(lower)
        self._held.append(held)
        return f"/proc/{os.getpid()}/fd/{held.fd}"

    def _served(self, lowers: Sequence[str | Erofs]) -> tuple[str, ...]:
        """Where the kernel mounts no index, each is served; others cannot use these mounts."""
        shown = _opened(lowers)
        mounts = dict.fromkeys(lowers, -1) | _mounted(shown)
        self._held += [_Held.adopt(fd, "", "") for fd in mounts.values() if fd >= 0]
        self._held += [_Shown(self._folder, lower.index, mounts[lower]) for lower in shown]
        return tuple(
            f"{BY_DESCRIPTOR}{mounts[lower]}" if lower in shown else _files(lower) for lower in lowers
        )

    def _hold(self, lower: Erofs) -> _Held:
        return _Held(self._folder, lower.index, lambda: _key(lower), lambda: mounts.detached(lower))

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self._release()

    def _release(self) -> None:
        while self._held:
            self._held.pop().release()


class Unshared(Shared):
    """As `Shared`, with mounts of its own, which nobody else takes."""

    def _hold(self, lower: Erofs) -> _Held:
        return _Held.adopt(mounts.detached(lower), "", lower.index)


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
    for name in names(f"{root}/{SHARED}"):
        if _is_dead(name):
            unlink(f"{root}/{SHARED}/{name}")


def hold_group(root: str, index: str, group: int) -> None:
    """Write down that this process has the group of a tree and fills it. Raises OSError, StoreError."""
    with _Lock(index, _PATIENT):
        _write_down(f"{root}/{SHARED}", _group_key(index, "fill"), group)


def release_group(root: str, index: str, group: int) -> None:
    """It does not any more: close it, with its name. Raises OSError."""
    _Held.adopt(group, f"{root}/{SHARED}/{_group_key(index, 'fill')}.{_myself()}.{group}", index).release()


def is_filled(root: str, index: str) -> bool:
    """Whether a process sees to the content of the tree with this index."""
    try:
        mine = f"{_group_key(index, 'fill')}.{_here()}."
    except OSError:
        return False
    return any(not _is_dead(name) for name in names(f"{root}/{SHARED}") if name.startswith(mine))


def lazy_folders(store: Store, key: str) -> list[str]:
    """As `ActiveRows.lazy`; where no container shows such a tree the rooms of content are not loaded."""
    return store.actives.rows.lazy(key) if has_lazy(store.root) else []


def borrow_group(root: str, index: str) -> int:
    """A duplicate of the group that a container holds whose tree this is, -1 for none. Raises OSError."""
    with _Lock(index):
        return _borrow(f"{root}/{SHARED}", _group_key(index, "lazy"))


def _group_key(index: str, kind: str) -> str:
    return f"{os.stat(index).st_ino:x}.{kind}"


def _write_down(folder: str, key: str, fd: int) -> str:
    """The name that says that this process has it open; under the lock."""
    private_dir(folder)
    name = f"{folder}/{key}.{_myself()}.{fd}"
    os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    return name


class _Held:
    """One descriptor, a duplicate of somebody's or what `make` gives, written down if that is possible."""

    _tries = 0

    def __init__(self, folder: str, index: str, key: Callable[[], str], make: Callable[[], int]) -> None:
        self.fd, self._name, self._index = -1, "", index
        try:
            with _Lock(index, self._tries):
                self._join(folder, key(), make)
        except (OSError, StoreError):
            if self.fd < 0:
                self.fd = make()

    @classmethod
    def adopt(cls, fd: int, name: str, index: str) -> _Held:
        """One that `describe` told of."""
        self = cls.__new__(cls)
        self.fd, self._name, self._index = fd, name, index
        return self

    def describe(self) -> list[Any]:
        """As plain values, for `adopt`."""
        return [self.fd, self._name, self._index]

    def _join(self, folder: str, key: str, make: Callable[[], int]) -> None:
        self.fd = _borrow(folder, key)
        if self.fd < 0:
            self.fd = make()
        trace("shared:mounted")
        self._name = _write_down(folder, key, self.fd)
        trace("shared:written")

    def release(self) -> None:
        """Let go. A name that cannot be removed now keeps its descriptor open: it must not lie."""
        try:
            if self._name:
                self._let_go()
            else:
                os.close(self.fd)
        except OSError:
            return

    def _let_go(self) -> None:
        try:
            lock = _Lock(self._index)
        except FileNotFoundError:  # nobody can ask for it any more
            self._remove()
        else:
            with lock:
                self._remove()

    def _remove(self) -> None:
        unlink(self._name)
        os.close(self.fd)


class _Group(_Held):
    """The group of a lazy tree. Raises StoreError where nobody fills that, or this cannot be written down."""

    _tries = _PATIENT

    def __init__(self, folder: str, index: str) -> None:
        def make() -> int:
            fd = _borrow(folder, _group_key(index, "fill"))
            return fd if fd >= 0 else _gone()

        if not is_filled(folder.removesuffix(f"/{SHARED}"), index):
            _gone()
        super().__init__(folder, index, lambda: _group_key(index, "lazy"), make)
        if not self._name:
            os.close(self.fd)
            _gone()


def _opened(lowers: Sequence[str | Erofs]) -> dict[Erofs, ShownIndex]:
    """Those that are lazy still: one may have become an ordinary tree."""
    from .served import ShownIndex

    found: dict[Erofs, ShownIndex] = {}
    for lower in lowers:
        if isinstance(lower, Erofs) and (index := ShownIndex.attempt(lower)):
            found[lower] = index
    return found


def _mounted(shown: dict[Erofs, ShownIndex]) -> dict[Erofs, int]:
    from .served import serve

    found = dict(zip(shown, serve([*shown.values()]), strict=True)) if shown else {}
    return {lower: _high(fd) for lower, fd in found.items()}


def _high(fd: int) -> int:
    """The same under a number that the child of a sandbox does not need for anything else."""
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    finally:
        os.close(fd)


def _files(lower: str | Erofs) -> str:
    """Of a tree whose files lie in a folder."""
    path = lower if isinstance(lower, str) else f"{os.path.dirname(lower.index)}/{FS}"
    return path if os.path.isdir(path) else _gone()


class _Shown(_Held):
    """A lazy tree behind a mount that is served. Raises StoreError where nobody fills it, OSError."""

    def __init__(self, folder: str, index: str, mount: int) -> None:
        if not is_filled(folder.removesuffix(f"/{SHARED}"), index):
            _gone()
        self.fd, self._index = os.dup(mount), index
        with _Lock(index, _PATIENT):
            self._name = _write_down(folder, _group_key(index, "lazy"), self.fd)


def _gone() -> NoReturn:
    raise StoreError("a layer of the image did not come whole", hint="pull the image again")


class _Lock:
    """flock(2) on a file. TimeoutError when a process that is stopped seems to hold it."""

    def __init__(self, path: str, tries: int = 0) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._take(tries or _TRIES)
        except BaseException:
            os.close(self._fd)
            raise

    def _take(self, tries: int) -> None:
        for _ in range(tries):
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
    for name in names(folder):
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
    return linux.start_time(int(pid)) != int(start) or _has_closed(int(pid), number)


def _has_closed(pid: int, number: str) -> bool:
    """Not where this cannot be said: of a process in another user namespace of the same user."""
    try:
        os.lstat(f"/proc/{pid}/fd/{number}")
    except PermissionError:
        return False
    except OSError:
        return True
    return False
