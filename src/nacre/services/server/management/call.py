"""One request for the management API that was let through, with all that it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ....stores.accounts.model import EVERYTHING, Role
from ..access.identity import author_of, identity_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import TypeVar

    from starlette.requests import Request

    from ....stores.activity import Author
    from ..access.identity import Identity

    Handler = Callable[["ManagementCall"], Awaitable[object]]
    T = TypeVar("T")


class ManagementCall(NamedTuple):
    """`parameters` are those of the path; `query` and `body` are records, None where there are none."""

    request: Request
    parameters: dict[str, Any]
    query: Any = None
    body: Any = None

    @property
    def identity(self) -> Identity | None:
        """Who asks; None in a registry without accounts."""
        return identity_of(self.request)

    @property
    def author(self) -> Author:
        """Who makes a change, for the record."""
        return author_of(self.request)

    @property
    def user(self) -> str:
        """The name of who asks, "" for anybody."""
        return self.author.name

    def may_read(self, repository: str) -> bool:
        """Only then may they know whether it is there."""
        return self.identity is None or self.identity.may(Role.READ, repository)


def is_administrator(identity: Identity) -> bool:
    """By a password or token of their own that is not limited."""
    account, scopes = identity.account, identity.scopes
    whole = scopes is None and identity.may(Role.ADMIN, EVERYTHING)
    return whole and account is not None and account.administrator


def paged(call: ManagementCall, entries: Sequence[T], key: Callable[[T], str]) -> tuple[list[T], str]:
    """The entries of a page, of all in the order of their keys, and after which key the next begins."""
    last, most = call.query.last, call.query.n
    begin = 0
    if last:
        begin = next((number + 1 for number, entry in enumerate(entries) if key(entry) == last), len(entries))
    found = list(entries[begin : begin + most])
    more = begin + most < len(entries)
    return found, key(found[-1]) if more else ""


def cut(entries: list[T], most: int, key: Callable[[T], str]) -> tuple[list[T], str]:
    """As `paged`, of one entry more than the page holds, if there is one."""
    return entries[:most], key(entries[most - 1]) if len(entries) > most else ""
