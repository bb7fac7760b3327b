"""Paths beside those of the protocol: each is an ASGI application of its own, loaded at its first request.

A module has a function `application(registry) -> ASGIApp`, and a line in APPLICATIONS. A request comes there
with what holds for all: its line in the log, and the limits of queries and bodies (`Body.of(request)`). Who
sends it and what they may do the application asks `access`. A NacreError that it raises is answered as the
protocol does; what it has to close it adds to `registry.at_end`.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from starlette.requests import Request

from ...grammars.wire.errors import Code, refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from .app import Registry


class Application(NamedTuple):
    """`module` of this package answers these paths, `/x/*` being all below one; `closed`: only where one must
    log in.
    """

    module: str
    paths: tuple[str, ...]
    closed: bool = False


APPLICATIONS = (
    Application("access.tokens", ("/token",), closed=True),
    Application("exposition", ("/metrics",)),
    Application("health", ("/healthz", "/readyz")),
    Application("management.app", ("/api/v1/*",)),
    Application("page.app", ("/", "/r/*", "/-/*")),
)  # fmt: skip


def answering(handle: Callable[[Request], Awaitable[Response]]) -> ASGIApp:
    """The application that answers each request with what `handle` gives."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        response = await handle(Request(scope, receive))
        await response(scope, receive, send)

    return application


class Applications:
    """Those of one registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known = {path: each for each in APPLICATIONS for path in each.paths}
        self._loaded: dict[str, asyncio.Future[ASGIApp]] = {}

    async def find(self, path: str) -> tuple[str, ASGIApp] | None:
        """What answers a path, after the one it goes by in metrics; None if nothing does.

        Raises RegistryError (404) if a library is missing.
        """
        found = self._known.get(path) or self._above(path)
        if found is None or (found.closed and not self._registry.authorization.is_closed):
            return None
        if found.module not in self._loaded:
            self._loaded[found.module] = asyncio.ensure_future(self._load(found))
        shown = path if path in self._known else found.paths[-1]
        return shown, await asyncio.shield(self._loaded[found.module])

    def _above(self, path: str) -> Application | None:
        while path:
            path = path.rpartition("/")[0]
            if found := self._known.get(f"{path}/*"):
                return found
        return None

    async def _load(self, found: Application) -> ASGIApp:
        """In a thread: others are answered meanwhile. What fails is tried again by the next request."""
        try:
            module = await self._registry.state.work.run(import_module, f"{__package__}.{found.module}")
            made: ASGIApp = module.application(self._registry)
        except ModuleNotFoundError as error:
            del self._loaded[found.module]
            why = f"{found.paths[0]} needs {error.name}: pip install nacre-oci[registry]"
            raise refusal(Code.UNSUPPORTED, why, status=404) from None
        except BaseException:
            del self._loaded[found.module]
            raise
        return made
