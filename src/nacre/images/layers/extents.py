"""Where the pieces of a layer are whose content is still to come: in its tar, and in its blob."""

from __future__ import annotations

import mmap
from array import array
from bisect import bisect_right
from hashlib import sha256
from io import BytesIO
from itertools import compress

from ...grammars.codecs.piece import PieceDecoder
from ...grammars.codecs.stream import decompress
from ...ground.files import write_at
from ...words.errors import InvalidArchive, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...grammars.tar.entry import Reader

MOST_PIECE = 64 << 20
"""Bytes of the largest piece, plain or compressed, that is held in memory."""


class Extents:
    """Where the pieces of a layer are, in the order of its tar; `here` is shared with forked processes."""

    has_borders = True
    """Whether the blob can be unpacked as a stream from the beginning of any piece on."""

    def __init__(self, codec: str = "") -> None:
        """`codec` is that of the pieces."""
        self.codec = codec
        self._decoder = PieceDecoder(codec)
        self.at, self.size, self.start, self.end = (array("Q") for _ in range(4))
        self.digests: list[str] = []
        self.here: mmap.mmap | bytearray = bytearray()

    def __len__(self) -> int:
        return len(self.at)

    def add(self, at: int, size: int, blob: tuple[int, int], digest: str) -> None:
        """The next piece. Raises Unsupported for one without a digest, or too large to be verified first."""
        if not digest:
            raise Unsupported("its table of contents has pieces without a digest")
        if max(size, blob[1] - blob[0]) > MOST_PIECE:
            raise Unsupported("its table of contents has pieces that are too large")
        self.at.append(at)
        self.size.append(size)
        self.start.append(blob[0])
        self.end.append(blob[1])
        self.digests.append(digest)

    def seal(self) -> None:
        """There are no more."""
        if self.at:
            self.here = mmap.mmap(-1, len(self.at))

    def within(self, offset: int, count: int) -> range:
        """The pieces that these bytes of the tar touch; all of them for (0, 0)."""
        if not count:
            return range(len(self.at))
        first = max(0, bisect_right(self.at, offset) - 1)
        if self.at and self.at[first] + self.size[first] <= offset:
            first += 1
        return range(first, max(first, bisect_right(self.at, offset + count - 1)))

    def are_here(self, numbers: range) -> bool:
        """Whether all of them are here, one after the other."""
        return self.here.find(b"\0", numbers.start, numbers.stop) < 0

    def missing(self, numbers: Sequence[int]) -> list[int]:
        """Those of them that are not here."""
        here = self.here
        return [number for number in numbers if not here[number]]

    def run(self, number: int, here: bytearray, near: int) -> tuple[int, int]:
        """The first and the last piece of what is to be fetched at once, from one that is not `here` on.

        At most `near` bytes of the blob that lie between those that are not here pass once more.
        """
        last = first = number
        while (number := here.find(b"\0", last + 1)) >= 0:
            if not 0 <= self.start[number] - self.end[last] <= near:
                break
            last = number
        return first, last

    def holes(self, start: int, stop: int, here: bytearray) -> list[tuple[int, int]]:
        """Contents whose piece is not `here` and of which a part lies in these bytes of the tar, in order."""
        found = self.within(start, stop - start)
        some = slice(found.start, found.stop)
        rows = zip(self.at[some], self.size[some], here[some], strict=True)
        return [(at, at + size) for at, size, is_here in rows if not is_here]

    def unpack(self, number: int, packed: memoryview) -> bytes:
        """A piece out of its bytes of the blob, verified. Raises InvalidArchive for anything else."""
        return self.verified(number, self.plain(number, packed))

    def plain(self, number: int, packed: memoryview) -> bytes:
        """The same, of which nothing but the length is sure. Raises InvalidArchive."""
        size = self.size[number]
        plain = self._decoder.unpack(packed, size)
        plain = plain or first_bytes(decompress(BytesIO(packed), self.codec), size)
        if len(plain) != size:
            raise InvalidArchive("a piece of a layer is not what its table of contents says")
        return plain

    def verified(self, number: int, plain: bytes) -> bytes:
        """The same bytes. Raises InvalidArchive unless they are those of the piece."""
        if len(plain) != self.size[number] or sha256(plain).hexdigest() != self.digests[number]:
            raise InvalidArchive("a piece of a layer is not what its table of contents says")
        return plain

    def write(self, tar: int, number: int, plain: bytes) -> None:
        """Put a piece into the tar. Raises OSError."""
        write_at(tar, plain, self.at[number])

    def bytes_here(self, passed: int) -> int:
        """Bytes of content that have come; all of that has before byte `passed` of the tar."""
        first = bisect_right(self.at, passed - 1)
        return sum(self.size[:first]) + sum(compress(self.size[first:], self.here[first:]))

    @property
    def is_complete(self) -> bool:
        """Whether everything has come."""
        return self.here.find(b"\0") < 0


def first_bytes(stream: Reader, count: int) -> bytes:
    """So many bytes of a stream, fewer if it ends. Raises InvalidArchive where it is damaged."""
    parts: list[bytes] = []
    while count and (data := stream.read(count)):
        parts.append(data)
        count -= len(data)
    return b"".join(parts)
