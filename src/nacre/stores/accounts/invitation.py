"""The first administrator of a registry, who is invited by a secret that is shown once."""

from __future__ import annotations

import hashlib
import secrets
import time

from sqlalchemy import delete, insert, select

from ...words.errors import Conflict, NotFound
from .schema import SETTINGS, USERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .administration import ChangeTransaction, Users

_PREFIX = "invitation "


class Invitations:
    """Secrets that make an administrator while there is no user. Only their SHA-256 is kept."""

    def __init__(self, change: ChangeTransaction, users: Users) -> None:
        self._change, self._users = change, users

    def issue(self, seconds: float) -> str:
        """A new one; "" when there are users already. Those of before stay good: they are other replicas'."""
        secret, now = secrets.token_urlsafe(32), time.time()
        with self._change() as connection:
            if connection.execute(select(USERS.c.id).limit(1)).first():
                return ""
            _forget(connection, now)
            name = _PREFIX + hashlib.sha256(secret.encode()).hexdigest()
            connection.execute(insert(SETTINGS).values(name=name, value=str(now + seconds)))
            self._users.prepare(connection)
        return secret

    def accept(self, secret: str, name: str, password: str) -> None:
        """The first administrator, with the `password` as argon2 writes it; all invitations end.

        Raises NotFound for a secret that is not good, or no more; InvalidName, Conflict.
        """
        wanted = _PREFIX + hashlib.sha256(secret.encode()).hexdigest()
        with self._change("user add", name) as connection:
            row = connection.execute(select(SETTINGS.c.value).where(SETTINGS.c.name == wanted)).first()
            if row is None or float(row[0]) < time.time():
                raise NotFound("this invitation is not valid, or not any more")
            if connection.execute(select(USERS.c.id).limit(1)).first():
                raise Conflict("there is an administrator already")
            _forget(connection)
            self._users.insert(connection, name, password, administrator=True)


def _forget(connection: Connection, before: float = float("inf")) -> None:
    """Those that ended before then."""
    rows = connection.execute(select(SETTINGS.c.name, SETTINGS.c.value))
    gone = [name for name, value in rows if name.startswith(_PREFIX) and float(value) < before]
    connection.execute(delete(SETTINGS).where(SETTINGS.c.name.in_(gone)))
