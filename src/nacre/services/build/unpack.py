"""ADD of a local archive: its members become files of the image.

A file is an archive when its first bytes say so and a first member can be read, whatever its name;
otherwise it is copied. A compressed archive is unpacked into a file without a name first, so that its
members can be read in any order. Source: Dockerfile reference, "Adding local tar archives".
"""

from __future__ import annotations

import os
from contextlib import contextmanager

from ...grammars.codecs.stream import decompress
from ...grammars.tar.read import read_tar
from ...ground.files import RangeReader, os_errors, random_name, write_all
from ...words.errors import ContentError, InvalidArchive, UsageError
from .items import CopyItem, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...grammars.tar.entry import Entry, Reader
    from .items import CopySource
    from .place import LayerTarget, Opener

_CHUNK = 1 << 20


class Archive:
    """An uncompressed archive in a file of our own. `close` it after the layer is written."""

    def __init__(self, fd: int, name: str) -> None:
        self._fd, self._name = fd, name

    @classmethod
    def of(cls, source: CopySource, item: CopyItem, folder: str) -> Archive | None:
        """The archive that a file of a source is, None when it is none. `folder` has room to unpack.

        Raises InvalidArchive for an archive that is damaged after its beginning.
        """
        if item.kind != "file" or not _is_archive(source, item):
            return None
        return cls.read(source.open(item), folder, show(item.path).lstrip("/"))

    @classmethod
    def read(cls, stream: Reader, folder: str, name: str) -> Archive:
        """The archive that a stream is, decompressed within `folder`. Raises InvalidArchive, StoreError."""
        with os_errors("make room for an archive"):
            archive = cls(_nameless(folder), name)
        try:
            archive._fill(stream)
        except BaseException:
            archive.close()
            raise
        return archive

    def check(self) -> None:
        """Raise Conflict if it has changed; one of our own does not."""

    def _fill(self, stream: Reader) -> None:
        with _naming(self._name):
            reader = decompress(stream)
            while data := reader.read(_CHUNK):
                with os_errors("unpack an archive"):
                    write_all(self._fd, data)

    def put(self, target: LayerTarget, destination: bytes) -> None:
        """Put all members below `destination`; --chmod means neither. Raises UsageError, InvalidArchive."""
        top = target.folder(destination, mode=0o755)
        with _naming(self._name):
            for entry, _ in read_tar(RangeReader(self._fd, 0, os.fstat(self._fd).st_size)):
                if entry.path:
                    self._put_entry(target, top, entry)

    def _put_entry(self, target: LayerTarget, top: bytes, entry: Entry) -> None:
        folder, _, name = entry.path.rpartition(b"/")
        above = target.folder(_join(top, folder), mode=0o755, of_root=True)
        path = _join(above, name)
        if entry.kind == "hardlink":
            self._put_link(target, path, _join(top, entry.link))
            return
        item = CopyItem(
            path, entry.kind, entry.mode, entry.mtime_ns, uid=entry.uid, gid=entry.gid, size=entry.size,
            link=entry.link, major=entry.major, minor=entry.minor, xattrs=entry.xattrs,
        )  # fmt: skip
        target.add(path, item, self._opener(entry), as_is=True)

    def _opener(self, entry: Entry) -> Opener | None:
        if entry.kind != "file":
            return None
        return lambda _: _CheckedReader(self, self._content(entry))

    def _content(self, entry: Entry) -> Reader:
        if entry.sparse is None:
            return RangeReader(self._fd, entry.offset, entry.size)
        return _Holes(self._fd, entry)

    def _put_link(self, target: LayerTarget, path: bytes, link: bytes) -> None:
        """One more name for a file that was put before; the pair is known by a common identity."""
        folder, _, name = link.rpartition(b"/")
        other = _join(target.resolve(folder)[0], name)
        put = target.put_at(other)
        if put is None or put[0].kind == "dir":
            raise UsageError(
                f"{show(path)} is a hard link to {show(other)}, which the archive does not contain"
            )
        item, opener = put
        item.identity = item.identity or (0, id(item))
        target.add(path, item, opener, as_is=True)

    def close(self) -> None:
        """Give the room back."""
        os.close(self._fd)


class _CheckedReader:
    """A member; the archive has not changed from its first byte to its last."""

    def __init__(self, archive: Archive, content: Reader) -> None:
        self._archive, self._content = archive, content
        archive.check()

    def read(self, count: int, /) -> bytes:
        data = self._content.read(count)
        if not data:
            self._archive.check()
        return data


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Damage is told with the name of the archive."""
    try:
        yield
    except InvalidArchive as error:
        raise InvalidArchive(f"{name}: {error.message}", hint=error.hint) from None


def _is_archive(source: CopySource, item: CopyItem) -> bool:
    try:
        return next(iter(read_tar(decompress(source.open(item)))), None) is not None
    except ContentError:
        return False


def _join(folder: bytes, path: bytes) -> bytes:
    return folder + b"/" + path if folder and path else folder or path


def _nameless(folder: str) -> int:
    """A new file that vanishes when it is closed. Raises OSError."""
    path = f"{folder}/{random_name()}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    return fd


class _Holes:
    """A sparse member as plain bytes, its holes filled with zeros."""

    def __init__(self, fd: int, entry: Entry) -> None:
        self._stored: Reader = RangeReader(fd, entry.offset, entry.stored)
        self._segments = list(entry.sparse or ())
        self._at, self._size = 0, entry.size

    def read(self, count: int, /) -> bytes:
        while self._segments and self._segments[0][0] + self._segments[0][1] <= self._at:
            self._segments.pop(0)
        start, length = self._segments[0] if self._segments else (self._size, 0)
        if self._at < start:
            data = bytes(min(count, start - self._at))
        else:
            data = self._stored.read(min(count, start + length - self._at))
        self._at += len(data)
        return data
