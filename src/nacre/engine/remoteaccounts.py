"""The accounts of a registry elsewhere, with the methods of `RegistryAccounts`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..grammars.management.records import MOST_ENTRIES
from ..stores.accounts.model import (
    AccessToken,
    AuditEntry,
    Grant,
    Namespace,
    RegistryUser,
    Role,
    Team,
    Trust,
    check_password,
)
from ..words.durations import seconds
from ..words.errors import UsageError
from .remoteapi import RemotePart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..grammars.management import records as r


class RemoteAccounts(RemotePart):
    """What an administrator of that registry may. Raises as `RegistryApi.ask`."""

    def add_user(self, name: str, password: str = "", *, admin: bool = False, robot: bool = False) -> None:
        """A robot has no password and no namespace of its own."""
        said: dict[str, Any] = {"name": name, "administrator": admin, "robot": robot}
        self._api.ask("addUser", said | ({"password": check_password(password)} if password else {}))

    def remove_user(self, name: str) -> None:
        """With its tokens and rights; what it has pushed stays."""
        self._api.ask("removeUser", user=name)

    def update_user(
        self, name: str, *, password: str | None = None, admin: bool | None = None,
        disabled: bool | None = None,
    ) -> None:  # fmt: skip
        """Change what is not None."""
        password = check_password(password) if password else password
        given = {"password": password, "administrator": admin, "disabled": disabled}
        self._api.ask("updateUser", _said(given), user=name)

    def users(self) -> list[RegistryUser]:
        """All of them by name."""
        return [
            RegistryUser(u.id, u.name, u.administrator, u.robot, u.disabled, u.created.timestamp())
            for u in self._api.pages("listUsers", "users")
        ]

    def add_team(self, name: str) -> None:
        """A team without members."""
        self._api.ask("addTeam", {"name": name})

    def remove_team(self, name: str) -> None:
        """With its rights, for good."""
        self._api.ask("removeTeam", team=name)

    def join(self, team: str, users: Sequence[str]) -> None:
        """Make users members, all of them or none."""
        self._api.ask("joinTeam", {"users": list(users)}, team=team)

    def leave(self, team: str, users: Sequence[str]) -> None:
        """Let members leave, all of them or none."""
        self._api.ask("leaveTeam", {"users": list(users)}, team=team)

    def teams(self) -> list[Team]:
        """All of them by name."""
        return [Team(team.name, tuple(team.members)) for team in self._api.pages("listTeams", "teams")]

    def grant(self, namespace: str, role: str, *, user: str = "", team: str = "") -> None:
        """A role in a namespace, in place of what they had there."""
        self._api.ask(f"grant{_owner(user, team)}", {"role": role}, namespace=namespace, user=user, team=team)

    def revoke(self, namespace: str, *, user: str = "", team: str = "") -> None:
        """Take back what was granted there."""
        self._api.ask(f"revoke{_owner(user, team)}", namespace=namespace, user=user, team=team)

    def grants(self) -> list[Grant]:
        """All of them by namespace."""
        found = self._api.pages("listGrants", "grants")
        return [Grant(one.namespace, Role.parse(one.role), one.user, one.team) for one in found]

    def set_namespace(
        self, name: str, *, public: bool | None = None, immutable: Sequence[str] | None = None,
        quota: int | None = None,
    ) -> None:  # fmt: skip
        """Change what is not None."""
        patterns = None if immutable is None else list(immutable)
        if public is not None or patterns is not None:
            said = _said({"public": public, "immutable": patterns})
            self._api.ask("updateNamespace", said, namespace=name)
        if quota is not None:
            self._api.ask("setQuota", {"bytes": quota}, namespace=name)

    def namespaces(self) -> list[Namespace]:
        """Those that something was said of."""
        return [
            Namespace(one.name, one.public, tuple(one.immutable), one.quota, one.used)
            for one in self._api.pages("listNamespaces", "namespaces")
        ]

    def add_token(
        self, user: str, label: str = "", *, role: str = "admin", namespace: str = "*", expires: str = ""
    ) -> tuple[int, str]:
        """The number, and the secret, which is shown this once."""
        limits = {"role": role, "namespace": namespace, "seconds": seconds(expires)}
        made: r.MadeToken = self._api.ask("addToken", {"user": user, "label": label, **limits})
        return made.id, made.secret

    def remove_token(self, number: int) -> None:
        """It is of no use from now on."""
        self._api.ask("removeToken", token=number)

    def tokens(self) -> list[AccessToken]:
        """All of them by number, without their secrets."""
        return [token_of(one) for one in self._api.pages("listTokens", "tokens")]

    def add_trust(
        self, issuer: str, claims: Mapping[str, str], *, namespace: str, role: str = "write",
        lifetime: str = "15m", audience: str = "nacre-registry",
    ) -> int:  # fmt: skip
        """Let jobs of that issuer act in a namespace: the number of the rule."""
        said = {
            "issuer": issuer, "claims": dict(claims), "namespace": namespace, "role": role,
            "seconds": seconds(lifetime), "audience": audience,
        }  # fmt: skip
        made: r.MadeTrust = self._api.ask("addTrust", said)
        return made.id

    def remove_trust(self, number: int) -> None:
        """What was exchanged by it is of no use from now on."""
        self._api.ask("removeTrust", trust=number)

    def trusts(self) -> list[Trust]:
        """All of them by number."""
        return [
            Trust(
                one.id, one.issuer, one.audience, one.claims, one.namespace, Role.parse(one.role),
                one.seconds, one.created.timestamp(),
            )
            for one in self._api.pages("listTrusts", "trusts")
        ]  # fmt: skip

    def audit(
        self, limit: int = 100, *, user: str = "", action: str = "", repository: str = "", since: float = 0.0
    ) -> list[AuditEntry]:
        """Who did what, the last first."""
        query: dict[str, Any] = {"user": user, "action": action, "repository": repository}
        query["n"] = max(1, min(limit, MOST_ENTRIES))
        if since:
            query["since"] = datetime.fromtimestamp(since, UTC).isoformat()
        found: list[AuditEntry] = []
        for one in self._api.pages("listAudit", "entries", query) if limit > 0 else ():
            found.append(AuditEntry(one.at.timestamp(), one.actor, one.action, one.subject, one.client))
            if len(found) == limit:
                break
        return found


def token_of(one: r.TokenRecord) -> AccessToken:
    """A token as the folder's own commands have it."""
    expires = one.expires.timestamp() if one.expires else 0.0
    limits = Role.parse(one.role), one.namespace
    return AccessToken(one.id, one.user, one.label, *limits, one.created.timestamp(), expires)


def _said(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _owner(user: str, team: str) -> str:
    """How operations on either end. Raises UsageError."""
    if bool(user) == bool(team):
        raise UsageError("name either a user or a team")
    return "User" if user else "Team"
