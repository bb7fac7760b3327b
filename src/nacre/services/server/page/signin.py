"""Signing in with a name and a password, and out again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....words.errors import NotFound
from ..clients import client_of
from .location import link
from .session import COOKIE
from .visit import Shown, sent_to

if TYPE_CHECKING:
    from ..access import Authorization
    from .session import Sessions
    from .visit import Visit


class SignInViews:
    """The handlers of one registry."""

    def __init__(self, authorization: Authorization, sessions: Sessions) -> None:
        self._authorization, self._sessions = authorization, sessions
        self.views = {"registry/sign-in": self.show}
        self.forms = {"registry/sign-in": self.sign_in, "registry/sign-out": self.sign_out}

    async def show(self, visit: Visit) -> Shown:
        """The form for name and password."""
        if visit.is_open:
            raise NotFound("nobody has to sign in here: this registry has no accounts")
        return Shown("signin.html", self._values("", "", visit.word("to") or "/"))

    def _values(self, why: str, name: str, to: str) -> dict[str, str]:
        rules = self._authorization.rules.oidc
        other = rules.title if rules.issuer else ""
        return {"why": why, "name": name, "to": to, "other": other, "begin": link("oidc", to=to)}

    async def sign_in(self, visit: Visit) -> Shown:
        """Take the form; too many failures are refused as those of other clients are."""
        if visit.is_open:
            return sent_to("/")
        name, secret = visit.fields.get("name", "").strip(), visit.fields.get("password", "")
        found = await self._authorization.authentication.check(name, secret, client_of(visit.request))
        to = visit.fields.get("to", "/")
        if found is None or found.account is None or found.token:
            why = (
                "A token does not sign in here, only a password." if found else "Name or password are wrong."
            )
            return Shown("signin.html", self._values(why, name, to), 401)
        return sent_to(to, (COOKIE, self._sessions.begin(found.account)))

    async def sign_out(self, visit: Visit) -> Shown:
        """Remove the cookie of the session."""
        return sent_to("/", (COOKIE, ""))
