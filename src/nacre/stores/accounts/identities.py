"""Users who are known elsewhere: made at their first sign-in, and kept in step with their groups at each."""

from __future__ import annotations

from sqlalchemy import delete, insert, select, update

from ...words.errors import Conflict
from .model import ExternalUser, check_user
from .schema import GRANTS, IDENTITIES, MEMBERS, NAMESPACES, TEAMS, USERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from .administration import ChangeTransaction, Users


class Identities:
    """Which users belong to which subjects of which issuers."""

    def __init__(
        self, change: ChangeTransaction, users: Users, governed: Callable[[Connection, str], None]
    ) -> None:
        self._change, self._users, self._check_governed = change, users, governed

    def admit(self, who: ExternalUser, is_taken: Callable[[str], bool]) -> str:
        """The name of the user, who is made if there is none; never is one taken over that is there already.

        Whoever has a name owns its namespace, so it must not be one where others have something: `is_taken`
        tells of repositories. Raises Conflict, and InvalidName for what cannot be a name.
        """
        with self._change() as connection:
            found = self._find(connection, who)
            if found and _is_current(connection, found, who):
                return found[1]
        with self._change("sign in", f"{who.name} of {who.issuer}") as connection:
            found = self._find(connection, who) or self._make(connection, who, is_taken)
            _follow(connection, found[0], who)
            self._check_governed(connection, found[1])
            return found[1]

    def _find(self, connection: Connection, who: ExternalUser) -> tuple[int, str, bool] | None:
        wanted = select(USERS.c.id, USERS.c.name, USERS.c.administrator).join(IDENTITIES)
        here = (IDENTITIES.c.issuer == who.issuer) & (IDENTITIES.c.subject == who.subject)
        row = connection.execute(wanted.where(here)).first()
        return (int(row[0]), str(row[1]), bool(row[2])) if row else None

    def _make(
        self, connection: Connection, who: ExternalUser, is_taken: Callable[[str], bool]
    ) -> tuple[int, str, bool]:
        name = check_user(who.name)
        if is_taken(name) or _is_said_of(connection, name):
            raise Conflict(f"the namespace {name} belongs to others")
        if connection.execute(select(USERS.c.id).where(USERS.c.name == name)).first():
            raise Conflict(f"there is a user {name} already, who signs in otherwise")
        number = self._users.insert(connection, name, "")
        values = {"issuer": who.issuer, "subject": who.subject, "user": number}
        connection.execute(insert(IDENTITIES).values(**values))
        return number, name, False


def _is_current(connection: Connection, found: tuple[int, str, bool], who: ExternalUser) -> bool:
    number, _, administrator = found
    if who.administrator not in (None, administrator):
        return False
    wanted = select(TEAMS.c.id).where(TEAMS.c.name.in_(who.teams))
    member = select(MEMBERS.c.team).join(TEAMS).where(MEMBERS.c.user == number)
    kept = member.where(TEAMS.c.name.in_(who.followed))
    return set(connection.execute(wanted).scalars()) == set(connection.execute(kept).scalars())


def _is_said_of(connection: Connection, name: str) -> bool:
    """Is there a rule for the namespace, or for one below?"""
    for column in (GRANTS.c.namespace, NAMESPACES.c.name):
        here = (column == name) | column.startswith(f"{name}/", autoescape=True)
        if connection.execute(select(column).where(here).limit(1)).first():
            return True
    return False


def _follow(connection: Connection, number: int, who: ExternalUser) -> None:
    if who.administrator is not None:
        changed = update(USERS).where(USERS.c.id == number)
        connection.execute(changed.values(administrator=who.administrator))
    ids = select(TEAMS.c.id).where(TEAMS.c.name.in_(who.followed))
    connection.execute(delete(MEMBERS).where((MEMBERS.c.user == number) & MEMBERS.c.team.in_(ids)))
    for team in connection.execute(select(TEAMS.c.id).where(TEAMS.c.name.in_(who.teams))).scalars().all():
        connection.execute(insert(MEMBERS).values(team=team, user=number))
