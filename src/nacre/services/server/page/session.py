"""Sessions of people who signed in with a name and a password."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from ..access.claims import RegistryClaims
from ..access.identity import SERVICE, Identity

if TYPE_CHECKING:
    from ....stores.accounts.reading import Accounts, KnownUser

COOKIE = "nacre-session"
LIFETIME = 12 * 3600


class Sessions:
    """Makes and reads the cookies of a registry's sessions."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts, self._signed = accounts, RegistryClaims(accounts, f"{SERVICE} page")

    def begin(self, account: KnownUser) -> str:
        """The cookie of a new session, for twelve hours."""
        claims = {"sub": account.name, "password": _fingerprint(account)}
        return self._signed.sign(claims, time.time() + LIFETIME)

    def identity(self, cookie: str) -> Identity | None:
        """Whose session it is; None for none, or one that is over."""
        claims = self._signed.read(cookie)
        account = self._accounts.account(claims["sub"]) if claims else None
        if claims is None or account is None or claims["password"] != _fingerprint(account):
            return None
        return Identity(self._accounts, account, until=float(claims["exp"]))


def _fingerprint(account: KnownUser) -> str:
    """Of what is kept of the password: a session ends when that changes."""
    return hashlib.sha256(account.password.encode()).hexdigest()[:16]
