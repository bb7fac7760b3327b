"""The pieces of a range of a blob, as soon as they have come: those that came together, together."""

from __future__ import annotations

from ...words.errors import RegistryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...grammars.tar.entry import Reader
    from .extents import Extents

    Piece = tuple[int, memoryview]
    """Its number, and its bytes of the blob."""


def arriving(reader: Reader, extents: Extents, numbers: Sequence[int], block: int) -> Iterator[list[Piece]]:
    """`reader` gives the blob from the first of some pieces on, in the order of the blob; at most `block`
    bytes of it are asked for at once. In memory is what was asked for and the beginning of one piece.

    Raises RegistryError where it ends before the last of them does.
    """
    end = extents.end[numbers[-1]]
    base = at = extents.start[numbers[0]]
    first, held = 0, list[bytes]()
    while first < len(numbers):
        part = reader.read(min(block, end - at))
        if not part:
            raise RegistryError("a range of a layer came with too few bytes")
        held.append(part)
        at += len(part)
        if at < extents.end[numbers[first]]:
            continue
        data = memoryview(held[0] if len(held) == 1 else b"".join(held))
        found: list[Piece] = []
        while first < len(numbers) and extents.end[numbers[first]] <= at:
            number = numbers[first]
            found.append((number, data[extents.start[number] - base : extents.end[number] - base]))
            first += 1
        yield found
        if first < len(numbers):
            start = min(extents.start[numbers[first]], at)
            held, base = [bytes(data[start - base :])], start
