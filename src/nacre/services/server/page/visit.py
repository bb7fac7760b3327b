"""One request for a page: where it goes, who sends it, and what they may see and do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ....stores.accounts.model import EVERYTHING, Role
from ....words.errors import NotFound
from ..access.identity import identity_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.datastructures import QueryParams
    from starlette.requests import Request

    from .location import Location

_MOST_WORD = 512


class Shown(NamedTuple):
    """What answers: a template with values, or, with `goto`, the path to go to instead.

    `cookies` are set by name, those with an empty value removed.
    """

    template: str
    values: Mapping[str, Any]
    status: int = 200
    goto: str = ""
    cookies: tuple[tuple[str, str], ...] = ()
    retry: str = ""
    """After how many seconds to ask again."""
    is_secret: bool = False
    """Must nobody keep a copy?"""


def sent_to(path: str, *cookies: tuple[str, str]) -> Shown:
    """Go there instead; only to a path of this page, for a form could name another site."""
    good = (
        path.startswith("/") and not path.startswith(("//", "/\\")) and path.isascii() and path.isprintable()
    )
    return Shown("", {}, goto=path if good else "/", cookies=cookies)


class Visit:
    """`location` is what the path says. `token` must come back with every form."""

    def __init__(self, request: Request, location: Location, token: str, fields: Mapping[str, str]) -> None:
        self.request, self.location, self.token, self.fields = request, location, token, fields
        self.identity = identity_of(request)

    @property
    def query(self) -> QueryParams:
        """What follows the `?`."""
        return self.request.query_params

    def word(self, name: str) -> str:
        """A word of the query, "" if it is not there."""
        return self.query.get(name, "")[:_MOST_WORD].strip()

    @property
    def user(self) -> str:
        """The name of who has signed in, "" for nobody."""
        account = self.identity.account if self.identity else None
        return account.name if account else ""

    @property
    def is_open(self) -> bool:
        """Is this a registry without accounts, where everybody may do everything?"""
        return self.identity is None

    @property
    def is_administrator(self) -> bool:
        """May they see what concerns all of the registry?"""
        account = self.identity.account if self.identity else None
        return self.may(Role.ADMIN, EVERYTHING) and (account is None or account.administrator)

    @property
    def is_fragment(self) -> bool:
        """Does a script ask for a part of the page?"""
        headers = self.request.headers
        return headers.get("hx-request") == "true" and "hx-history-restore-request" not in headers

    def may(self, role: Role, repository: str) -> bool:
        """In that repository, be it there or not."""
        return self.identity is None or self.identity.may(role, repository)

    def may_read(self, repository: str) -> bool:
        """Only then may they know whether it is there."""
        return self.may(Role.READ, repository)

    def require(self, role: Role) -> None:
        """Raises NotFound unless they may do that in the repository of this location."""
        if not self.may(role, self.location.repository):
            raise NotFound("there is nothing here, or nothing that you may see")

    @property
    def host(self) -> str:
        """The registry as clients name it: `registry.example:5000`."""
        return self.request.url.netloc
