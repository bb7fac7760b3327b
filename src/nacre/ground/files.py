"""Files as the rest of nacre needs them: opened beneath a root, written atomically, locked, removed.

On the hot path of `nacre run`: imports nothing heavy. Every function takes ordinary paths of folders
that belong to nacre; paths that come from images go through `Root` only.
"""

from __future__ import annotations

import errno
import fcntl
import os
from _thread import allocate_lock
from stat import S_ISDIR, S_ISREG
from time import monotonic

from ..words.errors import DiskFull, NotFound, StoreError, TooLarge
from . import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

_IN_ROOT = linux.RESOLVE_IN_ROOT | linux.RESOLVE_NO_MAGICLINKS
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT)
_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_DEEPEST = 48
_WAITING, _LONG = 16, 0.001
"""Threads that remove files where a file takes so many seconds."""

_hook: Callable[[str], object] | None = None


def trace(name: str) -> None:
    """A named point between two steps of work; does nothing unless a test has installed a hook."""
    if _hook is not None:
        _hook(name)


def install_trace(hook: Callable[[str], object] | None) -> None:
    """Call `hook` with the name of every trace point passed from now on (None: no longer)."""
    global _hook
    _hook = hook


def surely(tidy: Callable[..., object], *args: object) -> None:
    """Tidy up, also when a signal breaks into it: then `tidy`, which is idempotent, is done once more.

    What broke in is raised in the end.
    """
    try:
        tidy(*args)
    except Exception:
        raise
    except BaseException:
        tidy(*args)
        raise


class os_errors:
    """`with os_errors("write /x"):` turns an OSError into the one sentence `cannot write /x: …`."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, OSError):
            raise store_error(self.what, error) from None


def store_error(what: str, error: OSError) -> StoreError:
    """The StoreError that says `cannot {what}: {why}`."""
    why = error.strerror or str(error)
    kind = DiskFull if error.errno in _FULL else StoreError
    return kind(f"cannot {what}: {why[:1].lower()}{why[1:]}", hint=getattr(error, "hint", ""))


def is_shortage(error: BaseException | None) -> bool:
    """Whether an error, or one behind it, says what this process cannot have, and nothing of a file."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _SHORT:
            return True
        error = error.__context__
    return False


class Root:
    """A folder that nothing opened through it can leave: links and `..` are resolved inside it.

    Source: openat2(2), RESOLVE_IN_ROOT. The descriptors that `open` gives belong to the caller.
    """

    def __init__(self, folder: int | str) -> None:
        """`folder` a path, or a descriptor that from now on belongs to this object."""
        self.fd = folder if isinstance(folder, int) else os.open(folder, _DIRECTORY & ~os.O_NOFOLLOW)

    def open(self, path: bytes | str, flags: int, mode: int = 0) -> int:
        """Open beneath the root. Raises OSError; opening for reading may block on a FIFO."""
        return linux.openat2(self.fd, path or ".", flags, mode, _IN_ROOT)

    def parent(self, path: bytes) -> tuple[int, bytes]:
        """A descriptor of the folder that holds `path`, and the last name. Raises OSError."""
        folder, _, name = path.rstrip(b"/").rpartition(b"/")
        if name in (b"", b".", b".."):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        return self.open(folder or b"/", os.O_PATH | os.O_DIRECTORY), name

    def open_file(self, path: bytes | str) -> int:
        """Open a regular file for reading. Raises NotFound for anything else: devices are never opened."""
        try:
            fd = self.open(path, os.O_PATH)
        except OSError as error:
            raise NotFound(f"no such file: {_show(path)} ({error.strerror})") from None
        try:
            return reopen_file(fd, path)
        finally:
            os.close(fd)

    def read(self, path: bytes | str, limit: int) -> bytes:
        """A regular file of at most `limit` bytes. Raises NotFound, TooLarge, StoreError."""
        fd = self.open_file(path)
        try:
            with os_errors(f"read {_show(path)}"):
                return read_bounded(lambda count: os.read(fd, count), limit, _show(path))
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close the root's descriptor. Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def reopen_file(path_fd: int, name: bytes | str) -> int:
    """A readable descriptor of the regular file that an O_PATH descriptor stands for. Raises NotFound."""
    if not S_ISREG(os.fstat(path_fd).st_mode):
        raise NotFound(f"{_show(name)} is not a regular file")
    with os_errors(f"open {_show(name)}"):
        return os.open(f"/proc/self/fd/{path_fd}", os.O_RDONLY | os.O_CLOEXEC)


def _show(path: bytes | str) -> str:
    return repr(os.fsencode(path)[:200].decode("utf-8", "backslashreplace"))


def read_bounded(read: Callable[[int], bytes], limit: int, what: str) -> bytes:
    """All that `read` gives until b"". Raises TooLarge for more than `limit` bytes."""
    parts, total, most = [], 0, 1 << 15  # most files are small, and memory that is not used costs as well
    while part := read(min(most, limit + 1 - total)):
        parts.append(part)
        total += len(part)
        most = 1 << 20
        if total > limit:
            raise TooLarge(f"{what} has more than the {limit} bytes allowed here")
    return b"".join(parts)


def private_dir(path: str) -> None:
    """Make a folder (and those above it) that only its owner may enter. Idempotent. Raises StoreError."""
    with os_errors(f"create the directory {path}"):
        try:
            _make_private(path)
        except FileNotFoundError:
            above = os.path.dirname(os.path.abspath(path))
            if os.path.isdir(above):  # just made by another process, or in /proc, where nothing can be made
                _make_private(path)
            else:
                private_dir(above)
                private_dir(path)


def _make_private(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


def sync_path(path: str) -> None:
    """Put a file, or the names in a folder, on the disk. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """write(2) until everything is written. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_at(fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """pwrite(2) until everything is written. Raises OSError."""
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, offset)
        view, offset = view[count:], offset + count


class RangeReader:
    """A part of a file, as a reader."""

    def __init__(self, fd: int, offset: int, size: int) -> None:
        self._fd, self._at, self._end = fd, offset, offset + size

    def read(self, count: int, /) -> bytes:
        """At most `count` bytes, b"" at the end. Raises OSError."""
        data = os.pread(self._fd, min(count, self._end - self._at), self._at)
        self._at += len(data)
        return data


def random_name() -> str:
    """16 hexadecimal digits that nobody else has."""
    return os.urandom(8).hex()


def write_atomic(path: str, data: bytes, mode: int = 0o600, *, sync: bool = False) -> None:
    """Replace a file as a whole: readers see the old or the new one. `sync`: on disk when this returns.

    Raises StoreError, and then nothing has changed.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{random_name()}")
    with os_errors(f"write {path}"):
        try:
            _write_new(temporary, data, mode, sync)
            trace("write_atomic:written")
            os.rename(temporary, path)
        except BaseException:
            unlink(temporary)
            raise
        if sync:
            sync_path(folder or ".")


def _write_new(path: str, data: bytes, mode: int, sync: bool) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        write_all(fd, data)
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def unlink(path: str) -> bool:
    """Remove a file; False when there was none. Other errors are OSError."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


class Lock:
    """An exclusive flock on a file of its own, made if absent; the kernel lets go when the holder dies.

    Excludes other threads of this process as well. A child that is forked without exec shares it.
    """

    def __init__(self, path: str) -> None:
        """Waits until the lock is free. Raises OSError."""
        self.path = path
        self.fd = -1
        while not self._take(fcntl.LOCK_EX):
            pass

    @classmethod
    def attempt(cls, path: str) -> Self | None:
        """The lock, or None when somebody else holds it. Raises OSError."""
        self = cls.__new__(cls)
        self.path, self.fd = path, -1
        try:
            while not self._take(fcntl.LOCK_EX | fcntl.LOCK_NB):
                pass
        except BlockingIOError:
            return None
        return self

    def _take(self, operation: int) -> bool:
        """Lock the file; False when its holder removed it meanwhile, so that it locks nothing."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, operation)
            if os.fstat(fd).st_nlink:
                self.fd = fd
                return True
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return False

    def release(self, *, remove: bool = False) -> None:
        """Let go; `remove` also removes the file, safely beside waiters. Idempotent.

        Unlocks by name: closing alone would leave it locked by a child that was forked meanwhile.
        """
        if self.fd < 0:
            return
        if remove:
            unlink(self.path)
            trace("lock:unlinked")
        fcntl.flock(self.fd, fcntl.LOCK_UN)
        fd, self.fd = self.fd, -1
        os.close(fd)

    def remove(self) -> None:
        """As `release`, and the file goes. Idempotent, also after a signal that broke into it."""
        self.release(remove=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.release()


def disk_usage(path: str) -> int:
    """Bytes of disk that a file or folder occupies, each hard-linked file once. Absent: 0."""
    return sum(found.st_blocks * 512 for found in _below(path))


def content_size(path: str) -> int:
    """Bytes that the regular files in a folder hold, each hard-linked file once. Absent: 0."""
    return sum(found.st_size for found in _below(path) if S_ISREG(found.st_mode))


def _below(path: str) -> Iterator[os.stat_result]:
    seen: set[tuple[int, int]] = set()
    pending = [path]
    while pending:
        found = _look(pending.pop(), seen, pending)
        if found is not None:
            yield found


def _look(path: str, seen: set[tuple[int, int]], pending: list[str]) -> os.stat_result | None:
    try:
        found = os.lstat(path)
        if S_ISDIR(found.st_mode):
            pending += [os.path.join(path, name) for name in os.listdir(path)]
    except OSError:
        return None
    if found.st_nlink > 1 and not S_ISDIR(found.st_mode):
        if (found.st_dev, found.st_ino) in seen:
            return None
        seen.add((found.st_dev, found.st_ino))
    return found


def remove_tree(path: str) -> int:
    """Remove a file or folder with all it holds; gives the bytes of disk that came back. Absent: 0.

    By descriptor: links are removed, never followed, and another file system mounted inside stops it
    before anything there is touched. Folders that forbid it are made writable first. What somebody else
    removes or moves away meanwhile counts as absent. Raises StoreError.
    """
    folder, name = os.path.split(os.path.abspath(path))
    with os_errors(f"remove {path}"):
        try:
            top = os.open(folder, _DIRECTORY & ~os.O_NOFOLLOW)
        except FileNotFoundError:
            return 0
        try:
            return _Removal(top).remove(name)
        finally:
            os.close(top)


class _Emptied:
    """A folder that is being emptied; `left` counts what is still in it, and its listing."""

    def __init__(self, parent: _Emptied | None, name: str, fd: int, size: int = 0) -> None:
        self.parent, self.name, self.fd, self.size, self.left = parent, name, fd, size, 1


_Item = tuple[_Emptied, str, os.stat_result]


class _Removal:
    """Depth first with at most `_DEEPEST` descriptors: what lies deeper is moved up beside the start.

    Where each unlink(2) waits for the disk (ext4 mounted with `discard` tells it of each file), several
    threads wait beside each other, which is many times faster.
    """

    def __init__(self, top: int) -> None:
        self.top = top
        self.device = os.fstat(top).st_dev
        self.freed = 0
        self.pending: list[str] = []
        self._open: set[int] = set()
        self._lock = allocate_lock()

    def remove(self, name: str) -> int:
        self.pending.append(name)
        items = self._walk()
        try:
            if self._is_slow(items):
                from .work.threads import in_parallel

                in_parallel(lambda item, _stop: self._file(*item), items, _WAITING)
        finally:
            for fd in self._open:
                os.close(fd)
        return self.freed

    def _is_slow(self, items: Iterator[_Item]) -> bool:
        """Remove files until they turn out to take long; False when all are gone."""
        began = monotonic()
        for number, item in enumerate(items, 1):
            self._file(*item)
            if not number % _WAITING:
                if monotonic() - began > _WAITING * _LONG:
                    return True
                began = monotonic()
        return False

    def _walk(self) -> Iterator[_Item]:
        top = _Emptied(None, "", self.top)
        while self.pending:
            yield from self._entry(top, self.pending.pop(), 0)

    def _entry(self, parent: _Emptied, name: str, depth: int) -> Iterator[_Item]:
        try:
            found = os.lstat(name, dir_fd=parent.fd)
            if S_ISDIR(found.st_mode) and depth >= _DEEPEST:
                self._raise_up(parent.fd, name)
            elif S_ISDIR(found.st_mode):
                yield from self._folder(parent, name, depth, found.st_blocks * 512)
            else:
                self._count(parent, 1)
                yield parent, name, found
        except FileNotFoundError:
            return  # somebody else was faster

    def _file(self, parent: _Emptied, name: str, found: os.stat_result) -> None:
        try:
            os.unlink(name, dir_fd=parent.fd)
            self._count(parent, 0, found.st_blocks * 512 if found.st_nlink <= 1 else 0)
        except FileNotFoundError:
            pass  # somebody else was faster
        self._leave(parent)

    def _count(self, folder: _Emptied, more: int, freed: int = 0) -> int:
        """What is left in a folder now."""
        with self._lock:
            self.freed += freed
            folder.left += more
            return folder.left

    def _raise_up(self, parent: int, name: str) -> None:
        moved = f".removing.{random_name()}"
        os.rename(name, moved, src_dir_fd=parent, dst_dir_fd=self.top)
        self.pending.append(moved)

    def _folder(self, parent: _Emptied, name: str, depth: int, size: int) -> Iterator[_Item]:
        fd = _open_folder(parent.fd, name)
        self._open.add(fd)
        if os.fstat(fd).st_dev != self.device:
            raise OSError(errno.EBUSY, f"another file system is mounted on {name}")
        self._count(parent, 1)
        folder = _Emptied(parent, name, fd, size)
        with os.scandir(fd) as entries:
            names = [entry.name for entry in entries]
        for child in names:
            yield from self._entry(folder, child, depth + 1)
        self._leave(folder)

    def _leave(self, folder: _Emptied) -> None:
        """One thing less is in a folder: with the last one it goes, and so on above it."""
        while not self._count(folder, -1) and folder.parent:
            self._open.discard(folder.fd)
            os.close(folder.fd)
            trace("remove:emptied")
            try:
                os.rmdir(folder.name, dir_fd=folder.parent.fd)
                self._count(folder, 0, folder.size)
            except FileNotFoundError:
                pass  # somebody else was faster
            folder = folder.parent


def _open_folder(parent: int, name: str) -> int:
    """Open a folder that can be emptied; its mode is changed when it forbids that."""
    fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if os.fstat(fd).st_mode & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{fd}", 0o700)
    except OSError:
        pass  # root needs no permission; for anybody else the open below says what is wrong
    finally:
        os.close(fd)
    return os.open(name, _DIRECTORY, dir_fd=parent)
