"""Roles, namespaces and the records of a registry's accounts."""

from __future__ import annotations

import json
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from ...grammars.wire.routes import is_name
from ...words.errors import InvalidName, UsageError

if TYPE_CHECKING:
    from ...words.errors import DamagedStore
    from ..activity import ActivityEntry

EVERYTHING = "*"
MAX_USER = 64
LEAST_PASSWORD, MOST_PASSWORD = 8, 4096
"""Characters."""


class Role(IntEnum):
    """What somebody may do in a namespace; each includes those before it."""

    NONE = 0
    READ = 1
    WRITE = 2
    DELETE = 3
    ADMIN = 4

    @classmethod
    def parse(cls, text: str) -> Role:
        """`read`, `write`, `delete` or `admin`. Raises UsageError."""
        known = {role.name.lower(): role for role in cls if role}
        if text not in known:
            raise UsageError(f"unknown role {text!r}", hint=f"use one of {', '.join(known)}")
        return known[text]

    def __str__(self) -> str:
        return self.name.lower()


class RegistryUser(NamedTuple):
    """Somebody who may log in; a robot does so by tokens alone. `created` in seconds since 1970."""

    id: int
    name: str
    administrator: bool
    robot: bool
    disabled: bool
    created: float


class Team(NamedTuple):
    """A group of users."""

    name: str
    members: tuple[str, ...]


class Grant(NamedTuple):
    """A role in a namespace, for a user or a team: one of the two is ""."""

    namespace: str
    role: Role
    user: str
    team: str


class Namespace(NamedTuple):
    """What holds for the repositories of a namespace; None where it says nothing.

    `immutable`: patterns of tags that, once set, stay as they are (fnmatch). `quota`: bytes that it may hold,
    0 for no bound, and `used` those that it has where there is one.
    """

    name: str
    public: bool | None = None
    immutable: tuple[str, ...] = ()
    quota: int = 0
    used: int = 0


class AccessToken(NamedTuple):
    """A secret that stands for a user, up to a role and within a namespace; `expires` 0 for never."""

    id: int
    user: str
    label: str
    role: Role
    namespace: str
    created: float
    expires: float


class Trust(NamedTuple):
    """Whoever shows a token of `issuer` for `audience` with these claims gets a role for so many seconds.

    The values of `claims` are patterns (fnmatch), all of which must match.
    """

    id: int
    issuer: str
    audience: str
    claims: dict[str, str]
    namespace: str
    role: Role
    seconds: float
    created: float = 0.0


class ExternalUser(NamedTuple):
    """Somebody whom others vouch for: the subject of an issuer, and the name that they want here.

    `followed` are the teams that their groups decide about, `teams` those of which they are members;
    `administrator` None says nothing.
    """

    issuer: str
    subject: str
    name: str
    followed: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    administrator: bool | None = None


class AuditEntry(NamedTuple):
    """Somebody did something. `at` in seconds since 1970; `client` is the address where it came from one."""

    at: float
    actor: str
    action: str
    subject: str
    client: str = ""


def audit_entry(each: ActivityEntry) -> AuditEntry:
    """An entry of the record of activity, in a line."""
    tag, digest = each.reference, each.digest
    if not each.repository:
        subject = tag
    elif each.action == "mount":
        subject = f"{each.repository}@{digest} from {tag}"
    else:
        subject = each.repository + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    return AuditEntry(each.at, each.actor, each.action, subject, each.client)


def check_namespace(text: str) -> str:
    """`text` itself: a repository name, the first parts of one, or `*`. Raises InvalidName."""
    if text != EVERYTHING and not is_name(text):
        raise InvalidName(f"invalid namespace {text[:255]!r}: expected the first parts of a repository, or *")
    return text


def check_user(text: str) -> str:
    """`text` itself: one part of a repository name, as its namespace has it. Raises InvalidName."""
    if not is_name(text) or "/" in text or len(text) > MAX_USER:
        raise InvalidName(f"invalid name {text[:255]!r}: expected a-z, 0-9 and single . _ - between them")
    return text


def check_password(text: str) -> str:
    """`text` itself, if a user may have it for a password. Raises UsageError."""
    if len(text) < LEAST_PASSWORD:
        raise UsageError(f"a password has at least {LEAST_PASSWORD} characters")
    if len(text) > MOST_PASSWORD:
        raise UsageError(f"a password has at most {MOST_PASSWORD} characters")
    return text


def covers(namespace: str, repository: str) -> bool:
    """Is the repository one of the namespace? Parts are compared whole: `a` does not cover `ab`."""
    return namespace == EVERYTHING or f"{repository}/".startswith(f"{namespace}/")


def namespaces_of(repository: str) -> list[str]:
    """All that cover a repository, the closest first."""
    parts = repository.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts), 0, -1)] + [EVERYTHING]


def read_trust(row: tuple[object, ...]) -> Trust:
    """From the columns in the order of the fields."""
    found = Trust(*row)  # type: ignore[arg-type]
    try:
        claims = json.loads(str(row[3]))
    except ValueError:
        raise _damaged(f"trusts {found.id}", "claims", row[3]) from None
    return found._replace(claims=claims, role=role_of(found.role, f"trusts {found.id}"))


def role_of(value: object, row: str) -> Role:
    """What a column says in a row (with its table). Raises DamagedStore for what is no role."""
    try:
        return Role(value)  # type: ignore[arg-type]
    except ValueError:
        raise _damaged(row, "role", value) from None


def _damaged(row: str, column: str, value: object) -> DamagedStore:
    from ..catalog.values import damaged

    table, _, key = row.partition(" ")
    return damaged(table, key, column, value)
