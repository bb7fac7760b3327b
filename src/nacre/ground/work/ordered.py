"""Calls side by side whose results come in the order in which they were asked for.

`concurrent.futures` would do, but it loads `logging`, which takes longer than a small layer to be compressed.
"""

from __future__ import annotations

from _queue import SimpleQueue  # `queue` loads `heapq` for its other queues
from collections import deque
from threading import Lock, Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .budget import Budget

MAX_THREADS = 16


class Ordered:
    """Runs calls in threads and hands each result to `take` here, in the order of the calls.

    What comes out does not depend on the number of threads or on time. At most two more calls than
    there are threads wait, so memory is bounded. The first call is made at once, without a thread: what
    is small never pays for one; nor are there threads before there is a second processor. Not for several
    threads at once. An exception of a call is raised by a later `call` or by `finish`.
    """

    def __init__(self, take: Callable[[Any], object], budget: Budget) -> None:
        self._take, self._budget = take, budget
        self._pool: _Pool | None = None
        self._waiting: deque[_OrderedCall] = deque()
        self._begun = False

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        """Run `function(*args)` in a thread; results are handed on in order."""
        workers = min(MAX_THREADS, self._budget.share)
        if not self._begun or (workers == 1 and self._pool is None):
            self._begun = True
            self._take(function(*args))
            return
        if len(self._waiting) > workers + 1:
            self._next()
        if self._pool is None:
            self._pool = _Pool(workers)
        self._waiting.append(self._pool.submit(_OrderedCall(function, args)))
        while self._waiting and self._waiting[0].is_done:
            self._next()

    def finish(self) -> None:
        """Wait for all results; the threads end."""
        while self._waiting:
            self._next()
        if self._pool is not None:
            self._pool.end()
            self._pool = None

    def _next(self) -> None:
        self._take(self._waiting.popleft().result())

    def stop(self) -> None:
        """The results are not wanted any more: the threads end. Idempotent."""
        if self._pool is not None:
            for call in self._waiting:
                call.cancel()
            self._pool.end()
            self._pool = None
        self._waiting.clear()


class _OrderedCall:
    """A call that a thread makes, unless it is cancelled before."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._work: tuple[Callable[..., Any], tuple[Any, ...]] | None = (function, args)
        self._found: Any = None
        self._failure: BaseException | None = None
        self._running = Lock()
        self._running.acquire()

    def cancel(self) -> None:
        """Do not begin, if there is time."""
        self._work = None

    def make(self) -> None:
        """Runs in the thread."""
        work, self._work = self._work, None
        try:
            self._found = work[0](*work[1]) if work else None
        except BaseException as error:  # raised by whoever asks for the result
            self._failure = error
        self._running.release()

    @property
    def is_done(self) -> bool:
        """Whether `result` need not wait."""
        return not self._running.locked()

    def result(self) -> Any:
        """Wait for it, once; what it gave. Raises what it raised."""
        self._running.acquire()
        failure, self._failure = self._failure, None
        self._running.release()
        if failure is not None:
            raise failure
        return self._found


class _Pool:
    """Up to so many threads; one more begins with each call until there are enough."""

    def __init__(self, workers: int) -> None:
        self._calls: SimpleQueue[_OrderedCall | None] = SimpleQueue()
        self._most, self._threads = workers, list[Thread]()

    def submit(self, call: _OrderedCall) -> _OrderedCall:
        """Have one of the threads make it."""
        self._calls.put(call)
        if len(self._threads) < self._most:
            thread = Thread(target=self._run, name="nacre-block", daemon=True)
            thread.start()
            self._threads.append(thread)
        return call

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call.make()

    def end(self) -> None:
        """Wait for what is under way; the threads end."""
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()
