"""ADD of URLs: what they lead to, fetched once in a build.

    url ──fetch──▶ a file of the store without a name ──▶ RemoteFile ──▶ copied as a file of the context

The build knows no client: it is handed a way to fetch.
"""

from __future__ import annotations

from ...grammars.wire.downloads import disposition_name, modified, url_name
from ...grammars.wire.links import shown
from ...ground.files import RangeReader, os_errors, write_all
from ...words.digest import Verifier
from .items import CopyItem, raw
from .select import Selection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from typing import IO, Protocol

    from ...grammars.tar.entry import Reader
    from ...images.dockerfile.fold import CopyAction
    from ...stores.store import Store
    from ...words.digest import Digest
    from ...words.progress import Task
    from .items import CopySource
    from .report import StepReport

    class Remote(Reader, Protocol):
        """The body of an answer; the names of `headers` are in lower case."""

        @property
        def headers(self) -> Mapping[str, str]:
            """The fields of the answer."""

    Fetch = Callable[[str], AbstractContextManager[Remote]]

_CHUNK = 1 << 20
_MODE = 0o600
_ALGORITHM = "sha256"
_SECOND = 1_000_000_000


class RemoteFile(CopyItem):
    """A file that was fetched; `path` is its URL, as messages show it."""

    __slots__ = ("content", "fd")

    def __init__(self, url: str, fd: int, size: int, content: bytes, mtime_ns: int) -> None:
        super().__init__(raw(shown(url)), "file", _MODE, mtime_ns, size=size)
        self.fd, self.content = fd, content


class Downloads:
    """What one build fetches. Close it."""

    def __init__(self, store: Store, fetch: Fetch) -> None:
        self._store, self._fetch = store, fetch
        self._known: dict[str, _Download] = {}

    def select(self, url: str, checksum: Digest | None, undated_ns: int, report: StepReport) -> Selection:
        """The file that a URL leads to; `undated_ns` is its time if the server does not say one.

        Raises StoreError, DigestMismatch unless it has the `checksum`, and whatever fetching raises.
        """
        found = self._known.get(url)
        if found is None:
            found = self._download(url, checksum, report.task(url_name(url) or "download"))
            self._known[url] = found
        elif checksum:
            found.verify(Verifier(checksum, what=shown(url)))
        time_ns = undated_ns if found.modified is None else found.modified * _SECOND
        item = RemoteFile(url, found.file.fileno(), found.size, found.content, time_ns)
        return Selection(raw(found.name), ((b"", item),))

    def _download(self, url: str, checksum: Digest | None, task: Task) -> _Download:
        with os_errors("make room for a download"):
            file = self._store.blobs.temporary()
        try:
            return self._filled(file, url, checksum, task)
        except BaseException:
            file.close()
            raise

    def _filled(self, file: IO[bytes], url: str, checksum: Digest | None, task: Task) -> _Download:
        with self._fetch(url) as remote:
            verifier = Verifier(checksum, what=shown(url))
            content = Verifier() if checksum and checksum.algorithm != _ALGORITHM else verifier
            length = remote.headers.get("content-length", "")[:18]
            task.phase("Downloading", int(length) if length.isdecimal() else None)
            while data := remote.read(_CHUNK):
                for each in {content, verifier}:
                    each.update(data)
                with os_errors("keep a download"):
                    write_all(file.fileno(), data)
                task.advance(len(data))
        verifier.verify()
        task.done("Download complete")
        return _Download(file, url, content, remote.headers)

    def beside(self, source: CopySource) -> CopySource:
        """A source that has what was fetched as well."""
        return _Beside(source)

    def close(self) -> None:
        """Give the room back. Idempotent."""
        while self._known:
            self._known.popitem()[1].file.close()


class _Download:
    def __init__(self, file: IO[bytes], url: str, content: Verifier, headers: Mapping[str, str]) -> None:
        self.file, self.size = file, content.count
        self.content = bytes.fromhex(content.verify().hex)
        self.name = url_name(url) or disposition_name(headers.get("content-disposition", ""))
        self.modified = modified(headers.get("last-modified", ""))

    def verify(self, verifier: Verifier) -> None:
        reader = RangeReader(self.file.fileno(), 0, self.size)
        while data := reader.read(_CHUNK):
            verifier.update(data)
        verifier.verify()


class _Beside:
    def __init__(self, source: CopySource) -> None:
        self.name, self._source = source.name, source
        self.lookup, self.children = source.lookup, source.children

    def open(self, item: CopyItem) -> Reader:
        return RangeReader(item.fd, 0, item.size) if isinstance(item, RemoteFile) else self._source.open(item)

    def digest(self, item: CopyItem) -> bytes:
        return item.content if isinstance(item, RemoteFile) else self._source.digest(item)


def unpacks(action: CopyAction, chosen: Selection) -> bool:
    """Whether an archive that was chosen is to be unpacked."""
    remote = any(isinstance(item, RemoteFile) for _, item in chosen.files[:1])
    return action.unpack_remote if remote else action.unpack
