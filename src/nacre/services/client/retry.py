"""When to try again, and how long to wait before it. No clock of its own: sleep and chance are handed in."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from ...words.errors import NacreError, RegistryError

RETRIED = frozenset({408, 429, 500, 502, 503, 504, 522})
"""Statuses that may be another one at the next attempt."""

_PROGRESS = 1024 * 1024


class Transient(Exception):
    """A failure that may pass. `error` is what to raise when it does not, `after` the seconds to wait
    that the registry asked for, None if it did not.
    """

    def __init__(self, error: NacreError, after: float | None = None) -> None:
        super().__init__(error.message)
        self.error, self.after = error, after


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How often and how patiently. All times in seconds.

    Waits are `base` doubled each time up to `cap`, of which chance takes away up to a half; a
    `Retry-After` longer than `patience` is not waited for.
    """

    attempts: int = 5
    base: float = 0.5
    cap: float = 20.0
    patience: float = 60.0
    sleep: Callable[[float], object] = time.sleep
    chance: Callable[[], float] = random.random


class Retry:
    """The attempts of one operation."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.failures, self._bytes = policy, 0, 0

    def again(self, failure: Transient) -> None:
        """Wait until it is time for the next attempt, or raise the error when there is none left."""
        self.failures += 1
        if self.failures >= self.policy.attempts:
            raise failure.error from None
        if failure.after is not None and failure.after > self.policy.patience:
            raise _too_long(failure) from None
        self.policy.sleep(self._pause() if failure.after is None else failure.after)

    def progress(self, count: int) -> None:
        """`count` bytes came through: after a while of that the failures are forgotten."""
        self._bytes += count
        if self._bytes >= _PROGRESS:
            self.failures = self._bytes = 0

    def _pause(self) -> float:
        longest = min(self.policy.cap, self.policy.base * 2.0 ** (self.failures - 1))
        return longest * (1 - self.policy.chance() / 2)


def _too_long(failure: Transient) -> NacreError:
    error = failure.error
    if isinstance(error, RegistryError) and not error.hint and failure.after is not None:
        error.hint = f"the registry asks to retry in {failure.after:.0f} seconds"
    return error


def retry_after(field: str, date: str = "") -> float | None:
    """Seconds from a `Retry-After` field: a number or a date (RFC 9110, 10.2.3), None if it says nothing.

    A date is taken relative to the answer's own `date`, so that no two clocks need agree.
    """
    text = field.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        then, now = parsedate_to_datetime(text), parsedate_to_datetime(date)
        return max(0.0, (then - now).total_seconds())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
