"""How much a registry stores, shares and can free: counted once for all who ask, and kept for a minute."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

from ...stores.browsing import Browsing

if TYPE_CHECKING:
    from ...stores.browsing import Totals
    from ...stores.garbage import Garbage
    from .state import RegistryState

_FRESH = 60.0
"""Seconds for which what was counted is told again."""
_PAUSE = 0.005


class Counted(NamedTuple):
    """What was counted, and when on the clock that never goes back."""

    totals: Totals
    unused: Garbage
    due: Garbage
    at: float


class StorageCount:
    """Of one registry. `close` it."""

    def __init__(self, state: RegistryState) -> None:
        self._state, self._browsing = state, Browsing(state.catalog)
        self._counting: asyncio.Task[Counted] | None = None

    async def get(self, patience: float | None = None) -> Counted | None:
        """None while it is being counted, after so many seconds."""
        task = self._counting
        if task is None or (task.done() and (task.exception() or _is_old(task.result()))):
            task = self._counting = asyncio.create_task(self._count())
        done, _ = await asyncio.wait({task}, timeout=patience)
        return task.result() if done else None

    async def _count(self) -> Counted:
        totals, steps = None, self._browsing.totals()
        while (step := await self._state.work.run(next, steps, None)) is not None:
            totals = step
            await asyncio.sleep(_PAUSE)
        assert totals is not None
        unused, due = await self._state.work.run(self._state.garbage.look)
        return Counted(totals, unused, due, time.monotonic())

    def close(self) -> None:
        """Stop what is being counted."""
        if self._counting:
            self._counting.cancel()


def _is_old(counted: Counted) -> bool:
    return time.monotonic() - counted.at > _FRESH
