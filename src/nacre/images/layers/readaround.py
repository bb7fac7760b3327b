"""Which pieces of a layer come with those that somebody waits for.

Every wait is a round trip, and what comes in the time of one costs nothing. So a read brings the whole of
its file, and what lies around it: as much as the line carries in a round trip, and twice as much each time
that reads come back to the same place, as those of a program do that loads the modules of one folder.
"""

from __future__ import annotations

from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...grammars.tar.entry import Reader
    from .extents import Extents

LEAST, MOST, WIDEST = 1 << 18, 1 << 21, 1 << 23
"""Bytes of the blob around a read: the bounds of what a round trip is worth, and of what grows from it."""
_WHOLE = 1 << 23
"""Bytes of the largest file in the blob that comes with any part of it."""
_REMEMBERED = 32


class Throughput:
    """What the line carries, by what has come: safe to use from many threads."""

    def __init__(self) -> None:
        self._trip, self._rate = 0.03, 1e7

    def took(self, answered: float, size: int, seconds: float) -> None:
        """A request was answered after so long, and then `size` bytes were waited for `seconds`."""
        self._trip += (answered - self._trip) / 4
        if size >= LEAST:
            self._rate += (size / max(seconds, 1e-4) - self._rate) / 4

    @property
    def rate(self) -> float:
        """Bytes that a connection brings in a second."""
        return self._rate

    @property
    def trip(self) -> int:
        """Bytes that several connections together bring in the time of a round trip."""
        return int(min(MOST, max(LEAST, 4 * self._rate * self._trip)))


class ThroughputReader:
    """A reader, and for how many `seconds` it was waited for."""

    def __init__(self, reader: Reader) -> None:
        self._reader, self.seconds = reader, 0.0

    def read(self, size: int, /) -> bytes:
        """The next bytes, as of the reader."""
        began = monotonic()
        data = self._reader.read(size)
        self.seconds += monotonic() - began
        return data


class ReadAround:
    """What comes with the reads of one layer."""

    def __init__(self, extents: Extents) -> None:
        self._extents = extents
        self._regions: list[tuple[int, int, int]] = []

    def of(self, first: int, last: int, trip: int) -> Iterator[int]:
        """The pieces from `first` to `last` and what lies around, the wanted and those behind them before the
        others; `trip` is what a round trip is worth.
        """
        start, end = self._file(first, last)
        width = self._width(self._extents.start[first], trip)
        top, bottom = self._reach(end, width, 1), self._reach(start, width // 2, -1)
        self._regions.append((self._extents.start[bottom], self._extents.end[top], width))
        del self._regions[:-_REMEMBERED]
        yield from range(first, top + 1)
        yield from range(bottom, first)

    def _file(self, first: int, last: int) -> tuple[int, int]:
        """The pieces of the files that these belong to; between two files of a tar there is a header."""
        extents, start, end = self._extents, first, last
        while start and self._follows(start):
            start -= 1
        while end + 1 < len(extents) and self._follows(end + 1):
            end += 1
        return (start, end) if extents.end[end] - extents.start[start] <= _WHOLE else (first, last)

    def _follows(self, number: int) -> bool:
        at, size = self._extents.at, self._extents.size
        return at[number] == at[number - 1] + size[number - 1]

    def _width(self, place: int, trip: int) -> int:
        for start, end, width in reversed(self._regions):
            if start - width <= place <= end + width:
                return min(WIDEST, 2 * width)
        return trip

    def _reach(self, number: int, width: int, step: int) -> int:
        """How far one gets from a piece with so many bytes of those that are not here."""
        extents, left = self._extents, width
        while 0 <= number + step < len(extents) and left > 0:
            number += step
            if not extents.here[number]:
                left -= extents.end[number] - extents.start[number]
        return number
