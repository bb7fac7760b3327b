"""The token endpoint's tokens.

A token names who it was given to and what was asked for; what they may is looked up whenever it is used, so
that whoever loses a right loses it at once. One that was given for a client certificate counts together with
that certificate alone (as RFC 8705 has it). Source: distribution, auth/jwt.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ....stores.accounts.model import Role
from .claims import RegistryClaims
from .identity import ACTIONS, CATALOG, SERVICE, Identity, stands_for

if TYPE_CHECKING:
    from ....stores.accounts.reading import Accounts
    from .identity import Scopes

LIFETIME = 300
_MOST = 16 << 10
_SKEW = 60.0
"""Seconds by which the clock of another replica may be ahead."""


class BearerTokens:
    """Signs and reads with the key that `accounts` has."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts, self._signed = accounts, RegistryClaims(accounts, SERVICE, _MOST)

    def issue(self, identity: Identity, scopes: Scopes) -> str:
        """For five minutes; of `scopes` what the identity may now."""
        access = [
            {"type": "repository", "name": name, "actions": _granted(identity, name, wanted)}
            for name, wanted in scopes.items()
            if name != CATALOG
        ]
        if CATALOG in scopes:
            kind, _, name = CATALOG.partition(":")
            access.append({"type": kind, "name": name, "actions": ["*"]})
        return self._sign(identity, min(time.time() + LIFETIME, identity.until), access=access)

    def exchanged(self, identity: Identity) -> str:
        """For as long as it is known, and all that it may: what a token of others was exchanged for."""
        return self._sign(identity, identity.until)

    def _sign(self, identity: Identity, until: float, **more: object) -> str:
        now = int(time.time())
        claims = {
            "iss": SERVICE, "sub": identity.account.name if identity.account else "", "iat": now,
            "nbf": now - 10, "token": identity.token, **more,
        }  # fmt: skip
        claims |= {"trusts": identity.trusts} if identity.trusts else {}
        claims |= {"certificate": identity.certificate} if identity.certificate else {}
        return self._signed.sign(claims, until)

    def read(self, text: str) -> Identity | None:
        """Whose it is, with its limits; None for what is forged, over, or of somebody who is gone."""
        claims = self._signed.read(text)
        try:
            return self._identity(claims) if claims and _has_begun(claims) else None
        except (ValueError, LookupError, TypeError):  # also claims of another version of nacre
            return None

    def _identity(self, claims: dict[str, Any]) -> Identity | None:
        until = float(claims["exp"])
        if "trusts" in claims:
            return self._trusted(claims, until)
        scopes = _scopes(claims)
        if claims["token"]:
            token = self._accounts.token_numbered(claims["token"])
            if token is None or 0 < token.expires < time.time() or token.account.name != claims["sub"]:
                return None
            until = min(until, token.expires or until)
            limits = (token.account, token.id, token.role, token.namespace, scopes, until)
            return Identity(self._accounts, *limits)
        account = self._accounts.account(claims["sub"]) if claims["sub"] else None
        if claims["sub"] and account is None:
            return None
        bound = str(claims.get("certificate", ""))
        return Identity(self._accounts, account, scopes=scopes, until=until, certificate=bound)

    def _trusted(self, claims: dict[str, Any], until: float) -> Identity | None:
        """By the rules as they are now."""
        found = [self._accounts.trust_numbered(int(number)) for number in claims["trusts"]]
        rules = [rule for rule in found if rule]
        whole = stands_for(self._accounts, rules, str(claims["sub"]), until) if rules else None
        return whole._replace(scopes=_scopes(claims)) if whole and "access" in claims else whole


def _has_begun(claims: dict[str, Any]) -> bool:
    """Issued here, and not to be used later only."""
    return bool(claims.get("iss") == SERVICE and claims.get("nbf", 0) <= time.time() + _SKEW)


def _scopes(claims: dict[str, Any]) -> Scopes:
    found: Scopes = {}
    for entry in claims["access"]:
        name = entry["name"] if entry["type"] == "repository" else f"{entry['type']}:{entry['name']}"
        found[name] = frozenset(ACTIONS[action] for action in entry["actions"])
    return found


def _granted(identity: Identity, name: str, wanted: frozenset[Role]) -> list[str]:
    return [action for action, role in ACTIONS.items() if role in wanted and identity.may(role, name)]
