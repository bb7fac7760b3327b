"""How much work of a kind is under way in this process, beside the processors there are for it."""

from __future__ import annotations

import os
from threading import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self


_team: Callable[[], int] | None = None


def processors() -> int:
    """How many this process may use: its share while it is one of a team, rounded up."""
    count = len(os.sched_getaffinity(0))
    return count if _team is None else -(-count // max(1, _team()))


def share(at_work: Callable[[], int] | None) -> None:
    """From now on this process is one of so many that are at work (None: it is alone)."""
    global _team
    _team = at_work


class Crowd:
    """`with` it while one more thread is at work. Safe for threads.

    Threads of their own for the parts of one work pay only as long as there are processors for them:
    otherwise they take the interpreter lock from each other, and bytes from each other's caches.
    """

    def __init__(self) -> None:
        self._lock, self._count = Lock(), 0

    def join(self) -> None:
        """One more."""
        with self._lock:
            self._count += 1

    def leave(self) -> None:
        """One less."""
        with self._lock:
            self._count -= 1

    @property
    def is_thin(self) -> bool:
        """Is there a processor to spare?"""
        return self._count < processors()

    def __enter__(self) -> Self:
        self.join()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.leave()


LAYERS = Crowd()
"""The threads that read or write layers."""
