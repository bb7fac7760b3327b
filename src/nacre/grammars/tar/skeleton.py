"""What a tar is but for the contents of its files: all of its bytes that are nobody's content.

    skeleton    = "nacre skeleton 1\\n" zstd( *record end )
    record    = "L" length:u32 bytes                           bytes of the tar as they are
              | "P" length:u32 path offset:u64 length:u64      bytes of the file at `path`, which has no links
    end       = "E" length:u64                                 of the whole tar

Numbers are little endian. A piece of bytes has at most MAX_LITERAL, a path at most MAX_PATH. Headers of a tar
resemble each other, so a skeleton has about 25 bytes for a file. It holds for the files as they were written:
whoever reads the tar verifies its digest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from struct import Struct
from typing import NamedTuple

from ...words.errors import InvalidArchive
from ..codecs.stream import Compressor, decompress
from .entry import Entry, Reader

MAGIC = b"nacre skeleton 1\n"
MAX_LITERAL = 1 << 20
MAX_PATH = 1 << 16

_U32, _U64, _RANGE = Struct("<I"), Struct("<Q"), Struct("<QQ")
_PIECE = 1 << 16
_AHEAD = 4 << 20
"""Bytes that read_tar is never ahead of the member it gives: an extended header and a piece."""


class FileRange(NamedTuple):
    """Bytes that lie in a file."""

    path: bytes
    offset: int
    length: int


class SkeletonWriter:
    """Writes a skeleton through `write`, compressed; closes nothing."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        write(MAGIC)
        self._compressor = Compressor("zstd", write, None)
        self._pieces: list[bytes] = []
        self._held = self._total = 0

    def literal(self, data: bytes) -> None:
        """The next bytes, as they are."""
        self._pieces.append(data)
        self._held += len(data)
        if self._held >= _PIECE:
            self._flush()

    def content(self, path: bytes, entry: Entry) -> None:
        """The content of a file that was written to `path`: its data segments if it is sparse."""
        self._flush()
        for offset, length in entry.sparse if entry.sparse is not None else ((0, entry.size),):
            self._compressor.write(b"P%s%s%s" % (_U32.pack(len(path)), path, _RANGE.pack(offset, length)))
            self._total += length

    def close(self) -> None:
        """Write the end record and finish the compression."""
        self._flush()
        self._compressor.write(b"E" + _U64.pack(self._total))
        self._compressor.close()

    def _flush(self) -> None:
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        self._total += len(data)
        for at in range(0, len(data), MAX_LITERAL):
            piece = data[at : at + MAX_LITERAL]
            self._compressor.write(b"L%s%s" % (_U32.pack(len(piece)), piece))


class Recording:
    """A tar that passes on its way to read_tar and whose skeleton is written meanwhile.

    Tell it of each file with content when read_tar gives it; `drain` reads what lies behind the end marker.
    """

    def __init__(self, stream: Reader, skeleton: SkeletonWriter) -> None:
        self._stream, self._skeleton = stream, skeleton
        self._window: deque[bytes] = deque()
        self._at = self._end = self._skip = 0

    def read(self, count: int, /) -> bytes:
        """The next bytes of the tar."""
        data = self._stream.read(count)
        self._window.append(data)
        self._end += len(data)
        if self._at < self._skip:
            self._pass(min(self._skip, self._end), keep=False)
        elif self._end - self._at > 2 * _AHEAD:
            self._pass(self._end - _AHEAD, keep=True)
        return data

    def file(self, entry: Entry, path: bytes) -> None:
        """A member with content, which will lie at `path`."""
        if entry.stored:
            self._pass(entry.offset, keep=True)
            self._skeleton.content(path, entry)
            self._skip = entry.offset + entry.stored
            self._pass(min(self._skip, self._end), keep=False)

    def drain(self) -> None:
        """To the end of the stream, and of the skeleton."""
        while self.read(_PIECE):
            pass
        self._pass(self._end, keep=True)
        self._skeleton.close()

    def _pass(self, to: int, *, keep: bool) -> None:
        """Write down or drop what is held up to a place of the tar."""
        while self._at < to:
            piece = self._window.popleft()
            step = min(len(piece), to - self._at)
            if keep:
                self._skeleton.literal(piece[:step])
            if step < len(piece):
                self._window.appendleft(piece[step:])
            self._at += step


def read_skeleton(stream: Reader) -> Iterator[bytes | FileRange]:
    """What the tar consists of, in order. Raises InvalidArchive for a skeleton that is damaged."""
    if stream.read(len(MAGIC)) != MAGIC:
        raise InvalidArchive("the skeleton has an unknown format")
    records = _Records(decompress(stream, "zstd"))
    total = 0
    while (kind := records.take(1)) != b"E":
        item = records.content() if kind == b"P" else records.literal(kind)
        total += item.length if isinstance(item, FileRange) else len(item)
        yield item
    if records.take(8) != _U64.pack(total):
        raise InvalidArchive("the skeleton is damaged: it does not add up to the length of its tar")


class _Records:
    """Takes exact numbers of bytes from a stream."""

    def __init__(self, stream: Reader) -> None:
        self._stream, self._data, self._at = stream, b"", 0

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            self._fill(count)
        self._at += count
        return self._data[self._at - count : self._at]

    def _fill(self, count: int) -> None:
        pieces = [self._data[self._at :]]
        have = len(pieces[0])
        while have < count:
            data = self._stream.read(_PIECE)
            if not data:
                raise InvalidArchive("the skeleton is damaged: it ends too early")
            pieces.append(data)
            have += len(data)
        self._data, self._at = b"".join(pieces), 0

    def _sized(self, limit: int) -> bytes:
        (length,) = _U32.unpack(self.take(4))
        if length > limit:
            raise InvalidArchive(f"the skeleton is damaged: a piece of {length} bytes")
        return self.take(length)

    def literal(self, kind: bytes) -> bytes:
        if kind != b"L":
            raise InvalidArchive("the skeleton is damaged: a record of unknown type")
        return self._sized(MAX_LITERAL)

    def content(self) -> FileRange:
        path = self._sized(MAX_PATH)
        return FileRange(path, *_RANGE.unpack(self.take(16)))
