"""Who sends a request, and what they may do."""

from __future__ import annotations

from fnmatch import fnmatchcase
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from ....stores.accounts.model import EVERYTHING, Role, covers
from ....stores.accounts.reading import KnownUser
from ....stores.activity import Author
from ..clients import client_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starlette.requests import Request

    from ....stores.accounts.model import Trust
    from ....stores.accounts.reading import Accounts

    Scopes = dict[str, frozenset[Role]]

SERVICE = "nacre-registry"
"""Whom our tokens are for."""
TRACE = "nacre.trace"
"""In the scope of a request: the `traceparent` of the span that it is, where there is one."""
_SCOPE = "nacre.identity"
ACTIONS = {"pull": Role.READ, "push": Role.WRITE, "delete": Role.DELETE, "*": Role.ADMIN}
"""What clients call the roles in a scope (distribution, auth/scope)."""
CATALOG = "registry:catalog"
"""In the place of a repository: the scope that crane and regctl ask for before they list all."""


def roles_of(actions: Iterable[str]) -> frozenset[Role]:
    """What actions of a scope let one do; skopeo asks for `*` before it reads and deletes."""
    wanted = {ACTIONS[action] for action in actions if action in ACTIONS}
    return frozenset(ACTIONS.values()) if Role.ADMIN in wanted else frozenset(wanted)


class Identity(NamedTuple):
    """`account` None is anybody. `role` and `namespace` are the most that a token gives.

    `scopes` are those of a bearer token, by repository; None where there is no such limit. It is known until
    `until`, in seconds since 1970. `trusts`: the rules by which a token of others stands for it.
    `is_brief`: others say who it is, and must be asked about its credentials again. `certificate`: the
    checksum of the one by which it is known, "" if it is known otherwise.
    """

    accounts: Accounts
    account: KnownUser | None = None
    token: int = 0
    role: Role = Role.ADMIN
    namespace: str = EVERYTHING
    scopes: Scopes | None = None
    until: float = inf
    trusts: tuple[int, ...] = ()
    is_brief: bool = False
    certificate: str = ""

    def may(self, role: Role, repository: str) -> bool:
        """In that repository, be it there or not."""
        if self.scopes is not None and role not in self.scopes.get(repository, ()):
            return False
        if role is Role.READ and self.accounts.is_public(repository):
            return True
        return role <= min(self.role, self._role(repository)) and covers(self.namespace, repository)

    def may_list(self, repository: str) -> bool:
        """Among all there are."""
        whole = self._replace(scopes=None) if self.scopes and CATALOG in self.scopes else self
        return whole.may(Role.READ, repository)

    def _role(self, repository: str) -> Role:
        account = self.account
        if account is None:
            return Role.NONE
        if account.administrator or (not account.robot and covers(account.name, repository)):
            return Role.ADMIN
        found = [role for namespace, role in account.grants.items() if covers(namespace, repository)]
        return max(found, default=Role.NONE)


def stands_for(accounts: Accounts, rules: Sequence[Trust], name: str, until: float) -> Identity:
    """Somebody without an account, who may what the rules say."""
    grants: dict[str, Role] = {}
    for rule in rules:
        grants[rule.namespace] = max(rule.role, grants.get(rule.namespace, Role.NONE))
    account = KnownUser(0, name, "", False, True, grants)
    return Identity(accounts, account, until=until, trusts=tuple(rule.id for rule in rules))


def keep(request: Request, identity: Identity) -> None:
    """From here on `identity_of` gives it."""
    request.scope[_SCOPE] = identity


def identity_of(request: Request) -> Identity | None:
    """Who sends it; None in an open registry, where everybody may do everything."""
    found = request.scope.get(_SCOPE)
    return found if isinstance(found, Identity) else None


def owner_of(request: Request) -> str:
    """Whom its uploads count for: a user, wherever they are; without one the address."""
    identity = identity_of(request)
    account = identity.account if identity else None
    return f"user {account.name}" if account else client_of(request)


def author_of(request: Request) -> Author:
    """Who makes a change, for the record: the user, the address itself, and the span of the request."""
    identity = identity_of(request)
    account = identity.account if identity else None
    client = request.client.host if request.client else ""
    return Author(account.name if account else "", client, request.scope.get(TRACE, ""))


def may_read(request: Request, repository: str) -> bool:
    """May whoever sends it read that repository?"""
    identity = identity_of(request)
    return identity is None or identity.may(Role.READ, repository)


def may_list(request: Request, repository: str) -> bool:
    """May whoever sends it know of that repository from a list of all?"""
    identity = identity_of(request)
    return identity is None or identity.may_list(repository)


def is_public(request: Request, repository: str) -> bool:
    """May everybody read that repository?"""
    identity = identity_of(request)
    return identity is None or identity.accounts.is_public(repository)


def immutable_of(request: Request, repository: str, tags: Sequence[str]) -> tuple[str, ...]:
    """Those of `tags` that must stay as they are once they are set."""
    identity = identity_of(request)
    patterns = identity.accounts.immutable(repository) if identity and tags else ()
    return tuple(tag for tag in tags if any(fnmatchcase(tag, pattern) for pattern in patterns))
