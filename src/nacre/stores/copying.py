"""Content of a registry into a folder, from another one or from elsewhere: whole or not at all, each file.

It counts as there once it has its size under its name, which it gets after it is hashed and on the disk.
"""

from __future__ import annotations

import errno
import os
from contextlib import closing
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from ..ground.files import os_errors, private_dir, random_name, sync_path, unlink, write_all
from ..words.digest import Digest, Verifier
from ..words.errors import Conflict, ContentError, NotFound, StoreError
from .layout import names

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..words.progress import Task

_NEW = ".new-"
_PIECE = 1 << 20
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EACCES, errno.ENOSYS)
OTHER = "has other content than its digest says"


class ContentCopy:
    """From `source` to `target`, both of which have `blobs`. Any thread may `bring`.

    `links`: as links where that can be. `read`: what is there already, and what is linked, is hashed as well.
    """

    def __init__(self, source: str, target: str, task: Task, *, links: bool, read: bool) -> None:
        self._source, self._target, self._task = source, target, task
        self._links, self._read, self._lock = links, read, Lock()
        self.added = self.copied = 0
        """Files that came now, and bytes of them that were copied."""
        self.missing: dict[str, int] = {}
        self.damaged: dict[str, str] = {}

    def prepare(self) -> None:
        """Remove what a kill left of an earlier one. Raises StoreError."""
        private_dir(f"{self._target}/blobs")
        with os_errors(f"tidy {self._target}"):
            for name in names(self._target):
                if name.startswith(_NEW):
                    unlink(f"{self._target}/{name}")

    def begin(self, size: int) -> None:
        """So many bytes are to come."""
        self.missing.clear()
        self._task.phase("Copying", size)

    def bring(self, digest: str, size: int) -> None:
        """Have it there, or note it as missing or damaged. Raises StoreError."""
        try:
            with os_errors(f"copy {digest} to {self._target}"):
                if self._is_here(digest, size):
                    self._task.advance(size)
                else:
                    self._add(digest, size)
        except NotFound:
            with self._lock:
                self.missing[digest] = size
        except ContentError:
            with self._lock:
                self.damaged[digest] = OTHER

    def sync(self) -> None:
        """Put the names on the disk. Raises StoreError."""
        folder = f"{self._target}/blobs"
        with os_errors(f"write {folder}"):
            for path in (*(f"{folder}/{kind}" for kind in names(folder)), folder):
                sync_path(path)

    def _is_here(self, digest: str, size: int) -> bool:
        path = content_path(self._target, digest)
        try:
            found = os.stat(path).st_size == size and (not self._read or _is_whole(path, digest, size))
        except FileNotFoundError:
            return False
        if not found:
            unlink(path)
        return found

    def _add(self, digest: str, size: int) -> None:
        try:
            fd = os.open(content_path(self._source, digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound(digest) from None
        try:
            private_dir(os.path.dirname(content_path(self._target, digest)))
            copied = 0 if self._link(fd, digest, size) else self._copy(fd, digest, size)
        finally:
            os.close(fd)
        with self._lock:
            self.added, self.copied = self.added + 1, self.copied + copied

    def _link(self, fd: int, digest: str, size: int) -> bool:
        """False where there can be no link."""
        if not self._links:
            return False
        if self._read or os.fstat(fd).st_size != size:
            _hash(lambda: os.read(fd, _PIECE), digest, size)
            os.lseek(fd, 0, os.SEEK_SET)
        try:
            os.link(content_path(self._source, digest), content_path(self._target, digest))
        except FileNotFoundError:
            raise NotFound(digest) from None
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            self._links = error.errno == errno.EMLINK
            return False
        self._task.advance(size)
        return True

    def _copy(self, fd: int, digest: str, size: int) -> int:
        return self._keep(lambda: os.read(fd, _PIECE), digest, size)

    def _keep(self, read: Callable[[], bytes], digest: str, size: int) -> int:
        temporary = f"{self._target}/{_NEW}{random_name()}"
        new = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        try:
            _hash(read, digest, size, new, self._task)
            os.fsync(new)
            os.rename(temporary, content_path(self._target, digest))
        except BaseException:
            unlink(temporary)
            raise
        finally:
            os.close(new)
        return size


class FetchedContent(Protocol):
    """Content piece by piece; closed at the end."""

    def read(self) -> bytes:
        """The next piece, b"" at the end."""

    def close(self) -> None:
        """Let go of what is open. Idempotent."""


class FetchedCopy(ContentCopy):
    """From wherever `fetch(digest, size)` has it, to `target`. That raises NotFound for what the registry
    does not need any more, and Conflict, which says why, for what it should have and has not.
    """

    def __init__(
        self, fetch: Callable[[Digest, int], FetchedContent], target: str, task: Task, *, read: bool
    ) -> None:
        super().__init__("", target, task, links=False, read=read)
        self._fetch = fetch

    def bring(self, digest: str, size: int) -> None:
        """Have it there, or note it as missing or damaged. Raises StoreError, and as `fetch`."""
        if not isinstance(size, int) or size < 0:
            raise StoreError(f"the names of the registry are damaged: {digest} has no size")
        try:
            super().bring(digest, size)
        except Conflict as error:
            with self._lock:
                self.damaged[digest] = error.message

    def _add(self, digest: str, size: int) -> None:
        with closing(self._fetch(Digest(digest), size)) as content:
            private_dir(os.path.dirname(content_path(self._target, digest)))
            copied = self._keep(content.read, digest, size)
        with self._lock:
            self.added, self.copied = self.added + 1, self.copied + copied


def content_path(root: str, digest: str) -> str:
    """Where a folder has it, or would."""
    algorithm, _, encoded = Digest(digest).partition(":")
    return f"{root}/blobs/{algorithm}/{encoded}"


def _is_whole(path: str, digest: str, size: int) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _hash(lambda: os.read(fd, _PIECE), digest, size)
    except ContentError:
        return False
    finally:
        os.close(fd)
    return True


def _hash(
    read: Callable[[], bytes], digest: str, size: int, target: int = -1, task: Task | None = None
) -> None:
    """Read it all, and write it to `target`. Raises OSError, ContentError for other content."""
    verifier = Verifier(Digest(digest), size)
    while data := read():
        verifier.update(data)
        if target >= 0:
            write_all(target, data)
        if task:
            task.advance(len(data))
    verifier.verify()
