"""What the server asks of the accounts at each request: plain statements, without SQLAlchemy.

Answers are kept until accounts change. Where they come from a server, an event loop has what it needs read
in a thread before (`services.server.access`), and finds it here. When accounts change in between, it finds
what was read for the moment before: so nothing that it is told is older than STALE seconds and the half
second after which a change is noticed, and it never waits for the server.
"""

from __future__ import annotations

import base64
import threading
import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from ...words.errors import StoreError
from .model import Role, namespaces_of, read_trust, role_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from .administration import Administration
    from .model import Trust
    from .sources import AccountsSource

    Kept = dict[tuple[str, ...], object]

MOST = 4096
_ATTEMPTS = 5
STALE = 1.0
"""Seconds for which an event loop may still go by what was read before a change."""
_CLOSED, _NAMESPACES, _KEY = ("closed",), ("namespaces",), ("key",)
_BASICS = (_CLOSED, _NAMESPACES, _KEY)
"""What holds for everybody."""
NEWEST = "identities"
"""The step of `migrations` that these statements are written for."""
_TRUSTS = "SELECT id, issuer, audience, claims, namespace, role, seconds, created FROM trusts WHERE {}"
_USER = "SELECT id, name, password, administrator, robot FROM users WHERE {} AND NOT disabled"
_GRANTS = """
    SELECT namespace, max(role) FROM grants g LEFT JOIN members m ON m.team = g.team
    WHERE g."user" = ?1 OR m."user" = ?1 GROUP BY namespace"""


class KnownUser(NamedTuple):
    """A user as the server needs one; `password` as argon2 writes it. `grants` has the role by namespace."""

    id: int
    name: str
    password: str
    administrator: bool
    robot: bool
    grants: dict[str, Role]


class KnownToken(NamedTuple):
    """A secret that exists: whose, and up to what. `expires` 0 for never."""

    id: int
    account: KnownUser
    role: Role
    namespace: str
    expires: float


class Accounts:
    """Reads the accounts that `source` has, from any thread. `close` closes that too. Raises StoreError,
    Unavailable.
    """

    def __init__(self, source: AccountsSource) -> None:
        self._source, self._rows, self._changes = source, source.rows, ""
        self.is_remote = source.is_remote
        self._kept: Kept = {}
        self._former, self._former_until = dict[tuple[str, ...], object](), 0.0
        self._next: tuple[str, Kept] = ("", {})
        self.serving = 0
        """The thread whose event loop must not wait for a server."""
        self._opening = threading.Lock()
        self._administration: Administration | None = None
        try:
            if source.has_tables() and self._rows("SELECT version_num FROM alembic_version") != [(NEWEST,)]:
                self.administration()
            source.before_change(self._prepare_next)
            self._changes, self._kept = self._next
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Nothing may be called afterwards."""
        self._source.close()
        if self._administration:
            self._administration.close()

    def administration(self) -> Administration:
        """For what the registry itself has to write; from any thread. Raises Unsupported, StoreError."""
        with self._opening:
            if self._administration is None:
                from .administration import Administration

                self._administration = Administration(self._source.place, "")
            return self._administration

    def version(self, *, now: bool = False) -> str:
        """Another text whenever somebody has changed accounts; "" where there are none. `now`: also what was
        changed only just, which takes a question to a server.
        """
        changes = self._source.changes(now=now)
        if changes != self._changes:
            expected, basics = self._next
            self._changes = changes
            self._replace(dict(basics) if expected == changes else {})
        return changes

    def serve(self) -> None:
        """The thread that calls this has an event loop, which must not wait for a server."""
        self.serving = threading.get_ident() if self.is_remote else 0

    def _prepare_next(self, changes: str) -> None:
        """Before it is told that accounts have changed: read what holds for everybody."""
        basics: Kept = {_CLOSED: self._closed(), _NAMESPACES: self._namespaces(), _KEY: self._signing_key()}
        self._next = (changes, basics)

    def _replace(self, kept: Kept) -> None:
        self._former, self._former_until = self._kept, time.monotonic() + STALE
        self._kept = kept

    @property
    def is_closed(self) -> bool:
        """Is there anybody who may log in? Otherwise the registry is open to all."""
        return bool(self._keep(_CLOSED, self._closed))

    def _closed(self) -> bool:
        return self._source.has_tables() and bool(self._rows("SELECT 1 FROM users LIMIT 1"))

    @property
    def is_ready(self) -> bool:
        """Is what holds for everybody known?"""
        return all(key in self._kept for key in _BASICS)

    def prepare(self, name: str = "", token: str = "") -> None:
        """Have it known, and who might send a request: then an event loop finds it without waiting."""
        for _ in range(_ATTEMPTS):
            changes = self._changes
            self._prepare(name, token)
            if changes == self._changes:  # else it is not kept
                return

    def _prepare(self, name: str, token: str) -> None:
        self._keep(_CLOSED, self._closed)
        self._key()
        self.namespaces()
        if name:
            self.account(name)
        if token:
            self.token(token)

    def changed(self, name: str) -> KnownUser | None:
        """As `account`, after this process has changed accounts; in a thread."""
        self.version(now=True)
        self.prepare(name)
        return self.account(name)

    def account(self, name: str) -> KnownUser | None:
        """None for who does not exist or is disabled."""
        found = self._keep(("user", name), lambda: self._account("name = ?", name))
        return found if isinstance(found, KnownUser) else None

    def token(self, digest: str) -> KnownToken | None:
        """By the SHA-256 of its secret, in hexadecimal digits; also one that has expired."""
        return self._token("secret = ?", digest)

    def token_numbered(self, number: int) -> KnownToken | None:
        """As `token`, by its number."""
        return self._token("id = ?", number)

    def _token(self, where: str, value: object) -> KnownToken | None:
        found = self._keep((where, str(value)), lambda: self._read_token(where, value))
        return found if isinstance(found, KnownToken) else None

    def _read_token(self, where: str, value: object) -> KnownToken | None:
        rows = self._rows(f'SELECT id, "user", role, namespace, expires FROM tokens WHERE {where}', value)
        account = self._account("id = ?", rows[0][1]) if rows else None
        if account is None:
            return None
        number, _, role, namespace, expires = rows[0]
        return KnownToken(number, account, role_of(role, f"tokens {number}"), namespace, expires)

    def _account(self, where: str, value: object) -> KnownUser | None:
        rows = self._rows(_USER.format(where), value)
        if not rows:
            return None
        number, name, password, administrator, robot = rows[0]
        known = self._rows(_GRANTS, number)
        grants = {space: role_of(role, f"grants {name} {space}") for space, role in known}
        return KnownUser(number, name, password, bool(administrator), bool(robot), grants)

    def trusts(self, issuer: str) -> tuple[Trust, ...]:
        """By what rules tokens of that issuer are exchanged."""
        found = self._keep(("trusts", issuer), lambda: self._trusts("issuer = ?", issuer))
        return found if isinstance(found, tuple) else ()

    def trust_numbered(self, number: int) -> Trust | None:
        """As `trusts`, by its number; None when it was removed."""
        found = self._keep(("trust", str(number)), lambda: self._trusts("id = ?", number))
        return found[0] if isinstance(found, tuple) and found else None

    def _trusts(self, where: str, value: object) -> tuple[Trust, ...]:
        return tuple(map(read_trust, self._rows(_TRUSTS.format(where), value)))

    def is_public(self, repository: str) -> bool:
        """May everybody read it? The closest namespace that says so decides."""
        return bool(self._keep(("public", repository), lambda: self._closest(repository)))

    def immutable(self, repository: str) -> tuple[str, ...]:
        """Patterns of tags that stay as they are, of every namespace that covers it."""
        found = self._keep(("immutable", repository), lambda: self._patterns(repository))
        return found if isinstance(found, tuple) else ()

    def is_immutable(self, repository: str, tag: str) -> bool:
        """Does a tag stay as it is once it is set? Also by what was changed only just."""
        self.version()
        return self.is_closed and any(fnmatchcase(tag, each) for each in self.immutable(repository))

    def _closest(self, repository: str) -> object:
        return next((public for public, _ in self._said(repository) if public is not None), None)

    def _patterns(self, repository: str) -> tuple[str, ...]:
        return tuple(each for _, lines in self._said(repository) for each in lines.split())

    def _said(self, repository: str) -> list[tuple[bool | None, str]]:
        """What is said of the namespaces that cover it, the closest first."""
        said = self.namespaces()
        return [said[name] for name in namespaces_of(repository) if name in said]

    def namespaces(self) -> dict[str, tuple[bool | None, str]]:
        """Whether each is public, and the patterns of its immutable tags, one on a line."""
        found = self._keep(_NAMESPACES, self._namespaces)
        return found if isinstance(found, dict) else {}

    def _namespaces(self) -> dict[str, tuple[bool | None, str]]:
        if not self._source.has_tables():
            return {}
        rows = self._rows("SELECT name, public, immutable FROM namespaces")
        return {name: (public, immutable) for name, public, immutable in rows}

    def signing_key(self) -> bytes:
        """The secret of the token endpoint."""
        found = self._key()
        if not isinstance(found, bytes):
            raise StoreError("the registry's database has no signing key")
        return found

    def _key(self) -> object:
        return self._keep(_KEY, self._signing_key)

    def _signing_key(self) -> bytes | None:
        if not self._source.has_tables():
            return None
        rows = self._rows("SELECT value FROM settings WHERE name = 'signing_key'")
        return base64.b64decode(rows[0][0]) if rows else None

    def _must_not_wait(self) -> bool:
        return self.serving == threading.get_ident() and time.monotonic() < self._former_until

    def _keep(self, key: tuple[str, ...], read: Callable[[], object]) -> object:
        kept, changes = self._kept, self._changes
        if key in kept:
            return kept[key]
        if key in self._former and self._must_not_wait():
            return self._former[key]
        found = read()
        if changes == self._changes:  # else it may be what was before
            if len(kept) >= MOST:
                self._replace({key: kept[key] for key in _BASICS if key in kept})
                kept = self._kept
            kept[key] = found
        return found
