"""Who may do what where: grants, and what was said of namespaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from ....grammars.management import records as r
from ....stores.accounts.model import Namespace, Role, namespaces_of
from .call import paged
from .people import AccountCalls, role_name

if TYPE_CHECKING:
    from ....stores.accounts.administration import Administration
    from ....stores.accounts.model import Grant
    from ..state import RegistryState
    from .call import ManagementCall


class RightsCalls(AccountCalls):
    """The handlers of one registry."""

    def __init__(self, state: RegistryState) -> None:
        super().__init__(state)
        self.handlers = {
            "listGrants": self.grants, "listNamespaces": self.namespaces, "getNamespace": self.namespace,
            "updateNamespace": self.update_namespace, "setQuota": self.set_quota,
            "listMembers": self.members, "grantUser": self.grant, "revokeUser": self.revoke,
            "grantTeam": self.grant, "revokeTeam": self.revoke,
        }  # fmt: skip

    async def grants(self, call: ManagementCall) -> object:
        """A page of all of them."""
        return _page(call, await self.ask(call, lambda accounts: accounts.rights.grants()))

    async def members(self, call: ManagementCall) -> object:
        """Those that hold in a namespace: its own, and those of the namespaces that it is part of."""
        holding = namespaces_of(call.parameters["namespace"])
        found = await self.ask(call, lambda accounts: accounts.rights.grants())
        return _page(call, [each for each in found if each.namespace in holding])

    async def grant(self, call: ManagementCall) -> object:
        """In place of the role that they have there. Raises NotFound."""
        namespace, role, owner = call.parameters["namespace"], Role.parse(call.body.role), _owner(call)
        await self.ask(call, lambda accounts: accounts.rights.grant(namespace, role, **owner))
        return r.GrantRecord(namespace=namespace, role=role_name(role), **owner)

    async def revoke(self, call: ManagementCall) -> None:
        """Take a role back. Raises NotFound."""
        owner = _owner(call)
        await self.ask(call, lambda accounts: accounts.rights.revoke(call.parameters["namespace"], **owner))

    async def namespaces(self, call: ManagementCall) -> object:
        """A page of those that something was said of."""
        found, following = paged(call, await self.ask(call, self._namespaces), lambda one: one.name)
        return r.NamespacePage(namespaces=[_namespace(each) for each in found], next=following)

    def _namespaces(self, accounts: Administration) -> list[Namespace]:
        """By name; counts what those with a quota hold."""
        found = {one.name: one for one in accounts.rights.namespaces()}
        for name, most, used, _ in self.state.catalog.quotas.all(exact=True):
            found[name] = found.get(name, Namespace(name))._replace(quota=most, used=used)
        return [found[name] for name in sorted(found)]

    def _namespace_of(self, accounts: Administration, name: str) -> r.NamespaceRecord:
        """Nothing was said of one that is not there."""
        known = {one.name: one for one in self._namespaces(accounts)}
        return _namespace(known.get(name, Namespace(name)))

    async def namespace(self, call: ManagementCall) -> object:
        """What was said of one."""
        return await self.ask(call, lambda a: self._namespace_of(a, call.parameters["namespace"]))

    async def update_namespace(self, call: ManagementCall) -> object:
        """Change what is there. Raises UsageError."""
        name, change = call.parameters["namespace"], call.body

        def update(accounts: Administration) -> r.NamespaceRecord:
            public = None if change.public is UNSET else change.public
            immutable = None if change.immutable is UNSET else tuple(change.immutable)
            if public is not None or immutable is not None:
                accounts.rights.set_namespace(name, public=public, immutable=immutable)
            return self._namespace_of(accounts, name)

        return await self.ask(call, update)

    async def set_quota(self, call: ManagementCall) -> object:
        """How much it may hold from now on."""
        name, most = call.parameters["namespace"], call.body.bytes

        def set_quota(accounts: Administration) -> r.NamespaceRecord:
            accounts.rights.note_quota(name, most)
            self.state.catalog.quotas.set(name, most or None)
            return self._namespace_of(accounts, name)

        return await self.ask(call, set_quota)


def _owner(call: ManagementCall) -> dict[str, str]:
    return {"user": call.parameters.get("user", ""), "team": call.parameters.get("team", "")}


def _page(call: ManagementCall, grants: list[Grant]) -> r.GrantPage:
    found, following = paged(call, grants, lambda one: f"{one.namespace} {one.user} {one.team}")
    return r.GrantPage(grants=[_grant(each) for each in found], next=following)


def _grant(one: Grant) -> r.GrantRecord:
    return r.GrantRecord(namespace=one.namespace, role=role_name(one.role), user=one.user, team=one.team)


def _namespace(one: Namespace) -> r.NamespaceRecord:
    return r.NamespaceRecord(
        name=one.name, public=None if one.public is None else bool(one.public),
        immutable=list(one.immutable), quota=one.quota, used=one.used,
    )  # fmt: skip
