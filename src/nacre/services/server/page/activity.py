"""What happened in a repository: who pushed, tagged, mounted and deleted what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ....stores.accounts.model import Role
from ....stores.activity import ActivityQuery
from ....stores.browsing import Browsing
from .repository import head_of
from .visit import Shown

if TYPE_CHECKING:
    from ..state import RegistryState
    from .visit import Visit

_PAGE = 50


class ActivityViews:
    """The handlers of one registry."""

    def __init__(self, state: RegistryState) -> None:
        self._state, self._browsing = state, Browsing(state.catalog)
        self.views = {"repository/activity": self.show}
        self.forms: dict[str, Any] = {}

    async def show(self, visit: Visit) -> Shown:
        """The newest first, a page of them; who it was is told to those who have signed in."""
        name, last = visit.location.repository, visit.word("last")
        before = int(last) if last.isascii() and last.isdigit() and len(last) < 18 else 0
        query = ActivityQuery(repository=name)
        entries = await self._state.work.run(self._state.activity.page, before, _PAGE + 1, query)
        values = {
            "name": name, "entries": entries[:_PAGE],
            "more": entries[_PAGE - 1].id if len(entries) > _PAGE else 0,
            "names": visit.is_open or bool(visit.user), "addresses": visit.may(Role.ADMIN, name),
            "tab": "activity",
        }  # fmt: skip
        if visit.is_fragment:
            return Shown("entries.html", values)
        return Shown("activity.html", {**await head_of(self._state, self._browsing, visit), **values})
