"""A stream that is read ahead in a thread of its own, where there is a processor for it."""

from __future__ import annotations

from .pipe import Pipe, Stopped, copy
from .threads import SpareWorker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from ...grammars.tar.entry import Reader
    from .budget import Budget


class ReadAhead:
    """Reads a stream ahead, in pieces of `size`, once the budget has a thread for it.

    `with` it: the thread ends there, and the stream is not read any more. One thread reads.
    """

    def __init__(self, stream: Reader, size: int, budget: Budget, after: int) -> None:
        """After so many pieces at the earliest: others that begin now must be counted before."""
        self._stream, self._size, self._pipe = stream, size, Pipe()
        self._worker = SpareWorker(self._run, budget, after, feeds=self._pipe)

    def _run(self) -> None:
        copy(self._stream, self._pipe.write, self._size)

    def read(self, size: int, /) -> bytes:
        """At least one byte and at most `size`; b"" at the end. Raises what the stream raises."""
        if not self._worker.at_work():
            return self._stream.read(size)
        try:
            return self._pipe.read(size)
        except Stopped as stopped:
            raise self._worker.stop() or stopped from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._pipe.fail()
        self._worker.stop()
