"""Where the bytes of a registry are, what sharing saves, and what the next collection frees."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ....stores.browsing import Browsing
from ....words.errors import NotFound
from .visit import Shown

if TYPE_CHECKING:
    from ....stores.browsing import Totals
    from ....stores.garbage import Garbage
    from ..state import RegistryState
    from .visit import Visit

_PAGE = 30
_FRESH = 60.0
"""Seconds for which what was counted is shown again."""
_PATIENCE = 1.5
_PAUSE = 0.005


class Counted(NamedTuple):
    """What was counted, and when on the clock that never goes back."""

    totals: Totals
    unused: Garbage
    due: Garbage
    at: float


class StorageViews:
    """The handlers of one registry."""

    def __init__(self, state: RegistryState) -> None:
        self._state, self._browsing = state, Browsing(state.catalog)
        self._counting: asyncio.Task[Counted] | None = None
        self.views = {"registry/storage": self.show}
        self.forms: dict[str, Any] = {}

    async def show(self, visit: Visit) -> Shown:
        """For administrators: it tells how much there is that they may not read."""
        if not visit.is_administrator:
            raise NotFound("there is nothing here, or nothing that you may see")
        counted = await self._counted()
        if counted is None:
            return Shown("counting.html", {}, 202)
        last = visit.word("last")
        lines = await self._state.work.run(self._browsing.repositories, "", last, _PAGE + 1)
        rows = []
        for line in lines[:_PAGE]:
            _, stored = await self._state.work.run(self._browsing.stored, line.name)
            rows.append((line, stored, await self._state.work.run(self._browsing.alone, line.name)))
        more = lines[_PAGE - 1].name if len(lines) > _PAGE else ""
        values = {
            "counted": counted,
            "rows": rows,
            "more": more,
            "most": max((row[1] for row in rows), default=0),
        }
        return Shown("storage.html", values)

    async def _counted(self) -> Counted | None:
        """None while it is being counted; once for all who ask."""
        task = self._counting
        if task is None or (
            task.done() and (task.exception() or time.monotonic() - task.result().at > _FRESH)
        ):
            task = self._counting = asyncio.create_task(self._count())
        done, _ = await asyncio.wait({task}, timeout=_PATIENCE)
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
