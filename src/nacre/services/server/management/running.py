"""What takes long and was asked for: in a thread of its own, until it is done or the registry ends.

How far it is stands in the catalog (`stores.runs`), so that whoever asks any replica hears the same.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

from ....stores.runs import SILENT, Run, Runs
from ....words.errors import NacreError
from ..work import Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..state import RegistryState

_EVERY = SILENT / 4
_AT_ONCE = 3


class StoppedRun(Exception):
    """The registry ends, and so does what runs."""


class Heartbeat:
    """Called all the while by what runs, from any thread. Raises StoppedRun."""

    def __init__(self, runs: Runs, run: Run, stopping: threading.Event) -> None:
        self._runs, self._run, self._stopping = runs, run, stopping
        self._lock, self._told = threading.Lock(), time.monotonic()

    def __call__(self) -> None:
        """Say that it still runs, every so often."""
        if self._stopping.is_set():
            raise StoppedRun
        with self._lock:
            due = time.monotonic() - self._told > _EVERY
            self._told = time.monotonic() if due else self._told
        if due:
            self._runs.heard(self._run)


class RunningJobs:
    """Those of one process. `close` it."""

    def __init__(self, state: RegistryState, tell: Callable[[str], object]) -> None:
        self.runs, self._state, self._tell = Runs(state.catalog), state, tell
        self._stopping = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._work: Work | None = None

    async def begin(
        self, kind: str, by: str, act: Callable[[Heartbeat], Any], *, dry_run: bool = False
    ) -> Run:
        """Begin `act`, which gives what JSON can say. Raises Conflict while one of that kind runs."""
        run = await self._state.work.run(self.runs.begin, kind, by, dry_run=dry_run)
        if self._work is None:
            self._work = Work(_AT_ONCE, "nacre-run")
        task = asyncio.create_task(self._work.run(self._do, run, act))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return run

    def _do(self, run: Run, act: Callable[[Heartbeat], Any]) -> None:
        try:
            self.runs.end(run, result=act(Heartbeat(self.runs, run, self._stopping)))
        except StoppedRun:
            self._failed(run, "the registry was stopped")
        except NacreError as error:
            self._failed(run, error.message)
        except Exception as error:
            self._tell(f"error: {run.kind} failed: {error!r}")
            self._failed(run, "the registry failed; see its log")

    def _failed(self, run: Run, why: str) -> None:
        try:
            self.runs.end(run, error=why)
        except NacreError as error:
            self._tell(f"error: {run.kind} failed: {why}; {error.message}")

    async def close(self) -> None:
        """Let them stop, and wait."""
        self._stopping.set()
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        if self._work:
            self._work.close()
