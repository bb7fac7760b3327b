"""What a registry signs for itself and reads again: its tokens, and the cookies of its page.

JSON Web Tokens with the registry's own key, by HS256 alone, so that every replica knows them. Each kind has
its own audience: none is taken for another. Sources: RFC 7519, RFC 8725.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ....stores.accounts.reading import Accounts

_ALGORITHM = "HS256"


class RegistryClaims:
    """Of the kind `audience`, at most `most` characters long, by the key that `accounts` has."""

    def __init__(self, accounts: Accounts, audience: str, most: int = 4096) -> None:
        self._accounts, self._audience, self._most = accounts, audience, most

    def sign(self, claims: Mapping[str, Any], until: float) -> str:
        """A text that stands for the claims until then."""
        whole = {**claims, "aud": self._audience, "exp": int(until)}
        return jwt.encode({"alg": _ALGORITHM, "typ": "JWT"}, whole, self._key())

    def read(self, text: str) -> dict[str, Any] | None:
        """The claims; None for what is forged, of another kind, or over."""
        if not text or len(text) > self._most:
            return None
        try:
            claims = jwt.decode(text, self._key(), algorithms=[_ALGORITHM]).claims
            good = claims["aud"] == self._audience and time.time() < float(claims["exp"])
        except (JoseError, ValueError, LookupError, TypeError):
            return None
        return claims if good else None

    def _key(self) -> OctKey:
        return OctKey.import_key(self._accounts.signing_key())
