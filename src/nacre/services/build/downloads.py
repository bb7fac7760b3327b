"""ADD of URLs: what they lead to, fetched once in a build.

    url ──fetch──▶ FetchedFile: a file of the build ──▶ RemoteFile ──▶ copied as a file of the context

The build knows no client: it is handed a way to fetch.
"""

from __future__ import annotations

import os

from ...grammars.wire.downloads import disposition_name, modified, url_name
from ...grammars.wire.links import shown
from ...ground.files import RangeReader, os_errors, random_name, unlink, write_all
from ...words.digest import Verifier
from ...words.errors import UsageError
from ...words.value import Value
from .context import ContextFiles
from .filehash import FileHashes
from .items import CopyItem, FetchedItem, raw
from .select import Selection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from typing import Protocol

    from ...grammars.tar.entry import Reader
    from ...images.dockerfile.fold import CopyAction
    from ...stores.store import Store
    from ...words.digest import Digest
    from ...words.progress import Task

    class Remote(Reader, Protocol):
        """The body of an answer; the names of `headers` are in lower case."""

        @property
        def headers(self) -> Mapping[str, str]:
            """The fields of the answer."""

    Fetch = Callable[..., AbstractContextManager[Remote]]
    """Called with a URL and, where there are any, the fields of the request."""

_CHUNK = 1 << 20
_MODE = 0o600
_ALGORITHM = "sha256"
_SECOND = 1_000_000_000


class RemoteFile(FetchedItem):
    """A file that was fetched; `path` is its URL, as messages show it."""

    __slots__ = ("content", "fd")

    def __init__(self, url: str, fd: int, size: int, content: bytes, mtime_ns: int) -> None:
        super().__init__(raw(shown(url)), "file", _MODE, mtime_ns, size=size)
        self.fd, self.content = fd, content

    def open(self) -> Reader:
        """The content, from its beginning."""
        return RangeReader(self.fd, 0, self.size)

    def digest(self) -> bytes:
        """The SHA-256 of the content, known since it was fetched."""
        return self.content


class FileContext(ContextFiles):
    """A context that is one file, which was fetched to `path`."""

    def __init__(self, path: str, called: str, time_ns: int, name: str = "the build context") -> None:
        """It is open from now on. Raises StoreError."""
        super().__init__(name, FileHashes("", ""))
        with os_errors("read a download"):
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            size = os.fstat(self._fd).st_size
        self._item = CopyItem(raw(called), "file", _MODE, time_ns, size=size, stamp=(0, 0, 0, size))

    def lookup(self, path: bytes) -> CopyItem | None:
        """What is at a path, as `Source` says."""
        if not path:
            return CopyItem(b"", "dir", 0o755, 0)
        return self._item if path == self._item.path else None

    def children(self, item: CopyItem) -> list[CopyItem]:
        """What is in a folder, as `Source` says."""
        return [] if item.path else [self._item]

    def open(self, item: CopyItem) -> Reader:
        """The content of a file, as `Source` says."""
        return RangeReader(self._fd, 0, item.size)

    def close(self) -> None:
        """Close the file that was fetched."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class FetchedFile(Value):
    """A file that was fetched: its path, SHA-256 and name, and when it was modified (None: unknown)."""

    path: str
    size: int
    content: bytes
    name: str
    modified: int | None


class Downloads:
    """What one build fetches, into the folder `folder`. Close it."""

    def __init__(self, folder: str, fetch: Fetch) -> None:
        self._folder, self._fetch = folder, fetch
        self._known: dict[str, tuple[FetchedFile, int]] = {}

    def has(self, url: str) -> bool:
        """Whether it was fetched."""
        return url in self._known

    def keep(self, url: str, fetched: FetchedFile) -> None:
        """It was fetched, here or in another process. Raises StoreError."""
        with os_errors("read a download"):
            self._known[url] = fetched, os.open(fetched.path, os.O_RDONLY | os.O_CLOEXEC)

    def fetched(self) -> list[tuple[str, str]]:
        """Each URL with the SHA-256 of what it led to."""
        return [(url, f"{_ALGORITHM}:{found.content.hex()}") for url, (found, _) in self._known.items()]

    def fetch(self, url: str, checksum: Digest | None, task: Task) -> FetchedFile:
        """Fetch a file, which must have the `checksum`. Raises StoreError, DigestMismatch, and others."""
        path = f"{self._folder}/download-{random_name()}"
        with os_errors("make room for a download"):
            file = open(path, "xb", buffering=0)
        with file, self._fetch(url) as remote:
            verifier = Verifier(checksum, what=shown(url))
            content = Verifier() if checksum and checksum.algorithm != _ALGORITHM else verifier
            self._fill(file.fileno(), remote, {content, verifier}, task)
            verifier.verify()
            headers = remote.headers
        task.done("Download complete")
        name = url_name(url) or disposition_name(headers.get("content-disposition", ""))
        found = bytes.fromhex(content.verify().hex)
        return FetchedFile(path, content.count, found, name, modified(headers.get("last-modified", "")))

    def _fill(self, fd: int, remote: Remote, verifiers: set[Verifier], task: Task) -> None:
        length = remote.headers.get("content-length", "")[:18]
        task.phase("Downloading", int(length) if length.isdecimal() else None)
        while data := remote.read(_CHUNK):
            for each in verifiers:
                each.update(data)
            with os_errors("keep a download"):
                write_all(fd, data)
            task.advance(len(data))

    def select(self, url: str, checksum: Digest | None, undated_ns: int) -> Selection:
        """A file that was fetched; `undated_ns` is its time if the server did not say one.

        Raises DigestMismatch unless it has the `checksum`.
        """
        found, fd = self._known[url]
        if checksum and (checksum.algorithm, checksum.hex) != (_ALGORITHM, found.content.hex()):
            _verify(fd, found.size, Verifier(checksum, what=shown(url)))
        time_ns = undated_ns if found.modified is None else found.modified * _SECOND
        item = RemoteFile(url, fd, found.size, found.content, time_ns)
        return Selection(raw(found.name), ((b"", item),))

    def context(self, store: Store, url: str, name: str) -> ContextFiles:
        """What was fetched as a context: the files of an archive, else the one file. Raises UsageError."""
        from .tarcontext import HEAD, is_archive, tar_context

        found, fd = self._known[url]
        if is_archive(head := os.pread(fd, HEAD, 0)):
            return tar_context(store, head, RangeReader(fd, len(head), found.size - len(head)), name)
        if not found.name:
            raise UsageError(f"cannot determine filename for source {shown(url)}")
        return FileContext(found.path, found.name, (found.modified or 0) * _SECOND, name)

    def close(self) -> None:
        """Give the room back. Idempotent."""
        while self._known:
            fetched, fd = self._known.popitem()[1]
            os.close(fd)
            unlink(fetched.path)


def _verify(fd: int, size: int, verifier: Verifier) -> None:
    reader = RangeReader(fd, 0, size)
    while data := reader.read(_CHUNK):
        verifier.update(data)
    verifier.verify()


def unpacks(action: CopyAction, chosen: Selection) -> bool:
    """Whether an archive that was chosen is to be unpacked."""
    remote = any(isinstance(item, RemoteFile) for _, item in chosen.files[:1])
    return action.unpack_remote if remote else action.unpack
