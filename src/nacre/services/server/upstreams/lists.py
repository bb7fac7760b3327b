"""Lists of copies: the tags that the upstream has, and what refers to a manifest there."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from ....grammars.wire import OCI_FILTERS_APPLIED
from ....grammars.wire.errors import Code
from ....words.errors import NacreError
from ....words.oci import OCI_INDEX, encode_json
from ..answers import answer
from ..lists import fitting, page, window

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from starlette.requests import Request
    from starlette.responses import Response

    from ....grammars.wire.routes import Route
    from ....words.oci import Descriptor
    from ..state import RegistryState
    from .flights import Joined
    from .health import UpstreamHealth
    from .model import UpstreamRepository
    from .pool import UpstreamPools

    Handler = Callable[[Request, Route], Awaitable[Response]]

_MOST, _MOST_NAMES = 200, 1_000_000
"""Lists that are kept, and names in all of them."""


class CachedLists:
    """What upstreams list, kept as long as their tags are believed. On the event loop."""

    def __init__(
        self, state: RegistryState, pools: UpstreamPools, health: UpstreamHealth, joined: Joined
    ) -> None:
        self._catalog, self._work = state.catalog, state.work
        self._pools, self._health, self._joined = pools, health, joined
        self._kept: OrderedDict[Hashable, tuple[float, list[object]]] = OrderedDict()

    async def tags(
        self, request: Request, route: Route, place: UpstreamRepository, handler: Handler
    ) -> Response:
        """Answer `GET tags/list`; from what is here when the upstream does not answer."""
        count, last = window(request)
        try:
            found = await self._ask(place, "tags", lambda: _sorted(place))
        except NacreError:
            if not await self._work.ask(self._catalog.exists, place.name):
                raise
            return await handler(request, route)
        after = (last.lower(), last)
        names = [name for name in map(str, found) if (name.lower(), name) > after][: count + 1]
        return page(route, count, names, {"name": route.name, "tags": names[:count]})

    async def referrers(self, request: Request, route: Route, place: UpstreamRepository) -> Response:
        """Answer `GET referrers`; never with none because the upstream does not answer."""
        kind, digest = request.query_params.get("artifactType", ""), route.digest
        ask = place.upstream.referrers
        found = await self._ask(place, digest, lambda: list(ask(place.repository, digest)))
        entries = [_entry(entry) for entry in found]  # type: ignore[arg-type]
        shown = fitting([entry for entry in entries if kind in ("", entry.get("artifactType"))])
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": shown}
        return answer(
            200, {OCI_FILTERS_APPLIED: "artifactType"} if kind else {}, encode_json(index), OCI_INDEX
        )

    async def _ask(
        self, place: UpstreamRepository, what: str, find: Callable[[], list[object]]
    ) -> list[object]:
        key = (place.name, "list", what)
        until, found = self._kept.get(key, (0.0, []))
        if time.monotonic() < until:
            return found
        try:
            self._health.check(place, key)
            return await self._joined.ask(key, lambda: self._found(place, key, find))
        except NacreError as error:
            if key in self._kept:
                return found
            raise self._health.failed(place, key, error, Code.NAME_UNKNOWN) from None

    async def _found(
        self, place: UpstreamRepository, key: Hashable, find: Callable[[], list[object]]
    ) -> list[object]:
        """Ask, and keep it before anybody can ask again."""
        found = await self._pools.run(place, find)
        self._keep(key, time.monotonic() + place.upstream.rules.ttl, found)
        return found

    def _keep(self, key: Hashable, until: float, found: list[object]) -> None:
        self._kept[key] = until, found
        self._kept.move_to_end(key)
        while len(self._kept) > _MOST or sum(len(names) for _, names in self._kept.values()) > _MOST_NAMES:
            self._kept.popitem(last=False)


def _sorted(place: UpstreamRepository) -> list[object]:
    return [*sorted(place.upstream.tags(place.repository), key=lambda name: (name.lower(), name))]


def _entry(descriptor: Descriptor) -> dict[str, object]:
    return descriptor.to_json()
