"""The first page: repositories, and the search over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....stores.browsing import Browsing
from .visit import Shown, sent_to

if TYPE_CHECKING:
    from ....stores.browsing import RepositoryLine
    from ..state import RegistryState
    from .visit import Visit

THEME = "nacre-theme"
"""The cookie that says light or dark."""
_PAGE = 30
_STEP, _STEPS = 500, 40
"""Repositories that are looked through at a time, and how often, for those that somebody may read."""


class HomeViews:
    """The handlers of one registry."""

    def __init__(self, state: RegistryState) -> None:
        self._work, self._browsing = state.work, Browsing(state.catalog)
        self.views = {"registry/": self.show}
        self.forms = {"registry/theme": self.theme}

    async def show(self, visit: Visit) -> Shown:
        """Repositories that whoever asks may read, a page of them."""
        text, last = visit.word("q"), visit.word("last")
        found, more = await self._readable(visit, text, last)
        values = {"search": text, "repositories": found, "more": more, "continued": bool(last)}
        if visit.is_fragment:
            return Shown("repositories.html", values)
        return Shown("home.html", values)

    async def _readable(self, visit: Visit, text: str, last: str) -> tuple[list[RepositoryLine], str]:
        """And after which of them it goes on, "" at the end: no name is told that they may not see."""
        found: list[RepositoryLine] = []
        limit = _PAGE + 1
        for _ in range(_STEPS):
            rows = await self._work.run(self._browsing.repositories, text, last, limit)
            found += [row for row in rows if visit.may_read(row.name)]
            if len(found) > _PAGE:
                return found[:_PAGE], found[_PAGE - 1].name
            if len(rows) < limit:
                break
            last, limit = rows[-1].name, _STEP
        return found, ""

    async def theme(self, visit: Visit) -> Shown:
        """Light, dark, or as the system has it."""
        return sent_to(visit.fields.get("to", "/"), (THEME, visit.fields.get("theme", "")))
