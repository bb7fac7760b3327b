"""The four ways in which a tar tells where the holes of a file are.

Sources: GNU tar manual, "Storing Sparse Files" (PAX 0.0, 0.1, 1.0) and tar.h (old GNU).
"""

from __future__ import annotations

from collections.abc import Callable

from ...words.errors import InvalidArchive
from .entry import show
from .pax import Records

MAX_MAP = 1 << 20
"""Most bytes that a sparse map may take in an archive (Go's limit too)."""

Segments = list[tuple[int, int]]


def pax_map(records: Records, name: bytes) -> Segments | None:
    """The map of PAX 0.0 and 0.1, which lies in the records; None when there is none."""
    numbers = records.sparse_map
    if numbers is None:
        return None
    if len(numbers) % 2:
        raise InvalidArchive(f"archive entry {show(name)} has a sparse map with an odd number of values")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def read_pax_1_0(take: Callable[[int], bytes], stored: int, name: bytes) -> Segments:
    """The map of PAX 1.0: decimal lines at the head of the payload, padded to 512."""
    lines: list[bytes] = []
    rest, wanted, read = b"", 1, 0
    while len(lines) < wanted:
        block = take(512)
        read += 512
        if len(block) < 512 or read > min(stored, MAX_MAP):
            raise InvalidArchive(f"archive entry {show(name)} has a truncated or oversized sparse map")
        *whole, rest = (rest + block).split(b"\n")
        lines += whole
        if lines:
            wanted = 1 + 2 * _decimal(lines[0], name)
        if wanted > MAX_MAP or len(rest) > 512:
            raise InvalidArchive(f"archive entry {show(name)} has an oversized sparse map")
    numbers = [_decimal(line, name) for line in lines[1:wanted]]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def read_gnu(header: bytes, take: Callable[[int], bytes], name: bytes) -> tuple[Segments, int]:
    """The map and real size of an old GNU member (type S): 4 places in the header, 21 in each block after."""
    segments: Segments = []
    _collect(header[386:482], segments, name)
    more, read = header[482], 0
    while more:
        block = take(512)
        read += 512
        if len(block) < 512 or read > MAX_MAP:
            raise InvalidArchive(f"archive entry {show(name)} has a truncated or oversized sparse map")
        _collect(block[:504], segments, name)
        more = block[504]
    return segments, _field(header[483:495], name)


def _collect(table: bytes, segments: Segments, name: bytes) -> None:
    for at in range(0, len(table), 24):
        if not table[at]:
            return
        segments.append((_field(table[at : at + 12], name), _field(table[at + 12 : at + 24], name)))


def _field(field: bytes, name: bytes) -> int:
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << 95) - 1)
        if value >> 63:
            raise InvalidArchive(f"archive entry {show(name)} has a sparse map with an impossible number")
        return value
    digits = field.strip(b" \0").partition(b"\0")[0] or b"0"
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise InvalidArchive(f"archive entry {show(name)} has a damaged sparse map")
    return int(digits, 8)


def _decimal(digits: bytes, name: bytes) -> int:
    if not digits.isdigit() or len(digits) > 19 or (value := int(digits)) >> 63:
        raise InvalidArchive(f"archive entry {show(name)} has a damaged sparse map")
    return value
