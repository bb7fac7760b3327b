"""Calls side by side whose results come in the order in which they were asked for."""

from __future__ import annotations

from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future, ThreadPoolExecutor
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
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: deque[Future[Any]] = deque()
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
        self._waiting.append(self._threads(workers).submit(function, *args))
        while self._waiting and self._waiting[0].done():
            self._next()

    def finish(self) -> None:
        """Wait for all results; the threads end."""
        while self._waiting:
            self._next()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _next(self) -> None:
        self._take(self._waiting.popleft().result())

    def stop(self) -> None:
        """The results are not wanted any more: the threads end. Idempotent."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        self._waiting.clear()

    def _threads(self, workers: int) -> ThreadPoolExecutor:
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(workers, "nacre-block")
        return self._pool
