"""One big blob over several connections, when one alone is slow.

    one connection ──measure──► fast: go on                    slow, and the far side takes ranges:
    │ at ──────────────► border │ part │ part │ part │ …       each part by the next free worker
                                  └ handed on in order ┘

A line with losses gives each connection the same low rate, so more of them give more. What comes out is
in order and without a gap: whoever writes it down keeps a plain beginning of the blob, which is what a
resumed transfer goes on from, also after kill -9. At most twice as many parts as workers are in memory.
Whatever goes wrong with a part is dealt with by going back to one connection from where reading stands.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from threading import Condition
from typing import TYPE_CHECKING

from ...ground.work.budget import Count
from ...ground.work.pipe import Pipe, copy
from ...ground.work.threads import Worker
from ...words.errors import NacreError, RegistryError
from .download import BlobReader
from .retry import Transient

if TYPE_CHECKING:
    from .download import Connect
    from .retry import Retry

DEFAULT_RANGES = 12
WORTH = 1024 * 1024
"""Bytes that must still be missing for a split to pay."""
_TOTAL = 32
_PIECE = 64 * 1024
_LEAST, _MOST = 256 * 1024, 2 * 1024 * 1024


class Ranges:
    """What a client allows: `limit` connections for a blob, `total` for all blobs together.

    A connection that gives less than `slow` bytes a second over `seconds` of waiting is slow.
    """

    def __init__(
        self, limit: int = DEFAULT_RANGES, clock: Callable[[], float] = time.monotonic, *,
        slow: float = 12e6, seconds: float = 0.3, total: int = _TOTAL,
    ) -> None:  # fmt: skip
        self.limit, self.clock, self.slow, self.seconds = limit, clock, slow, seconds
        self._total, self._connections = total, Count()

    def take(self) -> bool:
        """One more connection, if there is one to be had."""
        return self._connections.take(1, self._total) == 1

    def give(self) -> None:
        """A connection is free again."""
        self._connections.add(-1)


class RangedReader:
    """A blob of `size` bytes from `start` on, split when that pays. One thread reads; close it."""

    def __init__(
        self,
        connect: Connect,
        what: str,
        size: int,
        start: int,
        new_retry: Callable[[], Retry],
        ranges: Ranges,
    ) -> None:
        self._connect, self._what, self._size, self._new_retry = connect, what, size, new_retry
        self._ranges = ranges
        self._one = BlobReader(connect, what, size, start, new_retry())
        self._split: Split | None = None
        self._meter = _SpeedMeter(ranges)
        self._allowed = ranges.limit > 1
        self._border = size

    @property
    def at(self) -> int:
        """The position of the next byte."""
        return self._one.at

    def open(self) -> None:
        """Connect now, so that a missing blob is reported before anything is read."""
        self._one.open()

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes, b"" at the end. Raises RegistryError, TooLarge; resumes by itself."""
        if size < 0:
            return b"".join(iter(lambda: self.read(_PIECE), b""))
        if self._split is not None and self.at >= self._border:
            return self._from_parts(size)
        with self._meter:
            data = self._one.read(min(size, self._border - self.at))
        self._meter.count += len(data)
        if self._split is None and self._allowed and self._meter.slow and self._size - self.at > WORTH:
            self._divide()
        return data

    def close(self) -> None:
        """Close all connections. Idempotent."""
        self._one.close()
        split, self._split = self._split, None
        if split is not None:
            split.close()

    def _divide(self) -> None:
        """Let others fetch what lies behind a border, while the one connection goes on up to it."""
        if not self._one.takes_ranges:
            self._allowed = False
            return
        part = self._part_size(self._meter.rate, self._size - self.at)
        self._border = self.at + part
        self._split = Split(self._part, self._border, self._size, part, self._ranges)
        self._meter.reset()

    def _part_size(self, rate: float, left: int) -> int:
        """What a connection gives in a second; less where that leaves some without a part, but a quarter."""
        share = max(rate / 4, left / self._ranges.limit)
        return int(min(max(min(rate, share), _LEAST), _MOST))

    def _part(self, start: int, end: int) -> BlobReader:
        return BlobReader(self._connect, self._what, self._size, start, self._new_retry(), end=end)

    def _from_parts(self, size: int) -> bytes:
        self._one.close()
        assert self._split is not None
        try:
            data = self._split.read(size)
        except NacreError:
            self._split.close()
            self._split, self._allowed, self._border = None, False, self._size
            return self.read(size)
        self._one.at += len(data)
        return data


class _SpeedMeter:
    """How fast a connection gives: bytes over the time spent waiting for it, not over all time."""

    def __init__(self, ranges: Ranges) -> None:
        self._ranges = ranges
        self.reset()

    def reset(self) -> None:
        self.count, self._waited, self._began = 0, 0.0, 0.0

    def __enter__(self) -> None:
        self._began = self._ranges.clock()

    def __exit__(self, *_exc: object) -> None:
        self._waited += self._ranges.clock() - self._began

    @property
    def rate(self) -> float:
        return self.count / max(self._waited, 1e-6)

    @property
    def slow(self) -> bool:
        """Is it known to be slow? Measured afresh now and then, for a line may get worse."""
        if self._waited < self._ranges.seconds:
            return False
        if self.rate < self._ranges.slow:
            return True
        self.reset()
        return False


class _Part:
    """A part on its way. `failure` says why its pipe has ended too early."""

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end, self.left = start, end, end - start
        self.pipe = Pipe()
        self.failure: NacreError | None = None


class Split:
    """The parts of `start` up to `end`, claimed and fetched by workers, read in order by one thread."""

    def __init__(
        self, fetch: Callable[[int, int], BlobReader], start: int, end: int, part: int, ranges: Ranges
    ) -> None:
        self._fetch, self._next, self._end, self._size = fetch, start, end, part
        self._ranges = ranges
        self._parts: deque[_Part] = deque()
        self._changed = Condition()
        self._workers, self._closed = 0, False
        self._grow()

    def read(self, size: int) -> bytes:
        """The next bytes, at least one. Raises NacreError when a part failed or nobody fetches."""
        self._grow()
        part = self._first()
        data = part.pipe.read(size)
        if not data:
            raise part.failure or RegistryError("a part of a blob is too short")
        part.left -= len(data)
        if not part.left:
            with self._changed:
                self._parts.popleft()
                self._changed.notify_all()
        return data

    def close(self) -> None:
        """Let the workers end; they do so at their next piece."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for part in self._parts:
            part.pipe.satisfy()

    def _first(self) -> _Part:
        with self._changed:
            while not self._parts:
                if not self._workers:
                    raise RegistryError("no connection is free for the rest of a blob")
                self._changed.wait()
            return self._parts[0]

    def _grow(self) -> None:
        """As many workers as are allowed and useful."""
        with self._changed:
            while not self._closed and self._workers < self._ranges.limit and self._next < self._end:
                if not self._ranges.take():
                    return
                self._workers += 1
                try:
                    Worker(self._work).start()
                except RuntimeError:  # no more threads to be had here: those there are will do
                    self._workers -= 1
                    self._ranges.give()
                    return

    def _work(self) -> None:
        try:
            while (part := self._claim()) is not None:
                self._bring(part)
        finally:
            self._ranges.give()
            with self._changed:
                self._workers -= 1
                self._changed.notify_all()

    def _claim(self) -> _Part | None:
        """The next part, when there is room for it; None at the end."""
        with self._changed:
            while len(self._parts) >= 2 * self._ranges.limit and not self._closed:
                self._changed.wait()
            if self._closed or self._next >= self._end:
                return None
            part = _Part(self._next, min(self._next + self._size, self._end))
            self._next = part.end
            self._parts.append(part)
            self._changed.notify_all()
            return part

    def _bring(self, part: _Part) -> None:
        reader = self._fetch(part.start, part.end)
        try:
            copy(reader, part.pipe.write, _PIECE)
        except Exception as error:  # whatever it is, the reader must not wait for this part
            part.failure = _failure(error)
            with self._changed:
                self._next = self._end  # what comes before it is still wanted, nothing behind it is
        finally:
            reader.close()
            part.pipe.end()


def _failure(error: Exception) -> NacreError:
    if isinstance(error, Transient):
        return error.error
    return error if isinstance(error, NacreError) else RegistryError(f"a part of a blob failed: {error}")
