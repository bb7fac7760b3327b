"""How fast bytes may come, and in what pieces."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...ground.work.throttle import Throttle

if TYPE_CHECKING:
    from ...grammars.config import Settings

_LEAST = 4096


class Throttles:
    """The throttles of one client: one for everything, and one for each registry that has a rate."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._all = (Throttle(settings.rate),) if settings.rate else ()
        self._own: dict[str, Throttle] = {}
        self._lock = threading.Lock()

    def of(self, registry: str) -> Slowing:
        """What a registry's bytes pass through, also where it redirects to."""
        rate = self._settings.host(registry).rate
        if not rate:
            return self._all
        with self._lock:
            return (*self._all, self._own.setdefault(registry, Throttle(rate)))


Slowing = Sequence[Throttle]


class Grain:
    """How much to ask a connection for at once: what it gives in a tenth of a second or so.

    What was asked for and did not come whole is lost with a process that is killed, and shows as no progress.
    """

    LEAST, MOST = 1 << 12, 1 << 20
    _QUICK, _SLOW = 0.1, 0.4

    def __init__(self) -> None:
        self.size = 1 << 16

    def took(self, count: int, seconds: float) -> None:
        """`count` bytes came in that time."""
        if seconds > self._SLOW:
            self.size = max(self.size // 2, self.LEAST)
        elif seconds < self._QUICK and count >= self.size:
            self.size = min(self.size * 4, self.MOST)


def piece(throttles: Slowing, size: int) -> int:
    """How much to read at once: an eighth of a second's worth, so that no connection looks dead."""
    return min([size, *(max(throttle.rate // 8, _LEAST) for throttle in throttles)])


def pay(throttles: Slowing, count: int) -> None:
    """`count` bytes pass through all of them."""
    for throttle in throttles:
        throttle.take(count)
