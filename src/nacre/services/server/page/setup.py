"""The first administrator, by the link that `nacre registry serve --accounts` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....stores.accounts.model import check_password
from ....words.errors import Conflict, InvalidName, NotFound, UsageError
from ..access.authentication import Failures
from ..clients import client_of
from .session import COOKIE
from .visit import Shown, sent_to

if TYPE_CHECKING:
    from ....stores.accounts.reading import Accounts, KnownUser
    from ..work import Work
    from .session import Sessions
    from .visit import Visit


class SetupViews:
    """The handlers of one registry."""

    def __init__(self, accounts: Accounts, work: Work, sessions: Sessions) -> None:
        self._accounts, self._work, self._sessions = accounts, work, sessions
        self._failures = Failures()
        self.views = {"registry/setup": self.show}
        self.forms = {"registry/setup": self.make}

    async def show(self, visit: Visit) -> Shown:
        """The form for a name and a password."""
        self._check_empty()
        return _form(visit.word("token"), "", "")

    async def make(self, visit: Visit) -> Shown:
        """Make the administrator and sign in. Raises RegistryError TOOMANYREQUESTS, NotFound."""
        self._check_empty()
        secret, name = visit.fields.get("invitation", ""), visit.fields.get("name", "").strip()
        password, address = visit.fields.get("password", ""), client_of(visit.request)
        async with self._failures.guess(address, ""):
            if password != visit.fields.get("repeated", ""):
                return _form(secret, name, "the passwords differ")
            return await self._made(secret, name, password, address)

    async def _made(self, secret: str, name: str, password: str, address: str) -> Shown:
        try:
            account = await self._work.run(self._accept, secret, name, check_password(password))
        except NotFound as error:
            self._failures.add(address, "")
            return _form("", name, error.message)
        except (InvalidName, Conflict, UsageError) as error:
            return _form(secret, name, error.message)
        return sent_to("/", (COOKIE, self._sessions.begin(account))) if account else sent_to("/-/sign-in")

    def _accept(self, secret: str, name: str, password: str) -> KnownUser | None:
        from ..access.passwords import encoded

        self._accounts.administration().invitations.accept(secret, name, encoded(password))
        return self._accounts.changed(name)

    def _check_empty(self) -> None:
        if self._accounts.is_closed:
            raise NotFound("there is no such page")


def _form(secret: str, name: str, why: str) -> Shown:
    return Shown("setup.html", {"invitation": secret, "name": name, "why": why}, 400 if why else 200)
