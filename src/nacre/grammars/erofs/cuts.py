"""The list of what was left out of a layer's tar because the store has it elsewhere.

    head       magic "NCUT", version, length of the whole tar, number of cuts, CRC-32 of both and the records
    record     position in the tar, length, donor, block in the donor     (14 bytes, by position)

Positions and lengths count blocks of 512 bytes. Donor 0 is what is left of the tar itself, where an equal
content of the same layer lies; donor n the file `lent-<n - 1>`. Little endian.
"""

from __future__ import annotations

from struct import Struct
from zlib import crc32

from ...words.errors import InvalidArchive
from .format import BLOCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

RECORD = Struct("<IIHI")
_HEAD = Struct("<4sIQII")
_COUNTS = Struct("<QI")
_MAGIC, _VERSION = b"NCUT", 1


class Cuts:
    """All cuts of one layer. `length` is that of the whole tar in bytes, `left` of what was not cut."""

    def __init__(self, length: int, records: bytes | bytearray) -> None:
        """`records` as `RECORD` packs them. Raises InvalidArchive unless they are in order and inside."""
        self.length, self.records = length, records
        self.count = len(records) // RECORD.size
        end = cut = 0
        for position, blocks, _, _ in self:
            if position < end or not blocks:
                raise _damaged("its cuts are out of order")
            end, cut = position + blocks, cut + blocks
        self.left = length - cut * BLOCK
        if end * BLOCK > length:
            raise _damaged("a cut is outside the tar")

    def __iter__(self) -> Iterator[tuple[int, int, int, int]]:
        """(position, length, donor, block in the donor), all in blocks but the donor."""
        return RECORD.iter_unpack(self.records)

    def check(self, donors: list[int]) -> None:
        """Raises InvalidArchive unless all lies within the donors, whose lengths these are in bytes."""
        for _, blocks, donor, block in self:
            if donor >= len(donors) or (block + blocks) * BLOCK > donors[donor]:
                raise _damaged("a cut is outside its donor")

    def encode(self) -> bytes:
        """The content of the file `cuts`, as docs/formats.md draws it."""
        checksum = crc32(self.records, crc32(_COUNTS.pack(self.length, self.count)))
        return _HEAD.pack(_MAGIC, _VERSION, self.length, self.count, checksum) + self.records

    @classmethod
    def parse(cls, data: bytes) -> Cuts:
        """Raises InvalidArchive for anything that `encode` did not write."""
        if len(data) < _HEAD.size:
            raise _damaged("it is too short")
        magic, version, length, count, checksum = _HEAD.unpack_from(data)
        records = data[_HEAD.size :]
        if (magic, version) != (_MAGIC, _VERSION):
            raise _damaged("it has an unknown format")
        counts = crc32(_COUNTS.pack(length, count))
        if len(records) != count * RECORD.size or crc32(records, counts) != checksum:
            raise _damaged("its checksum is wrong")
        return cls(length, records)


def _damaged(why: str) -> InvalidArchive:
    return InvalidArchive(f"the list of cuts of a layer is damaged: {why}")
