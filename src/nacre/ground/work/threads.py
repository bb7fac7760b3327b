"""Threads whose failures are not lost: the stages of a pipeline, and equal work on many items."""

from __future__ import annotations

from contextlib import contextmanager
from operator import length_hint
from threading import Event, Lock, Thread
from time import monotonic, process_time

from .pipe import SLICE, Pipe, Stopped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any, TypeVar

    from .budget import Budget

    T = TypeVar("T")
    Each = Callable[[T, Event], object]

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
        super().__init__(name="nacre-worker", daemon=True)
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
        """Whether the thread has finished."""
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


class SpareWorker:
    """A worker that takes a part of some work off its owner once the budget has a thread to spare.

    Until `at_work` says so, the owner does that part itself. For one owner.
    """

    def __init__(
        self, function: Callable[[], object], budget: Budget, after: int, *,
        feeds: Pipe | None = None, drains: Pipe | None = None,
    ) -> None:  # fmt: skip
        """It begins after `after` pieces of work at the earliest: what counts for more begins before."""
        self._function, self._budget, self._before = function, budget, after
        self._worker = Worker(self._run, feeds=feeds, drains=drains)
        self._begun = False

    def _run(self) -> None:
        try:
            self._function()
        finally:
            self._budget.end_thread()

    def at_work(self) -> bool:
        """Whether it does the next piece of work."""
        return self._begun or self._starts()

    def _starts(self) -> bool:
        self._before -= 1
        if self._before >= 0 or not self._budget.try_thread():
            return False
        self._begun = True
        self._worker.start()
        return True

    def finish(self) -> None:
        """Wait for its end, however long it takes. Its pipe was ended before. Raises what it raised."""
        self._worker.join()
        raise_first([self._worker.failure])

    def stop(self) -> BaseException | None:
        """Wait for its end, as long as that is worth it; what it raised. Its pipe was ended before."""
        _join_all([self._worker])
        return self._worker.failure


@contextmanager
def running(workers: Sequence[Worker], pipes: Sequence[Pipe]) -> Iterator[None]:
    """Start the workers, and join them when the block ends, however it ends; raise what failed first of all.

    When the block fails, also by KeyboardInterrupt, the pipes fail and no worker can wait for it.
    """
    failure: BaseException | None = None
    try:
        for worker in workers:
            worker.start()
        yield
        for worker in workers:
            worker.join()
    except BaseException as error:  # raised below, or the cause behind it
        failure = error
        for pipe in pipes:
            pipe.fail()
        _join_all(workers)
    raise_first([failure, *(worker.failure for worker in workers)])


def in_parallel(function: Each[T], items: Iterable[T], limit: int) -> None:
    """Call `function(item, stop)` for every item, at most `limit` at a time, each in a thread.

    An item is asked for when there is a thread for it, by one thread at a time.
    After the first failure or KeyboardInterrupt `stop` is set, nothing new begins, and when all have
    ended (or do not answer within five seconds: a dead network) the first cause is raised.
    """
    _Threads(function, items, limit).run(limit)


def paced(function: Each[T], items: Iterable[T], budget: Budget, waiting: int = 0) -> None:
    """The same, for as many items as the budget lets move at once, in no more threads than they need.

    It begins with a few and takes up the others as well when the processors are not kept busy: more threads
    than those need only take the interpreter lock from each other. `waiting` of the items do nothing but
    wait for somebody else, and count for no limit.
    """
    _Threads(function, items, budget.transfers + waiting).run(budget.pace + waiting, budget)


class _Threads:
    """Equal threads that take one item after the other."""

    def __init__(self, function: Each[Any], items: Iterable[Any], limit: int) -> None:
        self._function, self._items = function, iter(items)
        self._stop, self._lock = Event(), Lock()
        self._workers = [Worker(self._work) for _ in range(min(limit, length_hint(self._items, limit)))]

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                with self._lock:
                    item = next(self._items)
            except StopIteration:
                return
            try:
                self._function(item, self._stop)
            except BaseException:
                self._stop.set()
                raise

    def run(self, first: int, budget: Budget | None = None) -> None:
        """All of them; those after the `first` when there is time to spare, or nothing left to do."""
        failure: BaseException | None = None
        try:
            self._start(self._workers[:first])
            if budget is not None and len(self._workers) > first:
                self._wait(self._workers[0], budget)
            self._start(self._workers[first:])
            for worker in self._workers:
                worker.join()
        except BaseException as error:  # KeyboardInterrupt
            failure = error
            self._stop.set()
            _join_all(self._workers)
        raise_first([failure, *(worker.failure for worker in self._workers)])

    def _start(self, workers: Sequence[Worker]) -> None:
        for worker in workers:
            worker.start()

    def _wait(self, worker: Worker, budget: Budget) -> None:
        while not worker.ended and _is_busy(worker, budget):
            continue


def _is_busy(worker: Worker, budget: Budget) -> bool:
    """Has this process used half of its processors for a moment, or until the end of a worker?"""
    begun, used = monotonic(), process_time()
    worker.join(_MOMENT)
    elapsed, used = monotonic() - begun, process_time() - used
    return used > elapsed * budget.share / 2


def _join_all(workers: Iterable[Worker]) -> None:
    """Wait for their ends, for as long as that is worth waiting: a dead network holds nobody up."""
    deadline = monotonic() + _PATIENCE
    for worker in workers:
        worker.join(max(0.0, deadline - monotonic()))


def raise_first(failures: Iterable[BaseException | None]) -> None:
    """Raise the failure that caused the others: an interrupt, else one that is not Stopped; or nothing."""
    there = [failure for failure in failures if failure is not None]
    for failure in sorted(there, key=lambda f: (isinstance(f, Exception), isinstance(f, Stopped))):
        raise failure
