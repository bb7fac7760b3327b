"""What all work that is done side by side may use of this machine."""

from __future__ import annotations

import os
from _thread import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .ordered import Ordered

_TRANSFERS = 8
_PROCESSES = 8
_STEPS, _STEPS_PER_PROCESSOR = 8, 4


class Count:
    """How many of something are in use. Safe for threads."""

    def __init__(self) -> None:
        self._lock, self._used = allocate_lock(), 0

    @property
    def used(self) -> int:
        """How many are in use now."""
        return self._used

    def take(self, wanted: int, limit: int) -> int:
        """Use some more: `wanted`, or as many as a limit on all of them leaves."""
        with self._lock:
            got = max(0, min(wanted, limit - self._used))
            self._used += got
            return got

    def add(self, change: int) -> None:
        """Use so many more, whatever the limit; or less."""
        with self._lock:
            self._used += change


class Load:
    """What is at work in this process: `threads` on layers, `file_workers`, and how many `processes` share
    the processors with it.
    """

    def __init__(self) -> None:
        self.threads, self.file_workers = Count(), Count()
        self.processes: Callable[[], int] | None = None


class Budget:
    """The limits, and how much of them is in use. Made once for a process and handed down; never changed.

    `processors` are for this process and its forks. `processes` is how many may share the layers of a
    transfer: with 1 this process is never forked. `transfers` is how many layers or blobs move at once, in
    all processes together; 0 for as many as is usual.
    """

    def __init__(
        self, processors: int, *, processes: int = 1, transfers: int = 0, load: Load | None = None
    ) -> None:
        self.processors, self.processes, self.load = processors, processes, load or Load()
        self._transfers = transfers

    @property
    def transfers(self) -> int:
        """How many may move at once."""
        return self._transfers or _TRANSFERS

    @property
    def steps(self) -> int:
        """How many steps of a build may be at work at once: most of them wait, for a network or a disk."""
        return max(_STEPS, _STEPS_PER_PROCESSOR * self.processors)

    @classmethod
    def of_machine(cls, *, forks: bool = False) -> Budget:
        """All of the processors that this process may run on. `forks`: nobody else has threads in it."""
        return cls(len(os.sched_getaffinity(0)), processes=_PROCESSES if forks else 1)

    def limited(self, *, processes: int = 0, transfers: int = 0) -> Budget:
        """The same budget with other limits (0: the same ones); what is in use is counted together."""
        return Budget(
            self.processors, processes=processes or self.processes, transfers=transfers or self._transfers,
            load=self.load,
        )  # fmt: skip

    def usually(self, transfers: int) -> Budget:
        """The same, where another number of transfers is usual; one that was asked for stays."""
        return self.limited(transfers=self._transfers or transfers)

    @property
    def share(self) -> int:
        """Processors for this process while others share them with it, rounded up."""
        processes = self.load.processes
        return self.processors if processes is None else -(-self.processors // max(1, processes()))

    @property
    def pace(self) -> int:
        """Threads that keep the processors of this process busy: one, while others share them with it."""
        return self.processors + 1 if self.load.processes is None else 1

    # --- threads on layers

    def begin_thread(self) -> None:
        """One more thread is at work, as the work needs one."""
        self.load.threads.add(1)

    def try_thread(self) -> bool:
        """One more, if there is a processor to spare.

        Threads of their own for the parts of one work pay only as long as there are processors for them:
        otherwise they take the interpreter lock from each other, and bytes from each other's caches.
        """
        return self.load.threads.take(1, self.share) == 1

    def end_thread(self) -> None:
        """One thread less is at work."""
        self.load.threads.add(-1)

    def ordered(self, take: Callable[[Any], object]) -> Ordered:
        """Calls in threads of their own whose results come in order."""
        from .ordered import Ordered

        return Ordered(take, self)

    # --- processes that make files

    def take_file_workers(self, most: int) -> int:
        """Room for so many more of them, or fewer."""
        return self.load.file_workers.take(most, self.share)

    def give_file_workers(self, count: int) -> None:
        """So many file workers have ended."""
        self.load.file_workers.add(-count)
