"""What the server asks of the accounts at each request: plain statements, without SQLAlchemy.

Answers are kept until accounts change. That the database has changed SQLite tells in 5 µs (PRAGMA
data_version); whether it was by a push or by the administration a count says.
"""

from __future__ import annotations

import base64
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from ...words.errors import StoreError
from .model import Role, namespaces_of, read_trust

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .administration import Administration
    from .model import Trust

_MOST = 4096
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
    """Reads the accounts in the registry's database `path`, from any thread. Close it. Raises StoreError."""

    def __init__(self, path: str) -> None:
        self._lock, self._version, self._changes = threading.Lock(), -1, ""
        self._kept: dict[tuple[str, ...], object] = {}
        self._path, self._opening = path, threading.Lock()
        self._administration: Administration | None = None
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            if self._has_tables() and self._rows("SELECT version_num FROM alembic_version") != [(NEWEST,)]:
                self.administration()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Nothing may be called afterwards."""
        with self._lock:
            self._db.close()
        if self._administration:
            self._administration.close()

    def administration(self) -> Administration:
        """For what the registry itself has to write; from any thread. Raises Unsupported, StoreError."""
        with self._opening:
            if self._administration is None:
                from .administration import Administration

                self._administration = Administration(self._path, "")
            return self._administration

    def version(self) -> str:
        """Another text whenever somebody has changed accounts; "" where there are none."""
        ((number,),) = self._rows("PRAGMA data_version")
        if number != self._version:
            self._version, before = number, self._changes
            self._changes = self._count() if self._has_tables() else ""
            if self._changes != before:
                self._kept.clear()
        return self._changes

    def _count(self) -> str:
        rows = self._rows("SELECT value FROM settings WHERE name = 'changes'")
        return str(rows[0][0]) if rows else ""

    def _has_tables(self) -> bool:
        return bool(self._rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'users'"))

    @property
    def is_closed(self) -> bool:
        """Is there anybody who may log in? Otherwise the registry is open to all."""
        return bool(self._keep(("closed",), self._closed))

    def _closed(self) -> bool:
        return self._has_tables() and bool(self._rows("SELECT 1 FROM users LIMIT 1"))

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
        return KnownToken(number, account, Role(role), namespace, expires)

    def _account(self, where: str, value: object) -> KnownUser | None:
        rows = self._rows(_USER.format(where), value)
        if not rows:
            return None
        number, name, password, administrator, robot = rows[0]
        grants = {space: Role(role) for space, role in self._rows(_GRANTS, number)}
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

    def _closest(self, repository: str) -> object:
        said = self._said(repository, "public")
        return next((said[name] for name in namespaces_of(repository) if said.get(name) is not None), None)

    def _patterns(self, repository: str) -> tuple[str, ...]:
        return tuple(each for lines in self._said(repository, "immutable").values() for each in lines.split())

    def _said(self, repository: str, column: str) -> dict[str, Any]:
        names = namespaces_of(repository)
        marks = ",".join("?" * len(names))
        rows = self._rows(f"SELECT name, {column} FROM namespaces WHERE name IN ({marks})", *names)
        return dict(rows)

    def signing_key(self) -> bytes:
        """The secret of the token endpoint."""
        rows = self._rows("SELECT value FROM settings WHERE name = 'signing_key'")
        if not rows:
            raise StoreError("the registry's database has no signing key")
        return base64.b64decode(rows[0][0])

    def _keep(self, key: tuple[str, ...], read: Callable[[], object]) -> object:
        if key not in self._kept:
            if len(self._kept) >= _MOST:
                self._kept.clear()
            self._kept[key] = read()
        return self._kept[key]

    def _rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            with self._lock, closing(self._db.execute(sql, values)) as cursor:
                return cursor.fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"registry database: {error}") from error
