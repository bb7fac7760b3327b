"""The access profile of an image: which parts of its layers a program reads, in the order of its reads.

    profile = {"version": 1, "layers": [diff id, ...], "reads": [read, ...]}
    read    = [layer, offset, length]       a place in `layers`; bytes of the uncompressed tar of that layer

It says what to fetch first and nothing else, so a wrong one costs time alone. Reads may overlap and may lie
outside of a layer: whoever uses them takes what is there, once. What is read is bounded.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from ..words.digest import Digest
from ..words.errors import InvalidDocument, InvalidName, TooLarge, Unsupported
from ..words.oci import decode_json, encode_json
from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    Read = tuple[int, int, int]

MOST_BYTES = 1 << 20
"""Bytes of a profile."""
MOST_READS = 20_000
_MOST_LAYERS = 1000
_FARTHEST = 1 << 40
_VERSION = 1
_KEYS = ("version", "layers", "reads")


class AccessProfile(Value):
    """`reads` are (place in `layers`, offset, length), what was read first before the rest."""

    layers: tuple[Digest, ...]
    reads: tuple[Read, ...]

    @property
    def size(self) -> int:
        """Bytes that were read."""
        return sum(length for _, _, length in self.reads)

    def encode(self) -> bytes:
        """The document. Raises TooLarge for more than can be read again."""
        reads = [list(read) for read in self.reads]
        layers = [str(layer) for layer in self.layers]
        data = encode_json({"version": _VERSION, "layers": layers, "reads": reads})
        if len(data) > MOST_BYTES or len(reads) > MOST_READS:
            raise TooLarge(f"an access profile of {len(reads)} reads is too large")
        return data

    @classmethod
    def parse(cls, data: bytes) -> AccessProfile:
        """Raises InvalidDocument, TooLarge; Unsupported for a later version."""
        if len(data) > MOST_BYTES:
            raise TooLarge(f"an access profile has {len(data)} bytes, more than the {MOST_BYTES} allowed")
        fields = decode_json(data, "access profile")
        if not isinstance(fields, dict) or set(fields) != set(_KEYS):
            raise _wrong("is not an object with version, layers and reads")
        if fields["version"] != _VERSION or isinstance(fields["version"], bool):
            raise Unsupported("the access profile has another version than 1")
        layers = tuple(map(_digest, _listed(fields, "layers", _MOST_LAYERS)))
        reads = _listed(fields, "reads", MOST_READS)
        return cls(layers, tuple(_read(read, len(layers)) for read in reads))


def _listed(fields: dict[str, Any], key: str, most: int) -> list[Any]:
    value = fields[key]
    if not isinstance(value, list):
        raise _wrong(f"has {key} that are not a list")
    if len(value) > most:
        raise TooLarge(f"an access profile has {len(value)} {key}, more than the {most} allowed")
    return value


def _digest(text: Any) -> Digest:
    try:
        if not isinstance(text, str):
            raise _wrong("has a layer that is not a digest")
        return Digest(text)
    except InvalidName as error:
        raise _wrong(f"has a layer that is not a digest: {error.message}") from None


def _read(value: Any, layers: int) -> Read:
    if not isinstance(value, list) or len(value) != 3 or any(type(number) is not int for number in value):
        raise _wrong("has a read that is not three numbers")
    layer, offset, length = value
    if not (0 <= layer < layers and offset >= 0 and length > 0 and offset + length <= _FARTHEST):
        raise _wrong(f"has an impossible read: {str(value)[:100]}")
    return layer, offset, length


def _wrong(why: str) -> InvalidDocument:
    return InvalidDocument(f"the access profile {why}")


def distinct(reads: Iterable[Read], most: int = MOST_READS) -> tuple[Read, ...]:
    """Each byte once, where it is read first; reads that follow each other joined; the first `most`."""
    covered: dict[int, _Covered] = {}
    found: list[Read] = []
    for layer, offset, length in reads:
        for start, end in covered.setdefault(layer, _Covered()).add(offset, offset + length):
            before = found[-1] if found else (-1, 0, 0)
            if before[0] == layer and before[1] + before[2] == start:
                found[-1] = layer, before[1], end - before[1]
            elif len(found) == most:
                return tuple(found)
            else:
                found.append((layer, start, end - start))
    return tuple(found)


class _Covered:
    """Bytes of a layer, as spans that neither touch nor overlap, in order."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Add a span; those parts of it that were not there."""
        first, last = bisect_left(self._ends, start), bisect_right(self._starts, end)
        at, new = start, []
        for low, high in zip(self._starts[first:last], self._ends[first:last], strict=True):
            if at < low:
                new.append((at, low))
            at = max(at, high)
        if at < end:
            new.append((at, end))
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last], self._ends[first:last] = [start], [end]
        return iter(new)
