"""Signing in by OpenID Connect: the code flow with PKCE, state and nonce.

    /-/oidc      ─► the issuer, with a cookie that has what must come back
    /-/callback  ◄─ with a code, which the registry exchanges for a token that says who it is

The cookie is signed and ends after ten minutes. The code is bound to the browser that began, the token to
this sign-in. Sources: OpenID Connect Core 1.0; RFC 7636, RFC 9207, RFC 9700.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ....words.errors import Conflict, ContentError, InvalidName, RegistryError
from ..access.authorization import base_of
from ..access.claims import RegistryClaims
from ..access.external import admitted, external
from ..access.identity import SERVICE
from ..access.issuers import endpoint_of
from ..clients import client_of
from .location import link
from .session import COOKIE
from .visit import Shown, sent_to

if TYPE_CHECKING:
    from ....stores.accounts.reading import KnownUser
    from ..access import Authorization
    from ..state import RegistryState
    from .session import Sessions
    from .visit import Visit

FLOW = "nacre-oidc"
_LIFETIME = 600
_SKEW = 60.0
_MOST_GROUPS = 1000


class OidcViews:
    """The handlers of one registry."""

    def __init__(self, authorization: Authorization, state: RegistryState, sessions: Sessions) -> None:
        self._authorization, self._state, self._sessions = authorization, state, sessions
        self._rules, self._accounts = authorization.rules.oidc, state.store.accounts
        self._flows = RegistryClaims(self._accounts, f"{SERVICE} oidc")
        views = {"registry/oidc": self.begin, "registry/callback": self.end}
        self.views = views if self._rules.issuer else {}
        self.forms: dict[str, Any] = {}

    async def begin(self, visit: Visit) -> Shown:
        """Send the browser to the issuer."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        flow = {"state": state, "nonce": nonce, "verifier": verifier, "to": visit.word("to") or "/"}
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        asked = {
            "response_type": "code", "client_id": self._rules.client, "redirect_uri": self._callback(visit),
            "scope": " ".join(self._rules.scopes), "state": state, "nonce": nonce,
            "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        try:
            found = await self._authorization.exchange.issuers.find(self._rules.issuer)
            url = endpoint_of(self._rules.issuer, found.document, "authorization_endpoint")
        except (RegistryError, ContentError) as error:
            return _failed(f"Who signs people in here cannot be asked: {error.message}.", 503)
        joint = "&" if "?" in url else "?"
        cookie = self._flows.sign(flow, time.time() + _LIFETIME)
        return Shown("", {}, goto=f"{url}{joint}{urlencode(asked)}", cookies=((FLOW, cookie),))

    async def end(self, visit: Visit) -> Shown:
        """Take what the issuer sent the browser back with."""
        flow = self._flows.read(visit.request.cookies.get(FLOW, ""))
        if not flow or not hmac.compare_digest(visit.word("state").encode(), str(flow["state"]).encode()):
            return _failed("This sign-in was not begun here, or took too long: begin it again.")
        if visit.word("iss") not in ("", self._rules.issuer) or not visit.query.get("code"):
            return _failed("The issuer did not let you in.", 403)
        try:
            claims = await self._claims(visit, flow)
            account = await self._state.work.run(self._admit, claims) if claims else None
        except (RegistryError, ContentError, Conflict, InvalidName) as error:
            return _failed(f"You cannot be signed in: {error.message}.", 403)
        name = account.name if account else str((claims or {}).get("sub", ""))
        self._state.journal.login(name, client_of(visit.request), "oidc", refused=account is None)
        if account is None:
            return _failed("The issuer says nothing about you that holds here.", 403)
        return sent_to(str(flow["to"]), (COOKIE, self._sessions.begin(account)), (FLOW, ""))

    async def _claims(self, visit: Visit, flow: dict[str, Any]) -> dict[str, Any] | None:
        """Of the token that the code is exchanged for; None unless it is ours, of this sign-in, not over."""
        form = {
            "grant_type": "authorization_code", "code": visit.query.get("code", ""),
            "redirect_uri": self._callback(visit), "client_id": self._rules.client,
            "code_verifier": str(flow["verifier"]),
        }  # fmt: skip
        form |= {"client_secret": self._rules.secret} if self._rules.secret else {}
        exchange, issuer = self._authorization.exchange, self._rules.issuer
        answer = await exchange.issuers.post(issuer, "token_endpoint", form)
        claims = await exchange.verified(str(answer.get("id_token", "")), issuer.__eq__)
        return claims if claims and self._is_ours(claims, str(flow["nonce"])) else None

    def _is_ours(self, claims: dict[str, Any], nonce: str) -> bool:
        audience = claims.get("aud")
        several = audience if isinstance(audience, list) else [audience]
        party = claims.get("azp", self._rules.client if len(several) == 1 else None)
        fresh = claims["exp"] + _SKEW > time.time()
        bound = hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode())
        return bool(fresh and bound and self._rules.client in several and party == self._rules.client)

    def _admit(self, claims: dict[str, Any]) -> KnownUser | None:
        said = claims.get(self._rules.groups)
        groups = {str(each) for each in said[:_MOST_GROUPS]} if isinstance(said, list) else set()
        name = str(claims.get(self._rules.name, "")).lower().partition("@")[0]
        user = external(self._rules, claims["sub"], name, groups)
        return admitted(self._accounts, self._state.catalog, user)

    def _callback(self, visit: Visit) -> str:
        return (self._authorization.rules.url.rstrip("/") or base_of(visit.request)) + link("callback")


def _failed(why: str, status: int = 400) -> Shown:
    return Shown("failure.html", {"status": status, "why": why, "hint": ""}, status)
