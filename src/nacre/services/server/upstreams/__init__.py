"""A pull-through cache: repositories of other registries, fetched when asked for and kept for a while.

    names       which repository of which upstream a request means
    manifests   made sure of before their handler answers ─► fetching (in threads)
    blobs       sent while they come                      ─► flights (one fetch for all who wait)
    lists       tags and referrers
    health      whom not to ask for a while               pool: the threads of each upstream

A copy is a repository of the catalog like any other, below the namespace of its upstream, so the handlers,
rights and listings of the registry hold for it. Only its parts may be absent, and nobody pushes to it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ....grammars.wire import CONTENT_DIGEST, WARNING
from ....grammars.wire.errors import Code, refusal
from ....grammars.wire.routes import Endpoint
from ....grammars.wire.warning import format_warning
from ....stores.cached import CachedRepositories
from ....words.errors import RegistryError
from ..jobs import Job
from .blobs import CachedBlobs
from .fetching import ManifestFetcher
from .flights import Joined
from .health import UpstreamHealth
from .lists import CachedLists
from .manifests import STALE, CachedManifests
from .names import UpstreamNames, check_allowed, check_write
from .pool import UpstreamPools

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from ....grammars.wire.routes import Route
    from ....stores.cached import Evicted
    from ....words.upstreams import CacheRules
    from ..state import RegistryState
    from .model import Upstream, UpstreamRepository

    Handler = Callable[[Request, Route], Awaitable[Response]]

__all__ = ["PullThrough"]

_DIGEST = CONTENT_DIGEST.lower().encode()
_MOST_USED = 100_000
_LOOP = 508
_WRITE_EVERY, _EVICT_EVERY = 60.0, 600.0


class PullThrough:
    """The copies of one registry. On the event loop; `await close()` it."""

    def __init__(
        self, state: RegistryState, upstreams: Sequence[Upstream], rules: CacheRules,
        log: Callable[[str], object],
    ) -> None:  # fmt: skip
        """Raises UsageError for a namespace that cannot be one."""
        store, work = state.store, state.work
        self._state, self._rules = state, rules
        self._cached = CachedRepositories(store.catalog)
        self._agents = {upstream.agent for upstream in upstreams}
        self._names = UpstreamNames(upstreams, store.catalog, self._cached, work)
        self._pools, self._joined, health = UpstreamPools(upstreams), Joined(), UpstreamHealth()
        fetcher = ManifestFetcher(store, self._cached)
        self._manifests = CachedManifests(state, fetcher, self._pools, health, self._joined, log)
        self._blobs = CachedBlobs(state, self._cached, self._pools, health, self._joined, log)
        self._lists = CachedLists(state, self._pools, health, self._joined)
        self._used: set[tuple[str, str]] = set()

    async def meant(self, request: Request, route: Route, handler: Handler) -> tuple[Route, Handler]:
        """What a request means, and who answers it: of a copy, not `handler` alone. Raises RegistryError."""
        place = await self._names.place(request, route.name)
        if place is None:
            return route, handler
        if request.headers.get("user-agent") in self._agents:
            raise refusal(Code.UNSUPPORTED, f"{place} leads back to this registry", status=_LOOP)
        return route.replace(name=place.name), partial(self._answer, place, handler)

    async def _answer(
        self, place: UpstreamRepository, handler: Handler, request: Request, route: Route
    ) -> Response:
        check_write(place, request.method)
        check_allowed(place)
        response = await self._found(place, handler, request, route)
        if STALE in request.scope:
            text = format_warning(request.scope[STALE])
            response.raw_headers.append((WARNING.lower().encode(), text.encode()))
        self._note(route, response)
        return response

    async def _found(
        self, place: UpstreamRepository, handler: Handler, request: Request, route: Route
    ) -> Response:
        if request.method == "DELETE":
            return await handler(request, route)
        if route.endpoint is Endpoint.MANIFEST:
            return await self._manifest(place, handler, request, route)
        if route.endpoint is Endpoint.BLOB:
            return await self._blobs.get(request, route, place, handler)
        if route.endpoint is Endpoint.TAGS:
            return await self._lists.tags(request, route, place, handler)
        if route.endpoint is Endpoint.REFERRERS:
            return await self._lists.referrers(request, route, place)
        return await handler(request, route)

    async def _manifest(
        self, place: UpstreamRepository, handler: Handler, request: Request, route: Route
    ) -> Response:
        await self._manifests.ready(request, place, route.reference)
        try:
            return await handler(request, route)
        except RegistryError as error:
            if error.code != Code.MANIFEST_UNKNOWN.name:
                raise
        await self._manifests.fetch(place, route.reference)  # what is here is damaged
        return await handler(request, route)

    def _note(self, route: Route, response: Response) -> None:
        """Content was asked for."""
        digest = next((value for name, value in response.raw_headers if name == _DIGEST), b"")
        if digest and len(self._used) < _MOST_USED:
            self._used.add((route.name, digest.decode("latin-1")))

    def jobs(self, tell: Callable[[str], object]) -> list[Job]:
        """What is to be done beside the requests; `tell` hears what was removed."""
        return [
            Job("note-used", self._write_down, _WRITE_EVERY, each=True),
            Job("evict", self._evict, _EVICT_EVERY, lambda gone: tell(_told(gone))),
        ]

    def _write_down(self) -> Iterator[None]:
        used, self._used = self._used, set()
        self._cached.touch(used, self._state.catalog.now())
        yield None

    def _evict(self) -> Iterator[Evicted]:
        yield from self._cached.evict(self._rules, self._state.mentions)

    async def close(self) -> None:
        """End what is under way."""
        self._pools.interrupt()
        await self._joined.close()
        self._pools.close()


def _told(gone: Evicted) -> str:
    return f"evicted {gone.copies} copies, {gone.bytes} bytes"
