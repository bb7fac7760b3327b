"""Users, teams, tokens, and trust in tokens of others."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec import UNSET

from ....grammars.management import records as r
from ....stores.accounts.model import Role, Trust
from ....words.errors import NotFound
from ..access.own import encoded_password
from .call import paged

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from ....stores.accounts.administration import Administration
    from ....stores.accounts.model import AccessToken, RegistryUser, Team
    from ..state import RegistryState
    from .call import Handler, ManagementCall

    T = TypeVar("T")


class AccountCalls:
    """Asks and changes the accounts of a registry, in a thread and in the name of who asks."""

    def __init__(self, state: RegistryState) -> None:
        self.state = state
        self.handlers: dict[str, Handler] = {}

    async def ask(self, call: ManagementCall, function: Callable[[Administration], T]) -> T:
        """What `function` gives. Raises what it raises."""
        return await self.state.administer(call.user, function)


class PeopleCalls(AccountCalls):
    """The handlers of one registry."""

    def __init__(self, state: RegistryState) -> None:
        super().__init__(state)
        self.handlers = {
            "listUsers": self.users, "addUser": self.add_user, "getUser": self.user,
            "updateUser": self.update_user, "removeUser": self.remove_user,
            "listTeams": self.teams, "addTeam": self.add_team, "getTeam": self.team,
            "removeTeam": self.remove_team, "joinTeam": self.join, "leaveTeam": self.leave,
            "listTokens": self.tokens, "addToken": self.add_token, "removeToken": self.remove_token,
            "listTrusts": self.trusts, "addTrust": self.add_trust, "removeTrust": self.remove_trust,
        }  # fmt: skip

    async def users(self, call: ManagementCall) -> object:
        """A page of them by name."""
        found, following = paged(call, await self.ask(call, lambda a: a.users.list()), lambda one: one.name)
        return r.UserPage(users=[_user(each) for each in found], next=following)

    async def add_user(self, call: ManagementCall) -> object:
        """With a password, or as a robot. Raises UsageError, Conflict."""
        new = call.body

        def add(accounts: Administration) -> r.UserRecord:
            how = {"administrator": new.administrator, "robot": new.robot}
            accounts.users.add(new.name, _encoded(new.password), **how)
            return _user_of(accounts, new.name)

        return await self.ask(call, add)

    async def user(self, call: ManagementCall) -> object:
        """What is known of one. Raises NotFound."""
        return await self.ask(call, lambda accounts: _user_of(accounts, call.parameters["user"]))

    async def update_user(self, call: ManagementCall) -> object:
        """Change what is there. Raises NotFound, Conflict."""
        name, change = call.parameters["user"], call.body

        def update(accounts: Administration) -> r.UserRecord:
            password = None if change.password is UNSET else _encoded(change.password)
            how = {"administrator": _said(change.administrator), "disabled": _said(change.disabled)}
            accounts.users.change(name, password=password, **how)
            return _user_of(accounts, name)

        return await self.ask(call, update)

    async def remove_user(self, call: ManagementCall) -> None:
        """With tokens and rights. Raises NotFound, Conflict."""
        await self.ask(call, lambda accounts: accounts.users.remove(call.parameters["user"]))

    async def teams(self, call: ManagementCall) -> object:
        """A page of them by name."""
        found, following = paged(call, await self.ask(call, lambda a: a.teams.list()), lambda one: one.name)
        return r.TeamPage(teams=[_team(each) for each in found], next=following)

    async def add_team(self, call: ManagementCall) -> object:
        """One without members. Raises Conflict."""
        await self.ask(call, lambda accounts: accounts.teams.add(call.body.name))
        return r.TeamRecord(name=call.body.name, members=[])

    async def team(self, call: ManagementCall) -> object:
        """Its members. Raises NotFound."""
        return await self.ask(call, lambda accounts: _team_of(accounts, call.parameters["team"]))

    async def remove_team(self, call: ManagementCall) -> None:
        """With its rights. Raises NotFound."""
        await self.ask(call, lambda accounts: accounts.teams.remove(call.parameters["team"]))

    async def join(self, call: ManagementCall) -> object:
        """Make users members. Raises NotFound."""
        name = call.parameters["team"]

        def join(accounts: Administration) -> r.TeamRecord:
            accounts.teams.join(name, call.body.users)
            return _team_of(accounts, name)

        return await self.ask(call, join)

    async def leave(self, call: ManagementCall) -> object:
        """Let members go. Raises NotFound."""
        name = call.parameters["team"]

        def leave(accounts: Administration) -> r.TeamRecord:
            accounts.teams.leave(name, call.body.users)
            return _team_of(accounts, name)

        return await self.ask(call, leave)

    async def tokens(self, call: ManagementCall) -> object:
        """A page of them by number."""
        all_of_them = await self.ask(call, lambda accounts: accounts.tokens.list())
        found, following = paged(call, all_of_them, lambda one: str(one.id))
        return r.TokenPage(tokens=[token_record(each) for each in found], next=following)

    async def add_token(self, call: ManagementCall) -> object:
        """With its secret, which is told once. Raises NotFound."""
        new = call.body

        def add(accounts: Administration) -> tuple[int, str]:
            limits = {"role": Role.parse(new.role), "namespace": new.namespace, "seconds": new.seconds}
            return accounts.tokens.add(new.user, new.label, **limits)

        number, secret = await self.ask(call, add)
        return r.MadeToken(id=number, secret=secret)

    async def remove_token(self, call: ManagementCall) -> None:
        """It is of no use any more. Raises NotFound."""
        await self.ask(call, lambda accounts: accounts.tokens.remove(call.parameters["token"]))

    async def trusts(self, call: ManagementCall) -> object:
        """A page of them by number."""
        all_of_them = await self.ask(call, lambda accounts: accounts.trusts.list())
        found, following = paged(call, all_of_them, lambda one: str(one.id))
        return r.TrustPage(trusts=[_trust(each) for each in found], next=following)

    async def add_trust(self, call: ManagementCall) -> object:
        """A rule more. Raises UsageError."""
        new = call.body
        limits = (new.namespace, Role.parse(new.role), new.seconds)
        rule = Trust(0, new.issuer, new.audience, new.claims, *limits)
        return r.MadeTrust(id=await self.ask(call, lambda accounts: accounts.trusts.add(rule)))

    async def remove_trust(self, call: ManagementCall) -> None:
        """With what was given by it. Raises NotFound."""
        await self.ask(call, lambda accounts: accounts.trusts.remove(call.parameters["trust"]))


def moment(seconds: float) -> datetime:
    """Of seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def _said(value: object) -> bool | None:
    """None for what was not said."""
    return value if isinstance(value, bool) else None


def _encoded(password: object) -> str:
    """As it is kept, "" for none."""
    return encoded_password(password) if isinstance(password, str) else ""


def _user_of(accounts: Administration, name: str) -> r.UserRecord:
    found = next((each for each in accounts.users.list() if each.name == name), None)
    if found is None:
        raise NotFound(f"no such user: {name}")
    return _user(found)


def _team_of(accounts: Administration, name: str) -> r.TeamRecord:
    found = next((each for each in accounts.teams.list() if each.name == name), None)
    if found is None:
        raise NotFound(f"no such team: {name}")
    return _team(found)


def _user(one: RegistryUser) -> r.UserRecord:
    return r.UserRecord(
        id=one.id, name=one.name, administrator=bool(one.administrator), robot=bool(one.robot),
        disabled=bool(one.disabled), created=moment(one.created),
    )  # fmt: skip


def _team(one: Team) -> r.TeamRecord:
    return r.TeamRecord(name=one.name, members=list(one.members))


def token_record(one: AccessToken) -> r.TokenRecord:
    """What is told of a token."""
    return r.TokenRecord(
        id=one.id, user=one.user, label=one.label, role=role_name(one.role), namespace=one.namespace,
        created=moment(one.created), expires=moment(one.expires) if one.expires else None,
    )  # fmt: skip


def _trust(one: Trust) -> r.TrustRecord:
    return r.TrustRecord(
        id=one.id, issuer=one.issuer, audience=one.audience, claims=one.claims, namespace=one.namespace,
        role=role_name(one.role), seconds=one.seconds, created=moment(one.created),
    )  # fmt: skip


def role_name(role: Role) -> r.RoleName:
    """The word for a role."""
    return str(role)  # type: ignore[return-value]
