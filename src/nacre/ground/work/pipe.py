"""Bounded pipes between two threads.

A stage of a pipeline reads from one `Pipe` and writes into the next. Whatever ends a stage early wakes
its neighbours: a reader learns that its writer failed, a writer that its reader failed or has enough,
so that every stage ends and can be joined.
"""

from __future__ import annotations

from collections import deque
from threading import Condition

from ...words.errors import NacreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from ...grammars.tar.entry import Reader
    from ...words.progress import Task

CHUNK = 1 << 18
"""Bytes that a stage handles at a time."""
SLICE = 0.25
"""Seconds. A signal that comes when a thread is about to wait for a lock, but does not yet, ends no wait:
so none is without end, and the handler runs after this time at the latest."""

_ROOM = 16 * CHUNK


class Stopped(NacreError):
    """A neighbour in the pipeline ended first; never the first cause of a failure."""


class Pipe:
    """Bytes from one thread to another, at most about 4 MiB on the way."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._head = 0
        self._held = 0
        self._ended = self._satisfied = self._broken = False
        self._changed = Condition()

    def write(self, data: bytes) -> bool:
        """Hand on `data`; waits for room. False when the reader has enough; raises Stopped when it failed."""
        with self._changed:
            while self._held >= _ROOM and not (self._satisfied or self._broken):
                self._changed.wait(SLICE)
            if self._broken:
                raise Stopped("the other end of a pipe has failed")
            if data and not self._satisfied:
                self._chunks.append(data)
                self._held += len(data)
                self._changed.notify_all()
            return not self._satisfied

    def end(self) -> None:
        """There is no more to write."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def satisfy(self) -> None:
        """There is no need to write more."""
        with self._changed:
            self._satisfied = True
            self._chunks.clear()
            self._held = 0
            self._changed.notify_all()

    def fail(self) -> None:
        """One end has failed: the other gets Stopped. No effect on bytes after a proper end."""
        with self._changed:
            self._broken = True
            self._changed.notify_all()

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most `size`; b"" at the end. Waits for at least one byte."""
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        with self._changed:
            while not (self._chunks or self._ended or self._broken):
                self._changed.wait(SLICE)
            if self._broken and not self._ended:
                raise Stopped("the other end of a pipe has failed")
            return self._take(size) if self._chunks else b""

    def _take(self, size: int) -> bytes:
        head, chunk = self._head, self._chunks[0]
        data = chunk[head : head + size] if head or size < len(chunk) else chunk
        self._head = head + len(data)
        if self._head == len(chunk):
            self._chunks.popleft()
            self._head = 0
        self._held -= len(data)
        self._changed.notify_all()
        return data


class PipeBuffer:
    """Joins small pieces, such as a tar writer's, into few large ones for a pipe."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe, self._held = pipe, bytearray()

    def write(self, data: bytes) -> None:
        """Keep `data`, and hand on what is kept once it is a chunk. Raises Stopped."""
        self._held += data
        if len(self._held) >= CHUNK:
            self.flush()

    def flush(self) -> None:
        """Hand on what is kept. Raises Stopped."""
        self._pipe.write(bytes(self._held))
        self._held.clear()


class ProgressReader:
    """A reader that reports to `task` how far it is, and ends with Stopped once `stop` is set."""

    def __init__(self, reader: Reader, task: Task, stop: Event | None = None) -> None:
        self._reader, self._task, self._stop = reader, task, stop

    def read(self, size: int, /) -> bytes:
        """The next bytes of the reader, counted. Raises Stopped."""
        if self._stop is not None and self._stop.is_set():
            raise Stopped("the transfer was stopped")
        data = self._reader.read(size)
        self._task.advance(len(data))
        return data


def copy(stream: Reader, write: Callable[[bytes], object], size: int = CHUNK) -> int:
    """Everything in `stream` into `write`, until that returns False; the count of bytes."""
    count = 0
    while data := stream.read(size):
        count += len(data)
        if write(data) is False:
            break
    return count
