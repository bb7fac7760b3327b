"""The files of an archive by name, whether they lie in a tar or in a folder.

Nothing is extracted: a member is a stretch of the archive. Links among members are followed inside the
archive only.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from posixpath import join, normpath
from stat import S_ISREG
from typing import TYPE_CHECKING, Protocol

from ...ground.files import Root, os_errors
from ...ground.work.pipe import CHUNK, copy
from ...words.errors import InvalidArchive, NotFound, TooLarge
from ...words.oci import MAX_DOCUMENT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import BinaryIO, Self

    from ...grammars.tar.entry import Entry, Reader
    from ..model.source import Content

MAX_MEMBERS = 200_000
_MAX_LINKS = 10


class Members(Protocol):
    """Files by their path in an archive, `/`-separated."""

    def size(self, path: str) -> int | None:
        """Bytes of a regular file; None when there is none."""

    def open(self, path: str) -> Content:
        """The content; the caller closes it. Raises InvalidArchive when there is no such file."""

    def small(self, path: str) -> bytes | None:
        """A document of at most 4 MiB; None when there is no such file. Raises TooLarge."""


class Section:
    """A stretch of a file, read by position, so that several threads can read one file."""

    def __init__(self, fd: int, start: int, size: int, *, owned: bool = False) -> None:
        self._fd, self._start, self._size, self._owned = fd, start, size, owned
        self._at = 0

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes of content; b"" at the end."""
        left = self._size - self._at
        with os_errors("read the archive"):
            data = os.pread(self._fd, left if size < 0 else min(size, left), self._start + self._at)
        if not data and left and size:
            raise InvalidArchive("the archive was truncated while it was read")
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move within the stretch."""
        base = (0, self._at, self._size)[whence]
        self._at = min(max(0, base + offset), self._size)
        return self._at

    def close(self) -> None:
        """Closes the file only when it is this section's own."""
        if self._owned and self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None, /
    ) -> None:
        self.close()


class TarMembers:
    """The members of a tar in a file that can seek; the last one of a name counts, as for tar itself."""

    def __init__(self, file: BinaryIO) -> None:
        from ...grammars.tar.read import read_tar

        self._fd = file.fileno()
        self._base = file.tell()
        self._entries: dict[str, Entry] = {}
        size = os.fstat(self._fd).st_size - self._base
        for entry, _ in read_tar(Section(self._fd, self._base, size), MAX_MEMBERS):
            if entry.sparse is None:
                self._entries[entry.path.decode("utf-8", "surrogateescape")] = entry

    def _find(self, path: str) -> Entry | None:
        """The file at `path`, links followed."""
        name = normpath(path)
        for _ in range(_MAX_LINKS):
            entry = self._entries.get(name)
            if entry is None or entry.kind == "file":
                return entry
            link = entry.link.decode("utf-8", "surrogateescape")
            if entry.kind == "hardlink":
                name = link
            elif entry.kind == "symlink":
                name = normpath(join("/", name, "..", link)).lstrip("/")
            else:
                return None
        raise InvalidArchive(f"{path[:200]} in the archive is a circular link")

    def size(self, path: str) -> int | None:
        """The size of a member in bytes, None if there is none."""
        entry = self._find(path)
        return None if entry is None else entry.size

    def open(self, path: str) -> Section:
        """Open a member for reading; the caller closes it. Raises InvalidArchive."""
        entry = self._find(path)
        if entry is None:
            raise InvalidArchive(f"the archive has no {path[:200]}")
        return Section(self._fd, self._base + entry.offset, entry.size)

    def small(self, path: str) -> bytes | None:
        """The whole content of a small member, None if there is none."""
        return _small(self, path)


class FolderMembers:
    """The files beneath a folder; links that leave it are refused. `with` it."""

    def __init__(self, path: str) -> None:
        with os_errors(f"open {path}"):
            self._root = Root(path)

    def size(self, path: str) -> int | None:
        """The size of a member in bytes, None if there is none."""
        try:
            fd = self._root.open_file(path)
        except (NotFound, ValueError):  # ValueError: a NUL in the name
            return None
        try:
            return os.fstat(fd).st_size
        finally:
            os.close(fd)

    def open(self, path: str) -> Section:
        """Open a member for reading; the caller closes it. Raises InvalidArchive."""
        try:
            fd = self._root.open_file(path)
        except (NotFound, ValueError):
            raise InvalidArchive(f"the directory has no {path[:200]}") from None
        return Section(fd, 0, os.fstat(fd).st_size, owned=True)

    def small(self, path: str) -> bytes | None:
        """The whole content of a small member, None if there is none."""
        return _small(self, path)

    def close(self) -> None:
        """Close the directory. Idempotent."""
        self._root.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _small(members: TarMembers | FolderMembers, path: str) -> bytes | None:
    size = members.size(path)
    if size is None:
        return None
    if size > MAX_DOCUMENT:
        raise TooLarge(f"{path[:200]} has {size} bytes, more than the {MAX_DOCUMENT} allowed")
    with members.open(path) as content:
        return _read(content, size)


def _read(content: Section, size: int) -> bytes:
    return b"".join(iter(lambda: content.read(size), b""))


@contextmanager
def spool(stream: Reader, folder: str) -> Iterator[BinaryIO]:
    """The plain content of `stream` as a file that can seek.

    A regular file that is not compressed is used as it is; anything else is decompressed into a file
    without a name in `folder`. Raises InvalidArchive, StoreError.
    """
    from tempfile import TemporaryFile

    from ...grammars.codecs.stream import decompress

    plain = _plain_file(stream)
    if plain is not None:
        yield plain
        return
    with TemporaryFile(dir=folder) as file:
        with os_errors("keep the archive while it is read"):
            copy(decompress(stream), file.write, CHUNK)
            file.flush()
            file.seek(0)
        yield file


def _plain_file(stream: Reader) -> BinaryIO | None:
    """`stream` itself if it is a file on disk that begins like no compressed one."""
    from ...grammars.codecs.stream import sniff

    file: BinaryIO = stream  # type: ignore[assignment]
    try:
        fd, at = file.fileno(), file.tell()
        if not S_ISREG(os.fstat(fd).st_mode) or sniff(os.pread(fd, 6, at)):
            return None
    except (AttributeError, OSError, ValueError):
        return None
    return file
