"""A stream that is read ahead in a thread of its own, where there is a processor for it."""

from __future__ import annotations

from .pipe import Pipe, Stopped, copy
from .threads import Worker, join_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from ...grammars.tar.entry import Reader
    from .budget import ActiveThreads


class ReadAhead:
    """Reads a stream ahead, in pieces of `size` and in a thread of its own, once `active` has room.

    `with` it: the thread ends there, and the stream is not read any more. One thread reads.
    """

    def __init__(self, stream: Reader, size: int, active: ActiveThreads, after: int) -> None:
        """After so many pieces at the earliest: others that begin now must be counted before."""
        self._stream, self._size, self._active = stream, size, active
        self._before = after
        self._pipe = Pipe()
        self._stage: Worker | None = None

    def read(self, size: int, /) -> bytes:
        """At least one byte and at most `size`; b"" at the end. Raises what the stream raises."""
        if self._stage is None and not self._starts():
            return self._stream.read(size)
        return self._handed(size)

    def _starts(self) -> bool:
        self._before -= 1
        if self._before >= 0 or not self._active.is_thin:
            return False
        self._stage = Worker(self._work, feeds=self._pipe)
        self._stage.start()
        return True

    def _work(self) -> None:
        with self._active:
            copy(self._stream, self._pipe.write, self._size)

    def _handed(self, size: int) -> bytes:
        assert self._stage
        try:
            return self._pipe.read(size)
        except Stopped as stopped:
            self._stage.join()
            raise self._stage.failure or stopped from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._stage is not None:
            self._pipe.fail()
            join_all([self._stage])
