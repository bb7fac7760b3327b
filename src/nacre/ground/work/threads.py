"""Threads whose failures are not lost: the stages of a pipeline, and equal work on many items."""

from __future__ import annotations

from contextlib import contextmanager
from operator import length_hint
from threading import Event, Lock, Thread
from time import monotonic, process_time

from ...words.processors import processors
from .pipe import SLICE, Pipe, Stopped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeVar

    T = TypeVar("T")

_PATIENCE = 5.0
_MOMENT = 0.15


class Worker(Thread):
    """A thread that keeps what its function raised; `running` starts it.

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
        while not self._finished.wait(SLICE):
            continue
        return True


@contextmanager
def running(stages: Sequence[Worker], pipes: Sequence[Pipe]) -> Iterator[None]:
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
        join_all(stages)
    raise_first([failure, *(stage.failure for stage in stages)])


def in_parallel(
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

    stages = [Worker(work) for _ in range(min(limit, length_hint(waiting, limit)))]
    failure: BaseException | None = None
    try:
        _start(stages, first or limit)
        for stage in stages:
            stage.join()
    except BaseException as error:  # KeyboardInterrupt
        failure = error
        stop.set()
        join_all(stages)
    raise_first([failure, *(stage.failure for stage in stages)])


def _start(stages: Sequence[Worker], first: int) -> None:
    """All of them, those after the first when there is time to spare, or nothing left to do."""
    for stage in stages[:first]:
        stage.start()
    while len(stages) > first and not stages[0].ended and _is_busy(stages[0]):
        continue
    for stage in stages[first:]:
        stage.start()


def _is_busy(stage: Worker) -> bool:
    """Has this process used half of the processors for a moment, or until the end of a stage?"""
    begun, used = monotonic(), process_time()
    stage.join(_MOMENT)
    elapsed, used = monotonic() - begun, process_time() - used
    return used > elapsed * processors() / 2


def join_all(stages: Iterable[Worker]) -> None:
    """Wait for their ends, for as long as that is worth waiting: a dead network holds nobody up."""
    deadline = monotonic() + _PATIENCE
    for stage in stages:
        stage.join(max(0.0, deadline - monotonic()))


def raise_first(failures: Iterable[BaseException | None]) -> None:
    """Raise the failure that caused the others: an interrupt, else one that is not Stopped; or nothing."""
    there = [failure for failure in failures if failure is not None]
    for failure in sorted(there, key=lambda f: (isinstance(f, Exception), isinstance(f, Stopped))):
        raise failure
