"""A build context: a folder of the host without what .dockerignore takes away.

Nothing outside of it can be reached: every name is opened relative to the descriptor of its folder and
links are never followed by the kernel (`resolve` follows them inside the context). Owners are not
copied, as with docker: what comes from a context belongs to root.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BytesIO

from ...ground.files import Root
from ...words.errors import Conflict, NacreError, NotFound, StoreError
from .items import CopyItem, raw, show, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from ...grammars.dockerfile.ignore import Ignore
    from ...grammars.tar.entry import Reader
    from ...words.progress import Task
    from .filehash import FileHashes
    from .items import CopySource

    State = tuple[bool, ...] | None

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FORMAT = 0o170000
_SMALL = 1 << 20
_KINDS = {
    stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink", stat.S_IFCHR: "char",
    stat.S_IFBLK: "block", stat.S_IFIFO: "fifo", stat.S_IFSOCK: "file",
}  # fmt: skip


class ContextFiles:
    """What all contexts are: a `Source` whose files are hashed once. `with` it, or `close` it."""

    def __init__(self, name: str, hashes: FileHashes) -> None:
        self.name, self.hashes = name, hashes
        self.task: Task | None = None

    def lookup(self, path: bytes) -> CopyItem | None:
        """What is at a path, as `Source` says."""
        raise NotImplementedError

    def is_ignored(self, _path: bytes) -> bool:
        """Whether something is there and .dockerignore hides it."""
        return False

    def children(self, item: CopyItem) -> list[CopyItem]:
        """What is in a folder, as `Source` says."""
        raise NotImplementedError

    def open(self, item: CopyItem) -> Reader:
        """The content of a file, as `Source` says."""
        raise NotImplementedError

    def text_of(self, path: str) -> bytes | None:
        """A small file, for those that look into it; b"" for a folder; None: none, or not to be read."""
        try:
            item = self.lookup(raw(path))
            if item is None or item.kind not in ("file", "dir") or item.size > _SMALL:
                return None
            return self.open(item).read(_SMALL) if item.kind == "file" else b""
        except (NacreError, OSError):
            return None

    def digest(self, item: CopyItem) -> bytes:
        """See `Source`; from the table of known files when the file has not changed."""
        known = self.hashes.digest(item, None)
        if known or self.task is None:
            return known or self.hashes.digest(item, self.open(item))
        from ...ground.work.pipe import ProgressReader

        return self.hashes.digest(item, ProgressReader(self.open(item), self.task))

    def close(self) -> None:
        """Let go of the files, keep what was learnt about them. Idempotent."""
        self.hashes.save()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class BuildContext(ContextFiles):
    """A folder of this machine."""

    def __init__(
        self, folder: str, ignore: Ignore, hashes: FileHashes, name: str = "the build context"
    ) -> None:
        """Raises NotFound when there is no such folder."""
        super().__init__(name, hashes)
        self.ignore = ignore
        try:
            self._root = Root(folder)
        except OSError as error:
            raise NotFound(f"unable to prepare context: path {folder!r}: {error.strerror}") from None
        self._tests = bool(ignore)
        self._states: dict[bytes, tuple[bool, State]] = {}

    def lookup(self, path: bytes) -> CopyItem | None:
        """The item at `path`, None if there is none, as `Source` says."""
        found = self._stat(path)
        if found is None:
            return None
        ignored, _ = self._judge(path)
        if ignored and not (found.kind == "dir" and self._has_kept(found)):
            return None
        return found

    def is_ignored(self, path: bytes) -> bool:
        """Whether .dockerignore hides what is there."""
        return self._stat(path) is not None and self.lookup(path) is None

    def _stat(self, path: bytes) -> CopyItem | None:
        try:
            if not path:
                return self._item(b"", os.fstat(self._root.fd), self._root.fd, b".")
            parent, name = self._root.parent(path)
        except OSError:
            return None
        try:
            return self._item(path, os.lstat(name, dir_fd=parent), parent, name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        finally:
            os.close(parent)

    def _item(self, path: bytes, found: os.stat_result, parent: int, name: bytes) -> CopyItem:
        kind = _KINDS[found.st_mode & _FORMAT]
        if kind == "file":
            identity = (found.st_dev, found.st_ino) if found.st_nlink > 1 else None
            return CopyItem(
                path, kind, found.st_mode & 0o7777, found.st_mtime_ns, size=found.st_size,
                identity=identity, stamp=_stamp(found),
            )  # fmt: skip
        return CopyItem(
            path, kind, found.st_mode & 0o7777, found.st_mtime_ns,
            link=os.readlink(name, dir_fd=parent) if kind == "symlink" else b"",
            major=os.major(found.st_rdev), minor=os.minor(found.st_rdev),
        )  # fmt: skip

    def children(self, item: CopyItem) -> list[CopyItem]:
        """What is in a folder, as `Source` says. Raises StoreError when the folder cannot be read."""
        try:
            fd = self._open(item.path, _FOLDER)
        except OSError as error:
            raise self._unreadable(item, error) from None
        try:
            return self._children(fd, item.path, sorted(map(os.fsencode, os.listdir(fd))))
        except OSError as error:
            raise self._unreadable(item, error) from None
        finally:
            os.close(fd)

    def _children(self, fd: int, folder: bytes, names: list[bytes]) -> list[CopyItem]:
        state = self._judge(folder)[1]
        base = folder + b"/" if folder else b""
        found = []
        for name in names:
            path = base + name
            ignored, below = self.ignore.child(text(path), state) if self._tests else (False, None)
            if ignored and not self.ignore.may_keep_below(text(path)):
                continue
            item = self._item(path, os.lstat(name, dir_fd=fd), fd, name)
            if item.kind == "dir":
                self._states[path] = ignored, below
            if not ignored or (item.kind == "dir" and self._has_kept(item)):
                found.append(item)
        return found

    def _has_kept(self, folder: CopyItem) -> bool:
        """Whether an ignored folder holds anything that an exception brings back."""
        return self.ignore.may_keep_below(text(folder.path)) and bool(self.children(folder))

    def _judge(self, path: bytes) -> tuple[bool, State]:
        """Whether the patterns ignore a path, and what they think of its folder's children."""
        if not self._tests or not path:
            return False, None
        known = self._states.get(path)
        if known is None:
            parent = self._judge(path.rpartition(b"/")[0])
            known = self.ignore.child(text(path), parent[1])
            self._states[path] = known
        return known

    def _open(self, path: bytes, flags: int) -> int:
        if not path:
            return os.open(".", flags, dir_fd=self._root.fd)
        parent, name = self._root.parent(path)
        try:
            return os.open(name, flags, dir_fd=parent)
        finally:
            os.close(parent)

    def open(self, item: CopyItem) -> Reader:
        """The content of a file, as `Source` says. Raises StoreError, Conflict."""
        try:
            fd = self._open(item.path, _FILE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return BytesIO()  # a socket: an empty file, as BuildKit makes of it
            raise self._unreadable(item, error) from None
        return _Unchanged(fd, item, self.name)

    def _unreadable(self, item: CopyItem, error: OSError) -> Exception:
        hint = "exclude it in .dockerignore if it is not needed" if isinstance(error, PermissionError) else ""
        return StoreError(f"cannot read {show(item.path)} of {self.name}: {error.strerror}", hint=hint)

    def close(self) -> None:
        """Close the folder as well."""
        self._root.close()
        super().close()


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


class _Unchanged:
    """Reads a file and makes sure that it is what was looked up, from the first byte to the last."""

    def __init__(self, fd: int, item: CopyItem, name: str) -> None:
        self._fd, self._item, self._name = fd, item, name
        self._check()

    def read(self, count: int, /) -> bytes:
        if self._fd < 0:
            return b""
        data = os.read(self._fd, count)
        if not data:
            self._check()
            self._close()
        return data

    def _check(self) -> None:
        found = os.fstat(self._fd)
        if _stamp(found) != self._item.stamp or not stat.S_ISREG(found.st_mode):
            self._close()
            raise Conflict(
                f"{show(self._item.path)} of {self._name} changed while it was being read",
                hint="build again when no process writes there",
            )

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self._close()


def missing_hint(source: CopySource, word: str) -> str:
    """Why a source is not there, where that can be told."""
    if not isinstance(source, ContextFiles):
        return ""
    if source.is_ignored(raw(os.path.normpath("/" + word).lstrip("/"))):
        return "it is there, but .dockerignore excludes it"
    return "a build cannot access files outside its context" if word.startswith("..") else ""
