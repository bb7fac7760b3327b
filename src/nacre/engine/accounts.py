"""The accounts of a registry of one's own: people, teams, rights and tokens."""

from __future__ import annotations

from ..words.durations import seconds
from ..words.errors import Unsupported
from .database import OpenedDatabase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..stores.accounts.administration import Administration
    from ..stores.accounts.model import AccessToken, AuditEntry, Grant, Namespace, RegistryUser, Team, Trust


class RegistryAccounts(OpenedDatabase["Administration"]):
    """Those of the registry in `folder`, served at the moment or not. Use it with `with`.

    Without accounts a registry is open to all; the first, an administrator, closes it. Changes hold within
    50 ms. `actor` is who the audit log says did it. `database` is the URL of a server that the registry shall
    have, "" for what it has. Raises Unsupported without SQLAlchemy, Alembic and
    argon2-cffi, StoreError, Conflict.
    """

    def __init__(self, folder: str, actor: str, database: str = "") -> None:
        super().__init__(lambda: _administration(folder, actor, database))
        self._folder, self._url = folder, database

    @property
    def _accounts(self) -> Administration:
        return self._opened

    def add_user(self, name: str, password: str = "", *, admin: bool = False, robot: bool = False) -> None:
        """A robot has no password and no namespace of its own. Raises InvalidName, Conflict, UsageError."""
        self._accounts.users.add(name, _encoded(password), administrator=admin, robot=robot)

    def invite(self, lifetime: str = "24h") -> str:
        """A secret by which the first administrator is made on the page, once; "" when there are users."""
        if self._has_users():  # asked by plain statements: each start of a closed registry does
            return ""
        return self._accounts.invitations.issue(seconds(lifetime))

    def _has_users(self) -> bool:
        from contextlib import closing

        from ..stores.catalog.opening import is_registry
        from ..stores.registry import accounts_of

        if not self._url and not is_registry(self._folder):
            return False
        with closing(accounts_of(self._folder, self._url)) as found:
            return found.is_closed

    def remove_user(self, name: str) -> None:
        """With its tokens and rights; what it has pushed stays. Raises NotFound, Conflict."""
        self._accounts.users.remove(name)

    def update_user(
        self, name: str, *, password: str | None = None, admin: bool | None = None,
        disabled: bool | None = None,
    ) -> None:  # fmt: skip
        """Change what is not None. Raises NotFound, Conflict."""
        stored = None if password is None else _encoded(password)
        self._accounts.users.change(name, password=stored, administrator=admin, disabled=disabled)

    def users(self) -> list[RegistryUser]:
        """All of them by name."""
        return self._accounts.users.list()

    def add_team(self, name: str) -> None:
        """A team without members. Raises InvalidName, Conflict."""
        self._accounts.teams.add(name)

    def remove_team(self, name: str) -> None:
        """With its rights. Raises NotFound."""
        self._accounts.teams.remove(name)

    def join(self, team: str, users: Sequence[str]) -> None:
        """Make users members. Raises NotFound."""
        self._accounts.teams.join(team, users)

    def leave(self, team: str, users: Sequence[str]) -> None:
        """Raises NotFound, also for who is no member."""
        self._accounts.teams.leave(team, users)

    def teams(self) -> list[Team]:
        """All of them by name."""
        return self._accounts.teams.list()

    def grant(self, namespace: str, role: str, *, user: str = "", team: str = "") -> None:
        """`read`, `write`, `delete` or `admin` in a namespace, in place of what they had there.

        Raises UsageError, InvalidName, NotFound.
        """
        from ..stores.accounts.model import Role

        self._accounts.rights.grant(namespace, Role.parse(role), user=user, team=team)

    def revoke(self, namespace: str, *, user: str = "", team: str = "") -> None:
        """Take back what was granted there. Raises NotFound."""
        self._accounts.rights.revoke(namespace, user=user, team=team)

    def grants(self) -> list[Grant]:
        """All of them by namespace."""
        return self._accounts.rights.grants()

    def set_namespace(
        self, name: str, *, public: bool | None = None, immutable: Sequence[str] | None = None,
        quota: int | None = None,
    ) -> None:  # fmt: skip
        """Change what is not None. `immutable`: patterns of tags that stay as they are once they are set.

        `quota`: most bytes that the namespace may hold, 0 for no bound. Raises InvalidName, UsageError.
        """
        from ..stores.registry import quotas_of

        patterns = None if immutable is None else tuple(immutable)
        if public is not None or patterns is not None:
            self._accounts.rights.set_namespace(name, public=public, immutable=patterns)
        if quota is not None:
            self._accounts.rights.note_quota(name, quota)
            with quotas_of(self._folder) as quotas:
                quotas.set(name, quota or None)

    def namespaces(self) -> list[Namespace]:
        """Those that something was said of. Counts what those with a quota hold."""
        from ..stores.accounts.model import Namespace
        from ..stores.registry import quotas_of

        found = {one.name: one for one in self._accounts.rights.namespaces()}
        with quotas_of(self._folder) as quotas:
            for name, most, used, _ in quotas.all(exact=True):
                found[name] = found.get(name, Namespace(name))._replace(quota=most, used=used)
        return [found[name] for name in sorted(found)]

    def add_token(
        self, user: str, label: str = "", *, role: str = "admin", namespace: str = "*", expires: str = ""
    ) -> tuple[int, str]:
        """The number, and the secret, which is shown this once. `expires`: `30d`, `12h`; "" for never.

        It lets one do what the user may, up to that role and in that namespace. Raises NotFound, UsageError.
        """
        from ..stores.accounts.model import Role

        return self._accounts.tokens.add(
            user, label, role=Role.parse(role), namespace=namespace, seconds=seconds(expires)
        )

    def remove_token(self, number: int) -> None:
        """It is of no use from now on. Raises NotFound."""
        self._accounts.tokens.remove(number)

    def tokens(self) -> list[AccessToken]:
        """All of them by number, without their secrets."""
        return self._accounts.tokens.list()

    def add_trust(
        self, issuer: str, claims: Mapping[str, str], *, namespace: str, role: str = "write",
        lifetime: str = "15m", audience: str = "nacre-registry",
    ) -> int:  # fmt: skip
        """Let jobs of that issuer act in a namespace: its number. `claims`: patterns that all must match.

        A token for `audience` is exchanged for the role, for `lifetime`. Raises UsageError, InvalidName.
        """
        from ..stores.accounts.model import Role, Trust

        limits = (namespace, Role.parse(role), seconds(lifetime))
        return self._accounts.trusts.add(Trust(0, issuer, audience, dict(claims), *limits))

    def remove_trust(self, number: int) -> None:
        """What was exchanged by it is of no use from now on. Raises NotFound."""
        self._accounts.trusts.remove(number)

    def trusts(self) -> list[Trust]:
        """All of them by number."""
        return self._accounts.trusts.list()

    def audit(
        self, limit: int = 100, *, user: str = "", action: str = "", repository: str = "", since: float = 0.0
    ) -> list[AuditEntry]:
        """Who did what, the last first: changes of accounts, pushes, deletions, logins, pulls by rule.

        Each of the words "" is any; `since` in seconds since 1970.
        """
        from contextlib import closing

        from ..stores.accounts.model import audit_entry
        from ..stores.activity import Activity, ActivityQuery
        from ..stores.registry import catalog_of

        query = ActivityQuery(repository, user, action, since)
        with closing(catalog_of(self._folder)) as catalog:
            found = [audit_entry(each) for each in Activity(catalog).page(0, limit, query)]
        return sorted((*found, *self._accounts.audit(limit, query)), key=_moment, reverse=True)[:limit]


def _moment(each: AuditEntry) -> float:
    return each.at


def _administration(folder: str, actor: str, url: str) -> Administration:
    try:
        from ..stores.accounts.administration import Administration
    except ModuleNotFoundError as error:
        needs = f"accounts of a registry need {error.name}"
        raise Unsupported(needs, hint="pip install nacre-oci[registry]") from None
    from ..stores.registry import database_of

    return Administration(database_of(folder, url), actor)


def _encoded(password: str) -> str:
    from ..services.server.access.passwords import encoded
    from ..stores.accounts.model import check_password

    return encoded(check_password(password)) if password else ""
