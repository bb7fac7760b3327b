"""How many threads work on something in this process, beside the processors there are for them."""

from __future__ import annotations

from threading import Lock

from ...words.processors import processors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class ActiveThreads:
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


LAYERS = ActiveThreads()
"""The threads that read or write layers."""
