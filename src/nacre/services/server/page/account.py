"""What people change of their own account on the page: the password, and tokens that stand for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ....stores.accounts.model import LEAST_PASSWORD, Role
from ....words.errors import Conflict, NotFound, UsageError
from ..access.own import DAY, OwnTokens, check_own_password, encoded_password, is_oneself
from ..clients import client_of
from .location import link
from .session import COOKIE
from .visit import Shown, sent_to

if TYPE_CHECKING:
    from ....stores.accounts.administration import Administration
    from ....stores.accounts.reading import KnownUser
    from ..access import Authorization
    from ..state import RegistryState
    from .session import Sessions
    from .visit import Visit

_ROLES = ("read", "write", "delete", "admin")
_LASTING = {"7": "a week", "30": "30 days", "90": "90 days"}
_FOR_LONG = {"365": "a year", "0": "until it is removed"}
"""Only for who has a password here."""


class AccountViews:
    """The handlers of one registry."""

    def __init__(self, state: RegistryState, authorization: Authorization, sessions: Sessions) -> None:
        self._state, self._authorization, self._sessions = state, authorization, sessions
        self.views = {"registry/account": self.show}
        self.forms = {"registry/account": self.change}
        self._acts = {"password": self._set_password, "add": self._add_token, "remove": self._remove_token}

    async def show(self, visit: Visit) -> Shown:
        """The forms, and the tokens that there are. Who has not signed in is sent to do so."""
        if not visit.is_open and not visit.user:
            return sent_to(link("sign-in", to=link("account")))
        return await self._shown(visit, _themselves(visit))

    async def _shown(self, visit: Visit, account: KnownUser, why: str = "", secret: str = "") -> Shown:
        tokens = await self._state.administer(
            visit.user, lambda accounts: OwnTokens(accounts, account).list()
        )
        values: dict[str, Any] = {
            "tokens": tokens, "roles": _ROLES, "lasting": _lasting(account), "why": why, "secret": secret,
            "has_password": bool(account.password), "least": LEAST_PASSWORD,
        }  # fmt: skip
        return Shown("account.html", values, 400 if why else 200, is_secret=bool(secret))

    async def change(self, visit: Visit) -> Shown:
        """Do what a form says; what is wrong with it stands on the page."""
        account, act = _themselves(visit), self._acts.get(visit.fields.get("do", ""))
        if act is None:
            raise UsageError("there is no such form")
        try:
            return await act(visit, account)
        except (UsageError, NotFound, Conflict) as error:
            return await self._shown(visit, account, error.message)

    async def _set_password(self, visit: Visit, account: KnownUser) -> Shown:
        fields, address = visit.fields, client_of(visit.request)
        new = check_own_password(account, fields.get("new", ""))
        if new != fields.get("again", ""):
            raise UsageError("the new passwords differ")
        found = await self._authorization.authentication.check(
            account.name, fields.get("current", ""), address
        )
        if found is None or found.token:
            raise UsageError("the current password is wrong")
        kept = await self._state.work.run(encoded_password, new)
        await self._state.administer(visit.user, lambda a: a.users.change(account.name, password=kept))
        return sent_to(link("account"), (COOKIE, self._sessions.begin(account._replace(password=kept))))

    async def _add_token(self, visit: Visit, account: KnownUser) -> Shown:
        fields = visit.fields
        days = fields.get("days", "")
        if days not in _lasting(account):
            raise UsageError("how long is the token to last?")
        role, namespace = Role.parse(fields.get("role", "")), fields.get("namespace", "").strip() or "*"
        label, seconds = fields.get("label", "").strip()[:255], int(days) * DAY

        def add(accounts: Administration) -> str:
            own = OwnTokens(accounts, account)
            return own.add(label, role=role, namespace=namespace, seconds=seconds)[1]

        secret = await self._state.administer(visit.user, add)
        return await self._shown(visit, account, secret=secret)

    async def _remove_token(self, visit: Visit, account: KnownUser) -> Shown:
        number = visit.fields.get("id", "")
        wanted = int(number) if number.isascii() and number.isdigit() and len(number) < 18 else -1
        await self._state.administer(visit.user, lambda a: OwnTokens(a, account).remove(wanted))
        return sent_to(link("account"))


def _themselves(visit: Visit) -> KnownUser:
    """Who signed in themselves. Raises NotFound."""
    identity = visit.identity
    if identity is None:
        raise NotFound("this registry has no accounts: everybody may do everything")
    if identity.account is None or not is_oneself(identity):
        raise NotFound("only who signed in with a password has an account to change")
    return identity.account


def _lasting(account: KnownUser) -> dict[str, str]:
    return _LASTING | (_FOR_LONG if account.password else {})
