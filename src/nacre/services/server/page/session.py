"""Sessions of people who signed in with a name and a password."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

from ..access.identity import SERVICE, Identity

if TYPE_CHECKING:
    from ....stores.accounts.reading import Accounts, KnownUser
    from ..access import Authorization

COOKIE = "nacre-session"
LIFETIME = 12 * 3600
_AUDIENCE = f"{SERVICE} page"
_ALGORITHM = "HS256"


class Sessions:
    """Makes and reads the cookies of a registry's sessions."""

    def __init__(self, authorization: Authorization, accounts: Accounts) -> None:
        self._authorization, self._accounts = authorization, accounts

    def begin(self, account: KnownUser) -> str:
        """The cookie of a new session, for twelve hours."""
        from joserfc import jwt
        from joserfc.jwk import OctKey

        claims = {
            "aud": _AUDIENCE, "sub": account.name, "exp": int(time.time()) + LIFETIME,
            "password": _fingerprint(account),
        }  # fmt: skip
        key = OctKey.import_key(self._accounts.signing_key())
        return jwt.encode({"alg": _ALGORITHM, "typ": "JWT"}, claims, key)

    def identity(self, cookie: str) -> Identity | None:
        """Whose session it is; None for none, or one that is over."""
        if not cookie or len(cookie) > 4096:
            return None
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import OctKey

        try:
            key = OctKey.import_key(self._accounts.signing_key())
            return self._identity(jwt.decode(cookie, key, algorithms=[_ALGORITHM]).claims)
        except (JoseError, ValueError, LookupError, TypeError):
            return None

    def _identity(self, claims: dict[str, Any]) -> Identity | None:
        account = self._accounts.account(str(claims["sub"]))
        until = float(claims["exp"])
        if account is None or claims["aud"] != _AUDIENCE or until < time.time():
            return None
        right = claims["password"] == _fingerprint(account)
        return Identity(self._accounts, account, until=until) if right else None


def _fingerprint(account: KnownUser) -> str:
    """Of what is kept of the password: a session ends when that changes."""
    return hashlib.sha256(account.password.encode()).hexdigest()[:16]
