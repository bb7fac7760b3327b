"""Who may do what in a repository, and changing that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ....stores.accounts.model import Role, covers, namespaces_of
from ....stores.browsing import Browsing
from ....words.errors import NotFound
from .location import link
from .repository import head_of
from .visit import Shown, sent_to

if TYPE_CHECKING:
    from ....stores.accounts.administration import Administration
    from ..state import RegistryState
    from .visit import Visit

_ROLES = ("read", "write", "delete", "admin")


class MemberViews:
    """The handlers of one registry."""

    def __init__(self, state: RegistryState) -> None:
        self._state, self._browsing = state, Browsing(state.catalog)
        self.views = {"repository/members": self.show}
        self.forms = {"repository/members": self.change}

    def _check(self, visit: Visit) -> str:
        if visit.is_open:
            raise NotFound("this registry has no accounts: everybody may do everything")
        visit.require(Role.ADMIN)
        return visit.location.repository

    async def show(self, visit: Visit) -> Shown:
        """All grants that cover the repository, the closest first."""
        name = self._check(visit)
        return await self._shown(visit, name, "")

    async def _shown(self, visit: Visit, name: str, why: str) -> Shown:
        values = await self._state.administer(visit.user, lambda accounts: _members(accounts, name))
        head = await head_of(self._state, self._browsing, visit)
        status = 400 if why else 200
        return Shown(
            "members.html", {**head, **values, "tab": "members", "roles": _ROLES, "why": why}, status
        )

    async def change(self, visit: Visit) -> Shown:
        """Grant or take back a role in this repository, or open it to everybody. Raises UsageError."""
        name, fields = self._check(visit), visit.fields
        who, kind = fields.get("who", "").strip(), fields.get("kind", "user")
        owner = {"team" if kind == "team" else "user": who}
        do = fields.get("do", "")
        try:
            if do == "grant":
                role = Role.parse(fields.get("role", ""))
                await self._state.administer(visit.user, lambda a: a.rights.grant(name, role, **owner))
            elif do == "revoke":
                await self._state.administer(visit.user, lambda a: a.rights.revoke(name, **owner))
            elif do in ("public", "private"):
                public = do == "public"
                await self._state.administer(
                    visit.user, lambda accounts: accounts.rights.set_namespace(name, public=public)
                )
        except NotFound as error:
            return await self._shown(visit, name, error.message)
        return sent_to(link("members", name))


def _members(accounts: Administration, name: str) -> dict[str, Any]:
    order = {namespace: number for number, namespace in enumerate(namespaces_of(name))}
    grants = [grant for grant in accounts.rights.grants() if grant.namespace in order]
    users = accounts.users.list()
    said = {space.name: space for space in accounts.rights.namespaces()}
    public = next(
        (said[each].public for each in order if each in said and said[each].public is not None), False
    )
    return {
        "grants": sorted(grants, key=lambda each: (order[each.namespace], -each.role, each.user, each.team)),
        "administrators": [user.name for user in users if user.administrator and not user.disabled],
        "owners": [user.name for user in users if not user.robot and covers(user.name, name)],
        "teams": {team.name: team.members for team in accounts.teams.list()},
        "users": [user.name for user in users], "public": bool(public),
        "immutable": [pattern for each in order if each in said for pattern in said[each].immutable],
    }  # fmt: skip
