"""Calls side by side whose results come in the order in which they were asked for."""

from __future__ import annotations

import os
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future, ThreadPoolExecutor
    from typing import Any

MOST_WORKERS = 16


def processors() -> int:
    """How many threads of computing make sense here."""
    return max(1, min(MOST_WORKERS, len(os.sched_getaffinity(0))))


class InOrder:
    """Runs calls in threads and hands each result to `take` here, in the order of the calls.

    What comes out does not depend on the number of threads or on time. At most two more calls than
    there are threads wait, so memory is bounded. The first call is made at once, without a thread: what
    is small never pays for one. Not for several threads at once. An exception of a call is raised by
    a later `call` or by `finish`.
    """

    def __init__(self, take: Callable[[Any], object], workers: int | None = None) -> None:
        self._take, self._workers = take, workers or processors()
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: deque[Future[Any]] = deque()
        self._begun = False

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        """Run `function(*args)` soon."""
        if self._workers == 1 or not self._begun:
            self._begun = True
            self._take(function(*args))
            return
        if len(self._waiting) > self._workers + 1:
            self._next()
        self._waiting.append(self._threads().submit(function, *args))
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

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self._workers, "nacre-block")
        return self._pool
