"""The page as a handler of requests: finds the view, asks who may see it, and sends HTML.

Whoever may not read a repository gets what they get for one that is not there. Nothing is loaded from
elsewhere, no script stands in a page, and every answer says so to the browser (CSP).
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from starlette.responses import Response

from ....grammars.wire.errors import Code, refusal
from ....words.errors import (
    Conflict,
    ContentError,
    DiskFull,
    NacreError,
    NotFound,
    RegistryError,
    UsageError,
)
from ..access.identity import keep
from ..applications import answering
from ..clients import check_origin
from ..relay import CERTIFICATE
from . import forms, session
from .account import AccountViews
from .activity import ActivityViews
from .comparing import ComparisonViews
from .documents import Documents
from .files import FileViews
from .home import THEME, HomeViews
from .image import ImageViews
from .location import Location, link, location_of
from .members import MemberViews
from .reading import LayerContents
from .render import Renderer
from .repository import RepositoryViews
from .setup import SetupViews
from .signin import SignInViews
from .sso import OidcViews
from .storage import StorageViews
from .visit import Shown, Visit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from ..access import Authorization
    from ..app import Registry
    from ..replicating import ReplicationJobs
    from ..state import RegistryState

    View = Callable[[Visit], Awaitable[Shown]]

_HTML = "text/html; charset=utf-8"
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_SAFE = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_THEMES = ("light", "dark")
_YEAR = 31_536_000


def application(registry: Registry) -> ASGIApp:
    """The page of a registry."""
    page = Page(registry.state, registry.authorization, registry.replication)
    registry.at_end.append(page.close)
    return answering(page.respond)


class Page:
    """The page of one registry, by its accounts."""

    def __init__(
        self, state: RegistryState, authorization: Authorization, replication: ReplicationJobs | None
    ) -> None:
        self._authorization, self._accounts = authorization, state.store.accounts
        self._work = state.work
        self._render = Renderer()
        self._sessions = session.Sessions(self._accounts)
        documents, self._contents = Documents(state), LayerContents(state)
        self._storage = StorageViews(state, replication)
        self._views: dict[str, View] = {}
        self._forms: dict[str, View] = {}
        for part in (
            SignInViews(authorization, self._sessions),
            AccountViews(state, authorization, self._sessions),
            SetupViews(self._accounts, state.work, self._sessions),
            OidcViews(authorization, state, self._sessions),
            HomeViews(state),
            RepositoryViews(state, documents),
            ImageViews(state, documents),
            FileViews(documents, self._contents),
            ComparisonViews(documents, self._contents),
            ActivityViews(state),
            MemberViews(state),
            self._storage,
        ):
            self._views |= part.views
            self._forms |= part.forms

    async def close(self) -> None:
        """End what goes on beside the requests."""
        self._storage.close()
        await asyncio.to_thread(self._contents.close)

    async def respond(self, request: Request) -> Response:
        """Answer a request that is not the protocol's."""
        location = location_of(request.scope.get("raw_path", b"").decode("latin-1"))
        if location is not None and location.view == "static" and not location.repository:
            return self._static(location)
        visit: Visit | None = None
        try:
            visit = await self._visit(request, location or Location())
            shown = await self._answer(visit, location)
        except NacreError as error:
            status = _status(error)
            if not status:
                raise
            values = {"status": status, "why": error.message, "hint": error.hint}
            shown = Shown("failure.html", values, status, retry=_retry(error))
        return self._response(request, shown, visit)

    async def _visit(self, request: Request, location: Location) -> Visit:
        cookie = request.cookies.get(session.COOKIE, "")
        token = ""
        if self._authorization.is_closed:
            await self._authorization.prepare()
            signed_in = await self._work.ask(self._sessions.identity, cookie)
            request.scope.pop(CERTIFICATE, None)  # of a browser: what is not in a form proves no intent
            identity = signed_in or await self._authorization.identify(request)
            if identity is None:
                raise refusal(Code.UNAUTHORIZED, "the credentials are not valid")
            keep(request, identity)
            token = forms.token_for(self._accounts.signing_key(), cookie if identity.account else "")
        fields: dict[str, str] = {}
        if request.method == "POST":
            check_origin(request)
            fields = await forms.fields_of(request)
        return Visit(request, location, token, fields)

    async def _answer(self, visit: Visit, location: Location | None) -> Shown:
        if location is None:
            raise NotFound("there is no such page")
        method = visit.request.method
        if method not in ("GET", "HEAD", "POST"):
            raise refusal(Code.UNSUPPORTED, "only GET, HEAD and POST are supported here")
        kind = "repository" if location.repository else "registry"
        views = self._forms if method == "POST" else self._views
        view = views.get(f"{kind}/{location.view}")
        if view is None:
            raise NotFound("there is no such page")
        if location.repository and not visit.may_read(location.repository):
            raise NotFound(f"there is no repository {location.repository}, or none that you may see")
        if method == "POST" and location.view not in ("sign-in", "setup", "theme"):
            forms.check_token(visit.fields.get(forms.FIELD, ""), visit.token)
        shown = await view(visit)
        if method == "POST":
            self._authorization.changed()
        return shown

    def _static(self, location: Location) -> Response:
        found = self._render.static.find(location.reference)
        if found is None:
            return Response("no such file", 404, _SAFE, "text/plain")
        caching = f"public, max-age={_YEAR}, immutable"
        return Response(found[0], 200, {**_SAFE, "Cache-Control": caching}, found[1])

    def _response(self, request: Request, shown: Shown, visit: Visit | None) -> Response:
        headers = {**_SAFE, "Cache-Control": "private, no-cache", "Vary": "Cookie, Authorization, HX-Request"}
        if shown.goto:
            response = Response(b"", 303, {**headers, "Location": shown.goto})
            for name, value in shown.cookies:
                _set_cookie(request, response, name, value)
            return response
        body = self._render(shown.template, {**self._common(request, visit), **shown.values})
        if shown.retry:
            headers["Retry-After"] = shown.retry
        if shown.is_secret:
            return Response(body, shown.status, {**headers, "Cache-Control": "no-store"}, _HTML)
        tag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
        if shown.status == 200:
            headers["ETag"] = tag
            if request.headers.get("if-none-match") == tag:
                return Response(b"", 304, headers)
        return Response(body, shown.status, headers, _HTML)

    def _common(self, request: Request, visit: Visit | None) -> Mapping[str, object]:
        """What every page shows."""
        theme = request.cookies.get(THEME, "")
        return {
            "visit": visit, "theme": theme if theme in _THEMES else "", "search": "",
            "here": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            "fragment": bool(visit and visit.is_fragment), "signing_in": link("sign-in"),
        }  # fmt: skip


def _set_cookie(request: Request, response: Response, name: str, value: str) -> None:
    """For this site alone, out of reach of scripts; an empty one goes. Set over TLS, never sent without."""
    proxied = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip()
    secure = (proxied or request.url.scheme) == "https"
    lasts = session.LIFETIME if name == session.COOKIE else _YEAR
    response.set_cookie(
        name, value, max_age=lasts if value else 0, path="/", secure=secure, httponly=True, samesite="lax"
    )


def _retry(error: NacreError) -> str:
    """After how many seconds whoever asked may ask again, "" for whenever they like."""
    return error.headers.get("Retry-After", "") if isinstance(error, RegistryError) else ""


def _status(error: NacreError) -> int:
    """Of what whoever asked is told; 0 for what is the operator's business."""
    if isinstance(error, RegistryError):
        return error.status
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 0)


_STATUSES: tuple[tuple[type[NacreError], int], ...] = (
    (UsageError, 400), (NotFound, 404), (Conflict, 409), (ContentError, 422), (DiskFull, 507),
)  # fmt: skip
