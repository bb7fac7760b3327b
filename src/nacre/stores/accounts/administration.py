"""Changing the accounts of a registry. Each method is one transaction, with its line in the audit log."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from contextlib import contextmanager

from sqlalchemy import Integer, Text, cast, delete, func, insert, select, update
from sqlalchemy.dialects import sqlite

from ...words.errors import Conflict, NotFound, UsageError
from ..activity import ActivityQuery
from .database import AccountsDatabase
from .identities import Identities
from .invitation import Invitations
from .model import (
    AccessToken,
    AuditEntry,
    Grant,
    Namespace,
    RegistryUser,
    Role,
    Team,
    check_namespace,
    check_user,
    role_of,
)
from .schema import AUDIT, GRANTS, MEMBERS, NAMESPACES, SETTINGS, TEAMS, TOKENS, USERS
from .trust import Trusts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import Protocol, Self

    from sqlalchemy import Connection, Table
    from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
    from sqlalchemy.dialects.sqlite import Insert as SqliteInsert

    class ChangeTransaction(Protocol):
        """What `Administration._change` is to the parts."""

        def __call__(self, action: str = "", subject: str = "") -> AbstractContextManager[Connection]:
            """One transaction, with its line in the audit log."""


TOKEN_PREFIX = "nacre_"
"""What every token begins with, so that scanners for secrets know one."""
_KEY_BYTES = 32
_ANY = ActivityQuery()


class Administration:
    """The accounts in the registry's database, a file or a URL; `actor` is who the audit log says did it.

    `with` it, or `close` it. Raises StoreError, and Conflict for what exists already.
    """

    def __init__(self, place: str, actor: str) -> None:
        self._database, self._actor = AccountsDatabase(place), actor
        self.users, self.teams = Users(self._change), Teams(self._change)
        self.rights, self.tokens = Rights(self._change), Tokens(self._change)
        self.trusts = Trusts(self._change)
        self.identities = Identities(self._change, self.users, _check_governed)
        self.invitations = Invitations(self._change, self.users)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing may be called afterwards."""
        self._database.close()

    @contextmanager
    def _change(self, action: str = "", subject: str = "") -> Iterator[Connection]:
        with self._database.change() as connection:
            yield connection
            if action:
                entry = {"at": time.time(), "actor": self._actor, "action": action, "subject": subject}
                connection.execute(insert(AUDIT).values(**entry))
                _count(connection)

    def note(self, action: str, subject: str = "") -> None:
        """Write into the audit log what changes nothing, and yet somebody will want to know."""
        with self._change(action, subject):
            pass

    def audit(self, limit: int = 100, query: ActivityQuery = _ANY) -> list[AuditEntry]:
        """The newest changes of accounts, the last first; they belong to no repository."""
        return [entry for _, entry in self.audited(0, limit, query)]

    def audited(self, before: int, limit: int, query: ActivityQuery = _ANY) -> list[tuple[int, AuditEntry]]:
        """As `audit`, each after its number; the next page is that `before` the last number of this one."""
        wanted = select(AUDIT.c.id, AUDIT.c.at, AUDIT.c.actor, AUDIT.c.action, AUDIT.c.subject)
        wanted = wanted.where(AUDIT.c.at >= query.since)
        wanted = wanted.where(AUDIT.c.id < before) if before else wanted
        wanted = wanted.where(AUDIT.c.actor == query.actor) if query.actor else wanted
        wanted = wanted.where(AUDIT.c.action == query.action) if query.action else wanted
        if query.repository:
            return []
        with self._change() as connection:
            rows = connection.execute(wanted.order_by(AUDIT.c.id.desc()).limit(limit))
            return [(row[0], AuditEntry(*row[1:])) for row in rows]


class Users:
    """Who may log in: people and robots."""

    def __init__(self, change: ChangeTransaction) -> None:
        self._change = change

    def add(self, name: str, password: str, *, administrator: bool = False, robot: bool = False) -> None:
        """`password` as argon2 writes it, "" for none. The first user must be an administrator, and no robot.

        Raises InvalidName, Conflict, UsageError.
        """
        if administrator and robot:
            raise UsageError("a robot cannot be an administrator")
        with self._change("user add", check_user(name)) as connection:
            if not administrator and not _administrators(connection):
                raise UsageError(
                    "the first user must be an administrator",
                    hint=f"nacre registry user add --admin {name}: from then on everybody has to log in",
                )
            self.insert(connection, name, password, administrator=administrator, robot=robot)

    def insert(
        self, connection: Connection, name: str, password: str, *, administrator: bool = False,
        robot: bool = False,
    ) -> int:  # fmt: skip
        """As `add`, within a transaction and without its questions; the number of the user."""
        _check_free(connection, USERS, check_user(name))
        values = {"name": name, "password": password, "administrator": administrator, "robot": robot}
        values |= {"disabled": False, "created": time.time()}
        made = connection.execute(insert(USERS).values(**values))
        assert made.inserted_primary_key
        self.prepare(connection)
        return int(made.inserted_primary_key[0])

    def prepare(self, connection: Connection) -> None:
        """Make what signs tokens, so that a registry can ask for them."""
        _ensure_key(connection)

    def remove(self, name: str) -> None:
        """With its tokens, grants and memberships. Raises NotFound; Conflict for the last administrator."""
        with self._change("user rm", name) as connection:
            number = _user(connection, name)
            connection.execute(delete(USERS).where(USERS.c.id == number))
            _check_governed(connection, name)

    def change(
        self, name: str, *, password: str | None = None, administrator: bool | None = None,
        disabled: bool | None = None,
    ) -> None:  # fmt: skip
        """Set what is not None. Raises NotFound; Conflict for the last administrator."""
        given = {"password": password, "administrator": administrator, "disabled": disabled}
        values = {key: value for key, value in given.items() if value is not None}
        with self._change("user change", f"{name}: {', '.join(values)}") as connection:
            number = _user(connection, name)
            if values:
                connection.execute(update(USERS).where(USERS.c.id == number).values(**values))
            _check_governed(connection, name)

    def list(self) -> list[RegistryUser]:
        """All users by name."""
        columns = (USERS.c[field] for field in RegistryUser._fields)
        with self._change() as connection:
            return [RegistryUser(*row) for row in connection.execute(select(*columns).order_by(USERS.c.name))]


class Teams:
    """Groups of users, which rights are granted to."""

    def __init__(self, change: ChangeTransaction) -> None:
        self._change = change

    def add(self, name: str) -> None:
        """A team without members. Raises InvalidName, Conflict."""
        with self._change("team add", check_user(name)) as connection:
            _check_free(connection, TEAMS, name)
            connection.execute(insert(TEAMS).values(name=name))

    def remove(self, name: str) -> None:
        """With its grants. Raises NotFound."""
        with self._change("team rm", name) as connection:
            connection.execute(delete(TEAMS).where(TEAMS.c.id == _team(connection, name)))

    def join(self, name: str, users: Sequence[str]) -> None:
        """Who is a member stays one. Raises NotFound."""
        with self._change("team join", f"{name}: {', '.join(users)}") as connection:
            team = _team(connection, name)
            for user in users:
                values = {"team": team, "user": _user(connection, user)}
                connection.execute(put(connection, MEMBERS).values(**values).on_conflict_do_nothing())

    def leave(self, name: str, users: Sequence[str]) -> None:
        """Raises NotFound, also for who is no member."""
        with self._change("team leave", f"{name}: {', '.join(users)}") as connection:
            team = _team(connection, name)
            for user in users:
                member = (MEMBERS.c.team == team) & (MEMBERS.c.user == _user(connection, user))
                if not connection.execute(delete(MEMBERS).where(member)).rowcount:
                    raise NotFound(f"{user} is not a member of {name}")

    def list(self) -> list[Team]:
        """All teams by name, their members too."""
        wanted = select(TEAMS.c.name, USERS.c.name).select_from(TEAMS).outerjoin(MEMBERS).outerjoin(USERS)
        found: dict[str, list[str]] = {}
        with self._change() as connection:
            for team, user in connection.execute(wanted.order_by(TEAMS.c.name, USERS.c.name)):
                found.setdefault(team, []).extend([user] if user else [])
        return [Team(name, tuple(members)) for name, members in found.items()]


class Rights:
    """Who may do what where, and what everybody may."""

    def __init__(self, change: ChangeTransaction) -> None:
        self._change = change

    def grant(self, namespace: str, role: Role, *, user: str = "", team: str = "") -> None:
        """In place of the role that a user or a team has there. Raises InvalidName, NotFound."""
        who = user or f"team {team}"
        with self._change("grant", f"{role} in {check_namespace(namespace)} to {who}") as connection:
            owner = _owner(connection, user, team)
            _drop(connection, namespace, owner)
            connection.execute(insert(GRANTS).values(namespace=namespace, role=int(role), **owner))

    def revoke(self, namespace: str, *, user: str = "", team: str = "") -> None:
        """Take back what was granted there. Raises NotFound."""
        who = user or f"team {team}"
        with self._change("revoke", f"{namespace} from {who}") as connection:
            if not _drop(connection, namespace, _owner(connection, user, team)):
                raise NotFound(f"{who} was granted nothing in {namespace}")

    def grants(self) -> list[Grant]:
        """All grants by namespace."""
        wanted = select(GRANTS.c.namespace, GRANTS.c.role, USERS.c.name, TEAMS.c.name)
        joined = wanted.select_from(GRANTS).outerjoin(USERS).outerjoin(TEAMS)
        ordered = joined.order_by(GRANTS.c.namespace, USERS.c.name, TEAMS.c.name)
        with self._change() as connection:
            rows = connection.execute(ordered).all()
        return [
            Grant(name, role_of(role, f"grants {name}"), user or "", team or "")
            for name, role, user, team in rows
        ]

    def set_namespace(
        self, name: str, *, public: bool | None = None, immutable: tuple[str, ...] | None = None
    ) -> None:
        """Set what is not None. Raises InvalidName."""
        lines = None if immutable is None else "\n".join(map(_pattern, immutable))
        given = {"public": public, "immutable": lines}
        values = {key: value for key, value in given.items() if value is not None}
        with self._change("namespace set", f"{check_namespace(name)}: {', '.join(values)}") as connection:
            made = put(connection, NAMESPACES).values(
                {"name": name, "public": None, "immutable": "", **values}
            )
            connection.execute(
                made.on_conflict_do_update(index_elements=["name"], set_=values or {"name": name})
            )

    def note_quota(self, name: str, most: int) -> None:
        """The catalog has it; here it is only written down who set it. Raises InvalidName."""
        with self._change("namespace set", f"{check_namespace(name)}: quota {most}"):
            pass

    def namespaces(self) -> list[Namespace]:
        """All that something was said of."""
        wanted = select(NAMESPACES.c.name, NAMESPACES.c.public, NAMESPACES.c.immutable)
        with self._change() as connection:
            rows = connection.execute(wanted.order_by(NAMESPACES.c.name)).all()
        return [Namespace(name, public, tuple(lines.split())) for name, public, lines in rows]


class Tokens:
    """Secrets that stand for a user."""

    def __init__(self, change: ChangeTransaction) -> None:
        self._change = change

    def add(
        self, user: str, label: str = "", *, role: Role = Role.ADMIN, namespace: str = "*",
        seconds: float = 0.0,
    ) -> tuple[int, str]:  # fmt: skip
        """Its number, and the secret, which is kept nowhere; `seconds` 0 is for ever. Raises NotFound."""
        if not label.isprintable():
            raise UsageError(f"invalid label {label[:255]!r}")
        secret, now = TOKEN_PREFIX + secrets.token_urlsafe(32), time.time()
        values = {
            "label": label, "secret": hashlib.sha256(secret.encode()).hexdigest(), "role": int(role),
            "namespace": check_namespace(namespace), "created": now,
            "expires": now + seconds if seconds else 0.0,
        }  # fmt: skip
        with self._change("token add", f"{user}: {role} in {namespace}") as connection:
            made = connection.execute(insert(TOKENS).values(user=_user(connection, user), **values))
            assert made.inserted_primary_key
            return int(made.inserted_primary_key[0]), secret

    def remove(self, number: int) -> None:
        """It is of no use from now on. Raises NotFound."""
        with self._change("token rm", str(number)) as connection:
            if not connection.execute(delete(TOKENS).where(TOKENS.c.id == number)).rowcount:
                raise NotFound(f"no such token: {number}")

    def list(self) -> list[AccessToken]:
        """All tokens by number, without their secrets."""
        others = (TOKENS.c[field] for field in AccessToken._fields[2:])
        wanted = select(TOKENS.c.id, USERS.c.name, *others).join(USERS).order_by(TOKENS.c.id)
        with self._change() as connection:
            rows = connection.execute(wanted).all()
        return [
            AccessToken(number, user, label, role_of(role, f"tokens {number}"), *rest)
            for number, user, label, role, *rest in rows
        ]


def _pattern(text: str) -> str:
    if not text.isascii() or text.split() != [text]:
        raise UsageError(f"invalid pattern of tags {text[:255]!r}")
    return text


def _check_free(connection: Connection, table: Table, name: str) -> None:
    """Users and teams share their names: `grant` and a reader of the log could not tell them apart."""
    for each, what in ((USERS, "user"), (TEAMS, "team")):
        if connection.execute(select(each.c.id).where(each.c.name == name)).first():
            raise Conflict(f"there is a {what} {name} already")


def _user(connection: Connection, name: str) -> int:
    row = connection.execute(select(USERS.c.id).where(USERS.c.name == check_user(name))).first()
    if row is None:
        raise NotFound(f"no such user: {name[:255]}")
    return int(row[0])


def _team(connection: Connection, name: str) -> int:
    row = connection.execute(select(TEAMS.c.id).where(TEAMS.c.name == check_user(name))).first()
    if row is None:
        raise NotFound(f"no such team: {name[:255]}")
    return int(row[0])


def _owner(connection: Connection, user: str, team: str) -> dict[str, int]:
    if bool(user) == bool(team):
        raise UsageError("name either a user or a team")
    return {"user": _user(connection, user)} if user else {"team": _team(connection, team)}


def _drop(connection: Connection, namespace: str, owner: dict[str, int]) -> int:
    ((column, number),) = owner.items()
    there = (GRANTS.c.namespace == namespace) & (GRANTS.c[column] == number)
    return connection.execute(delete(GRANTS).where(there)).rowcount


def _administrators(connection: Connection) -> int:
    alive = USERS.c.administrator & ~USERS.c.disabled
    return int(connection.execute(select(func.count()).where(alive)).scalar_one())


def _check_governed(connection: Connection, name: str) -> None:
    if not _administrators(connection):
        raise Conflict(f"{name} is the last administrator", hint="make another one first")


def put(connection: Connection, table: Table) -> SqliteInsert | PostgresInsert:
    """An insert that says what to do where the row is there; each dialect has one of its own."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    return sqlite.insert(table)


def _count(connection: Connection) -> None:
    """Pushes change the database, too: this tells a server that accounts have changed."""
    made = put(connection, SETTINGS).values(name="changes", value="1")
    more = cast(cast(SETTINGS.c.value, Integer) + 1, Text)
    connection.execute(made.on_conflict_do_update(index_elements=["name"], set_={"value": more}))


def _ensure_key(connection: Connection) -> None:
    """What signs the tokens of the token endpoint."""
    key = base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()
    connection.execute(
        put(connection, SETTINGS).values(name="signing_key", value=key).on_conflict_do_nothing()
    )
