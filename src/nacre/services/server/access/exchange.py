"""Tokens that others issue, exchanged by rule for a right of some minutes: CI without secrets.

A token is right when a rule of the operator names its issuer, that one's key has signed it by an algorithm
for public keys, it is for this registry (`aud`), its times hold, and its claims are those of the rule. It is
exchanged once; as a password it may come again, from where it came first. Sources: RFC 8725, RFC 8693, OpenID
Connect Core 1.0.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from joserfc import jwt
from joserfc.errors import JoseError

from .authentication import FOREIGN_USER, looks_foreign
from .identity import stands_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ....stores.accounts.model import Trust
    from ....stores.accounts.reading import Accounts
    from ..work import Work
    from .identity import Identity
    from .issuers import Issuers

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "Ed25519")
"""Signatures alone: with a secret (HS256) whoever knows the public key could sign."""
_SKEW = 60.0
_MOST_NAME, _MOST_SHOWN, _MOST_RULES = 200, 120, 5


class Exchange:
    """Knows the rules that `accounts` has."""

    def __init__(
        self, accounts: Accounts, issuers: Issuers, work: Work,
        note: Callable[[str], object] = lambda _line: None,
    ) -> None:  # fmt: skip
        self._accounts, self.issuers, self._work, self._note = accounts, issuers, work, note

    async def identity(self, text: str, client: str) -> Identity | None:
        """Who a token stands for, None when it is not right, and a line says why; `client` "" exchanges it,
        for once and all.

        Raises NacreError when its issuer cannot be asked.
        """
        claims = await self.verified(text, self._is_trusted)
        found = await self._exchanged(text, client, claims) if claims else None
        if found is None and (said := claims or _part(text, 1)):
            why = why_not(said, self._rules(said), is_verified=claims is not None)
            self._note(f"a token of {_shown(said.get('iss'))} was refused: {why}")
        return found

    async def _exchanged(self, text: str, client: str, claims: dict[str, Any]) -> Identity | None:
        rules = [rule for rule in self._rules(claims) if _fits(rule, claims)]
        if not rules:
            return None
        now = time.time()
        until = now + min(rule.seconds for rule in rules)
        spend = self._accounts.administration().trusts.spend
        until = await self._work.run(spend, _mark(claims, text), client, until, float(claims["exp"]) + _SKEW)
        return stands_for(self._accounts, rules, name_of(claims), until) if until > now else None

    def _is_trusted(self, issuer: str) -> bool:
        return bool(self._accounts.trusts(issuer))

    def _rules(self, claims: dict[str, Any]) -> Sequence[Trust]:
        return self._accounts.trusts(str(claims.get("iss")))

    async def verified(self, text: str, is_known: Callable[[str], bool]) -> dict[str, Any] | None:
        """The claims of a token of an issuer that `is_known`, unless it is forged or has not begun.

        Whether it has ended (it says when), and whom it is for, is left to the caller.
        """
        header, said = _part(text, 0), _part(text, 1)
        issuer, name = said.get("iss"), header.get("kid", "")
        if not isinstance(issuer, str) or not isinstance(name, str) or not is_known(issuer):
            return None
        if header.get("alg") not in ALGORITHMS or "crit" in header:
            return None
        key = await self.issuers.key(issuer, name)
        if key is None:
            return None
        try:
            claims = await self._work.run(lambda: jwt.decode(text, key, algorithms=list(ALGORITHMS)).claims)
        except (JoseError, ValueError, TypeError):
            return None
        return claims if _has_begun(claims) else None


def name_of(claims: dict[str, Any]) -> str:
    """What the log calls the bearer of a token; no account can have such a name."""
    text = "".join(char if char.isprintable() else "?" for char in str(claims.get("sub", "")))
    return f"{FOREIGN_USER}:{text[:_MOST_NAME]}"


def why_not(said: dict[str, Any], rules: Sequence[Trust], *, is_verified: bool) -> str:
    """Why a token was refused, in a line for the operator: a job is told nothing about the rules."""
    now, ends = time.time(), said.get("exp")
    if not rules:
        return "no rule is for this issuer"
    if isinstance(ends, int | float) and _is_number(ends) and ends <= now - _SKEW:
        return f"it ended {now - ends:.0f} seconds ago"
    if not is_verified:
        return "it has no signature of its issuer, no end, or has not begun yet"
    wants = [f"rule {rule.id} wants {want}" for rule in rules[:_MOST_RULES] if (want := _wanted(rule, said))]
    return "; ".join(wants) if len(wants) == len(rules[:_MOST_RULES]) else "it was used before, or has ended"


def _wanted(rule: Trust, said: dict[str, Any]) -> str:
    """The first that a rule wants otherwise."""
    if not _is_for(rule, said):
        return f"aud {rule.audience!r}, not {_shown(said.get('aud'))}"
    wrong = ((name, each) for name, each in rule.claims.items() if not _matches(said.get(name), each))
    return next((f"{name} {each!r}, not {_shown(said.get(name))}" for name, each in wrong), "")


def _shown(value: object) -> str:
    return repr(value)[:_MOST_SHOWN]


def _part(text: str, number: int) -> dict[str, Any]:
    """Header or claims, before anything is verified; {} of what cannot be read."""
    parts = text.split(".") if looks_foreign(text) else []
    try:
        data = base64.urlsafe_b64decode(parts[number] + "==") if len(parts) == 3 else b"{}"
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _has_begun(claims: dict[str, Any]) -> bool:
    now = time.time()
    times = [claims.get(name, now) for name in ("nbf", "iat")]
    numbers = all(_is_number(value) for value in (*times, claims.get("exp")))
    return numbers and all(value <= now + _SKEW for value in times) and isinstance(claims.get("sub"), str)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12


def _fits(rule: Trust, claims: dict[str, Any]) -> bool:
    """For whom it is, and whose."""
    return _is_for(rule, claims) and all(
        _matches(claims.get(name), pattern) for name, pattern in rule.claims.items()
    )


def _is_for(rule: Trust, claims: dict[str, Any]) -> bool:
    audience = claims.get("aud")
    return rule.audience in (audience if isinstance(audience, list) else [audience])


def _matches(value: object, pattern: str) -> bool:
    """One of several is enough; what is neither text nor number nor boolean never matches."""
    if isinstance(value, list):
        return any(_matches(each, pattern) for each in value if not isinstance(each, list))
    if isinstance(value, bool):
        return pattern == str(value).lower()
    return isinstance(value, str | int) and fnmatchcase(str(value), pattern)


def _mark(claims: dict[str, Any], text: str) -> str:
    """What a token is known by: its `jti`, without one the whole."""
    kind, value = ("jti", str(claims["jti"])) if claims.get("jti") else ("token", text)
    return hashlib.sha256(json.dumps([kind, claims["iss"], value]).encode()).hexdigest()
