"""A bounded pipe between two threads, and threads whose failures are not lost.

A stage of a pipeline reads from one `Pipe` and writes into the next. Whatever ends a stage early wakes
its neighbours: a reader learns that its writer failed, a writer that its reader failed or has enough,
so that every stage ends and can be joined.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from operator import length_hint
from threading import Condition, Event, Lock, Thread
from time import monotonic, process_time
from typing import TYPE_CHECKING

from ...words.errors import NacreError
from ...words.processors import processors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Self, TypeVar

    from ...ground.crowd import Crowd
    from ...words.progress import Task
    from ..model.source import Reader

    T = TypeVar("T")

CHUNK = 1 << 18
"""Bytes that a stage handles at a time."""

_ROOM = 16 * CHUNK
_PATIENCE = 5.0
_MOMENT = 0.15
_SLICE = 0.25
"""Seconds. A signal that comes when a thread is about to wait for a lock, but does not yet, ends no wait:
so none is without end, and the handler runs after this time at the latest."""


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
                self._changed.wait(_SLICE)
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
                self._changed.wait(_SLICE)
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


class Stage(Thread):
    """A thread that keeps what its function raised; `joined` starts it.

    When it ends well, the pipe it `feeds` is ended and the one it `drains` satisfied; when it fails,
    both fail.
    """

    def __init__(
        self, function: Callable[[], object], *, feeds: Pipe | None = None, drains: Pipe | None = None
    ) -> None:
        super().__init__(name="nacre-stage", daemon=True)
        self._function, self._feeds, self._drains = function, feeds, drains
        self.failure: BaseException | None = None
        self._finished = Event()

    def run(self) -> None:
        """Runs in the thread."""
        try:
            self._function()
        except BaseException as error:  # kept, and raised by whoever joins
            self.failure = error
        for pipe, end in ((self._feeds, Pipe.end), (self._drains, Pipe.satisfy)):
            if pipe:
                (Pipe.fail if self.failure else end)(pipe)
        self._finished.set()

    @property
    def ended(self) -> bool:
        """Is it over?"""
        return self._finished.is_set()

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, unless it never began.

        Until Python 3.12 an interrupted `Thread.join` takes the thread for dead (bpo-46726), so the
        waiting is done elsewhere.
        """
        if self.ident is not None and self._is_finished(timeout):
            super().join(timeout)

    def _is_finished(self, timeout: float | None) -> bool:
        if timeout is not None:
            return self._finished.wait(timeout)
        while not self._finished.wait(_SLICE):
            continue
        return True


class Told:
    """A reader that reports to `task` how far it is, and ends with Stopped once `stop` is set."""

    def __init__(self, reader: Reader, task: Task, stop: Event | None = None) -> None:
        self._reader, self._task, self._stop = reader, task, stop

    def read(self, size: int, /) -> bytes:
        """As the reader's."""
        if self._stop is not None and self._stop.is_set():
            raise Stopped("the transfer was stopped")
        data = self._reader.read(size)
        self._task.advance(len(data))
        return data


class Ahead:
    """Reads a stream ahead, in pieces of `size` and in a thread of its own, once `crowd` is thin.

    `with` it: the thread ends there, and the stream is not read any more. One thread reads.
    """

    def __init__(self, stream: Reader, size: int, crowd: Crowd, after: int) -> None:
        """After so many pieces at the earliest: others that begin now must be in the crowd before."""
        self._stream, self._size, self._crowd = stream, size, crowd
        self._before = after
        self._pipe = Pipe()
        self._stage: Stage | None = None

    def read(self, size: int, /) -> bytes:
        """At least one byte and at most `size`; b"" at the end. Raises what the stream raises."""
        if self._stage is None and not self._starts():
            return self._stream.read(size)
        return self._handed(size)

    def _starts(self) -> bool:
        self._before -= 1
        if self._before >= 0 or not self._crowd.is_thin:
            return False
        self._stage = Stage(self._work, feeds=self._pipe)
        self._stage.start()
        return True

    def _work(self) -> None:
        with self._crowd:
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
            _join([self._stage])


@contextmanager
def joined(stages: Sequence[Stage], pipes: Sequence[Pipe]) -> Iterator[None]:
    """Start the stages, and join them when the block ends, however it ends; raise what failed first of all.

    When the block fails, also by KeyboardInterrupt, the pipes fail and no stage can wait for it.
    """
    failure: BaseException | None = None
    try:
        for stage in stages:
            stage.start()
        yield
        for stage in stages:
            stage.join()
    except BaseException as error:  # raised below, or the cause behind it
        failure = error
        for pipe in pipes:
            pipe.fail()
        _join(stages)
    raise_first([failure, *(stage.failure for stage in stages)])


def side_by_side(
    function: Callable[[T, Event], object], items: Iterable[T], limit: int, first: int = 0
) -> None:
    """Call `function(item, stop)` for every item, at most `limit` at a time, each in a thread.

    An item is asked for when there is a thread for it, by one thread at a time.
    With `first` it begins with so many, and takes up the others as well when the processors are not kept
    busy: more threads than those need only take the interpreter lock from each other.
    After the first failure or KeyboardInterrupt `stop` is set, nothing new begins, and when all have
    ended (or do not answer within five seconds: a dead network) the first cause is raised.
    """
    stop, waiting, lock = Event(), iter(items), Lock()

    def work() -> None:
        while not stop.is_set():
            try:
                with lock:
                    item = next(waiting)
            except StopIteration:
                return
            try:
                function(item, stop)
            except BaseException:
                stop.set()
                raise

    stages = [Stage(work) for _ in range(min(limit, length_hint(waiting, limit)))]
    failure: BaseException | None = None
    try:
        _start(stages, first or limit)
        for stage in stages:
            stage.join()
    except BaseException as error:  # KeyboardInterrupt
        failure = error
        stop.set()
        _join(stages)
    raise_first([failure, *(stage.failure for stage in stages)])


def _start(stages: Sequence[Stage], first: int) -> None:
    """All of them, those after the first when there is time to spare, or nothing left to do."""
    for stage in stages[:first]:
        stage.start()
    while len(stages) > first and not stages[0].ended and _is_busy(stages[0]):
        continue
    for stage in stages[first:]:
        stage.start()


def _is_busy(stage: Stage) -> bool:
    """Has this process used half of the processors for a moment, or until the end of a stage?"""
    begun, used = monotonic(), process_time()
    stage.join(_MOMENT)
    elapsed, used = monotonic() - begun, process_time() - used
    return used > elapsed * processors() / 2


def _join(stages: Iterable[Stage]) -> None:
    deadline = monotonic() + _PATIENCE
    for stage in stages:
        stage.join(max(0.0, deadline - monotonic()))


def raise_first(failures: Iterable[BaseException | None]) -> None:
    """Raise the failure that caused the others: an interrupt, else one that is not Stopped; or nothing."""
    there = [failure for failure in failures if failure is not None]
    for failure in sorted(there, key=lambda f: (isinstance(f, Exception), isinstance(f, Stopped))):
        raise failure


def copy(stream: Reader, write: Callable[[bytes], object], size: int = CHUNK) -> int:
    """Everything in `stream` into `write`, until that returns False; the count of bytes."""
    count = 0
    while data := stream.read(size):
        count += len(data)
        if write(data) is False:
            break
    return count
