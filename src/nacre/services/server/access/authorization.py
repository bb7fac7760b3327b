"""Lets a request through, or refuses it with the challenge by which clients know what to do.

401   nobody, or credentials that are wrong, or a token that was not asked for enough
403   somebody who may not; whether the repository exists is not told
429   too many failed logins
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ....grammars.wire.auth import Challenge
from ....grammars.wire.errors import Code, refusal
from ....grammars.wire.routes import Endpoint
from ....stores.accounts.model import Role
from ....words.errors import ContentError, RegistryError
from ....words.rules import AccessRules
from ..clients import client_of
from .authentication import Authentication
from .certificates import ClientCertificates, certificate_of, checksum_of
from .identity import CATALOG, SERVICE, Identity, keep

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from ....grammars.wire.routes import Route
    from ....stores.accounts.reading import Accounts
    from ..journal import Journal
    from ..outgoing import Fetch
    from ..work import Work
    from .bearer import BearerTokens
    from .exchange import Exchange

_MOST = 4096
_STALE = 0.045
"""Seconds after which the database is asked whether accounts have changed: answers then hold for 5 ms."""
_WORDS = {Role.READ: "pull", Role.WRITE: "pull,push", Role.DELETE: "delete", Role.ADMIN: "*"}
_VERBS = {Role.READ: "pull from", Role.WRITE: "push to", Role.DELETE: "delete from", Role.ADMIN: "administer"}
_WRITES = {Endpoint.UPLOADS, Endpoint.UPLOAD}


class Authorization:
    """Of one registry with those accounts."""

    def __init__(
        self, accounts: Accounts, work: Work, journal: Journal, fetch: Fetch | None = None,
        note: Callable[[str], object] = lambda _line: None, rules: AccessRules | None = None,
    ) -> None:  # fmt: skip
        self._accounts, self._work, self._fetch, self._note = accounts, work, fetch, note
        self.rules, self._journal = rules or AccessRules(), journal
        self._certificates = ClientCertificates(self.rules.certificates)
        self.authentication = Authentication(accounts, work, journal, self._by_foreign)
        self._bearer: BearerTokens | None = None
        self._exchange: Exchange | None = None
        self._asked, self._version = 0.0, ""
        self.moment = object()
        """Another one whenever accounts may have changed."""
        self._known: dict[tuple[str, str], Identity] = {}

    @property
    def bearer(self) -> BearerTokens:
        """For the token endpoint."""
        if self._bearer is None:
            from .bearer import BearerTokens

            self._bearer = BearerTokens(self._accounts)
        return self._bearer

    @property
    def exchange(self) -> Exchange:
        """For tokens of others."""
        if self._exchange is None:
            from .exchange import Exchange
            from .issuers import Issuers

            self._exchange = Exchange(
                self._accounts, Issuers(self._fetch, self._work), self._work, self._note
            )
        return self._exchange

    async def _by_foreign(self, token: str, client: str) -> Identity | None:
        """By a token of another issuer, or by what one was exchanged for."""
        own = await self._work.ask(self.bearer.read, token) if client else None
        if own:
            return own if own.trusts and own.scopes is None else None
        try:
            return await self.exchange.identity(token, client)
        except (RegistryError, ContentError) as error:
            self._note(f"error: cannot ask the issuer of a token: {error.message}")
            raise refusal(Code.UNAVAILABLE, "the issuer of this token cannot be asked now") from error

    @property
    def is_closed(self) -> bool:
        """Must one log in?"""
        now = time.monotonic()
        if now - self._asked > _STALE:
            before, self._version = self._version, self._accounts.version()
            if self._version != before:
                self._known.clear()
                self.moment = object()
            self._asked = now  # last: while it is new, other threads go by what is known
        return self._accounts.is_closed or self.rules.is_closed

    def changed(self) -> None:
        """This process has changed accounts: the next request finds out."""
        self._asked, self.moment = -1.0, object()

    def known(self, credentials: str, role: Role, repository: str) -> tuple[bool, Identity | None]:
        """May whoever sends these do that, as far as one knows without asking; and who it is. Without a
        certificate. From any thread: it changes nothing.
        """
        if time.monotonic() - self._asked > _STALE:
            return False, None
        if not (self._accounts.is_closed or self.rules.is_closed):
            return True, None
        found = self._known.get((credentials, ""))
        may = found is not None and time.time() < found.until and found.may(role, repository)
        return may, found

    async def admit(self, request: Request, route: Route) -> None:
        """Return, with the identity kept, or raise RegistryError UNAUTHORIZED, DENIED, TOOMANYREQUESTS."""
        if not self.is_closed:
            return
        role = role_for(route, request.method)
        identity = await self.identify(request)
        if identity is None:
            raise challenged(request, route.name, role, "the credentials are not valid")
        keep(request, identity)
        if not route.name:
            self._admit_anywhere(request, route, identity)
        elif not identity.may(role, route.name):
            raise _no(request, route.name, role, identity)

    def _admit_anywhere(self, request: Request, route: Route, identity: Identity) -> None:
        """`/v2/` tells clients whether their credentials are right; the catalog decides what it shows.

        Both ask for credentials first: oras and regctl send them to nobody who does not.
        """
        if identity.account is None and identity.scopes is None:
            if route.endpoint is Endpoint.BASE:
                raise challenged(request, "", Role.NONE, "")
            if route.endpoint is Endpoint.CATALOG:
                raise challenged(request, CATALOG, Role.ADMIN, "")

    async def prepare(self) -> None:
        """Have it known what holds for everybody."""
        if not self._accounts.is_ready:
            await self._work.ask(self._accounts.prepare)

    async def identify(self, request: Request) -> Identity | None:
        """Who sends a request; None when the credentials are wrong. Without any it is whom the certificate of
        the client belongs to, else anybody.
        """
        await self.prepare()
        field = request.headers.get("authorization", "")
        key = (field, checksum_of(request))
        known = self._known.get(key)
        if known and time.time() < known.until:
            return known
        version, found = self._version, await self._identify(request, field)
        if found and not found.is_brief and version == self._version:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[key] = found
        return found

    async def _identify(self, request: Request, credentials: str) -> Identity | None:
        scheme, _, field = credentials.partition(" ")
        if scheme.lower() == "basic":
            return await self.authentication.basic(field.strip(), client_of(request))
        if scheme.lower() == "bearer":
            found = await self._work.ask(self.bearer.read, field.strip())
            return found if found and found.certificate in ("", checksum_of(request)) else None
        return None if scheme else await self._by_certificate(request)

    async def _by_certificate(self, request: Request) -> Identity:
        """Whoever has none, or one that is nobody's, is anybody."""
        certificate = certificate_of(request)
        name = self._certificates.user(certificate) if certificate else ""
        if not certificate or not name:
            return Identity(self._accounts)
        await self._work.ask(self._accounts.prepare, name)
        account = self._accounts.account(name)
        if account is None:
            return Identity(self._accounts)
        self._journal.login(name, client_of(request), "certificate")
        return Identity(self._accounts, account, until=certificate.until, certificate=certificate.checksum)


def role_for(route: Route, method: str) -> Role:
    """What a request needs in its repository."""
    if route.endpoint in _WRITES or method in ("PUT", "POST", "PATCH"):
        return Role.WRITE
    return Role.DELETE if method == "DELETE" else Role.READ


def challenged(request: Request, repository: str, role: Role, why: str) -> RegistryError:
    """401 with where to get a token, and for what."""
    fields = {"realm": f"{base_of(request)}/token", "service": SERVICE}
    if repository:
        kind = "" if repository == CATALOG else "repository:"
        fields["scope"] = f"{kind}{repository}:{_WORDS[role]}"
    error = refusal(Code.UNAUTHORIZED, why)
    error.headers["WWW-Authenticate"] = Challenge("bearer", tuple(fields.items())).encode()
    return error


def _no(request: Request, repository: str, role: Role, identity: Identity) -> RegistryError:
    """A token for less than its owner may is no reason to say that they may not."""
    whole, what = identity._replace(scopes=None), f"{_VERBS[role]} {repository}"
    if identity.account is None or (identity.scopes is not None and whole.may(role, repository)):
        return challenged(request, repository, role, f"log in to {what}")
    who = f"this token of {identity.account.name}" if identity.token else identity.account.name
    return refusal(Code.DENIED, f"{who} may not {what}")


def base_of(request: Request) -> str:
    """How the client reached us, also through a proxy that ends TLS."""
    scheme = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip() or request.url.scheme
    return f"{scheme if scheme in ('http', 'https') else 'http'}://{request.url.netloc}"
