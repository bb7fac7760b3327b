"""Where the bytes of a registry are, what sharing saves, and what the next collection frees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ....stores.browsing import Browsing
from ....words.errors import NotFound
from ..counting import StorageCount
from .visit import Shown

if TYPE_CHECKING:
    from ..replicating import ReplicationJobs
    from ..state import RegistryState
    from .visit import Visit

_PAGE = 30
_PATIENCE = 1.5


class StorageViews:
    """The handlers of one registry."""

    def __init__(self, state: RegistryState, replication: ReplicationJobs | None) -> None:
        self._replication = replication
        self._state, self._browsing = state, Browsing(state.catalog)
        self._counting = StorageCount(state)
        self.views = {"registry/storage": self.show}
        self.forms: dict[str, Any] = {}

    async def show(self, visit: Visit) -> Shown:
        """For administrators: it tells how much there is that they may not read."""
        if not visit.is_administrator:
            raise NotFound("there is nothing here, or nothing that you may see")
        counted = await self._counting.get(_PATIENCE)
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
            "rules": await self._state.work.run(self._replication.lines) if self._replication else (),
        }
        return Shown("storage.html", values)

    def close(self) -> None:
        """Stop what is being counted."""
        self._counting.close()
