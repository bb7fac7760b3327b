"""The account of who asks: the password, and tokens that stand for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....grammars.management import records as r
from ....stores.accounts.model import Role
from ..access.own import OwnTokens, check_own_password, encoded_password
from .call import paged
from .people import AccountCalls, token_record

if TYPE_CHECKING:
    from ....stores.accounts.administration import Administration
    from ....stores.accounts.reading import KnownUser
    from ..state import RegistryState
    from .call import ManagementCall


class OwnCalls(AccountCalls):
    """The handlers of one registry."""

    def __init__(self, state: RegistryState) -> None:
        super().__init__(state)
        self.handlers = {
            "getAccount": self.account, "setOwnPassword": self.set_password, "listOwnTokens": self.tokens,
            "addOwnToken": self.add_token, "removeOwnToken": self.remove_token,
        }  # fmt: skip

    async def account(self, call: ManagementCall) -> object:
        """The name of who asks, and what they are."""
        who = _account(call)
        return r.AccountRecord(
            name=who.name, administrator=bool(who.administrator), has_password=bool(who.password)
        )

    async def set_password(self, call: ManagementCall) -> None:
        """Sessions of the page end; tokens stay. Raises Conflict for who has none here."""
        who = _account(call)
        new = check_own_password(who, call.body.password)
        kept = await self.state.work.run(encoded_password, new)
        await self.ask(call, lambda accounts: accounts.users.change(who.name, password=kept))

    async def tokens(self, call: ManagementCall) -> object:
        """A page of them by number."""
        own = await self.ask(call, lambda accounts: OwnTokens(accounts, _account(call)).list())
        found, following = paged(call, own, lambda one: str(one.id))
        return r.TokenPage(tokens=[token_record(each) for each in found], next=following)

    async def add_token(self, call: ManagementCall) -> object:
        """With its secret, which is told once. Raises UsageError, Conflict."""
        new = call.body

        def add(accounts: Administration) -> tuple[int, str]:
            own, role = OwnTokens(accounts, _account(call)), Role.parse(new.role)
            return own.add(new.label, role=role, namespace=new.namespace, seconds=new.seconds)

        number, secret = await self.ask(call, add)
        return r.MadeToken(id=number, secret=secret)

    async def remove_token(self, call: ManagementCall) -> None:
        """It is of no use any more. Raises NotFound."""
        number = call.parameters["token"]
        await self.ask(call, lambda accounts: OwnTokens(accounts, _account(call)).remove(number))


def _account(call: ManagementCall) -> KnownUser:
    assert call.identity
    assert call.identity.account
    return call.identity.account
