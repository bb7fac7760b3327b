"""How fast bytes may pass."""

from __future__ import annotations

import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Throttle:
    """Lets `rate` bytes a second pass, on average; what was not used is not saved up."""

    def __init__(
        self, rate: int, clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:  # fmt: skip
        self.rate, self._clock, self._sleep = rate, clock, sleep
        self._due, self._lock = 0.0, threading.Lock()

    def take(self, count: int) -> None:
        """`count` bytes pass: wait until those before them are paid for."""
        with self._lock:
            now = self._clock()
            wait = max(0.0, self._due - now)
            self._due = now + wait + count / self.rate
        if wait:
            self._sleep(wait)
