"""Manifests of copies: as the upstream has them now, or as it had them when it does not answer."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from ....grammars.wire.errors import Code
from ....grammars.wire.routes import is_tag, parse_digest
from ....words.errors import NacreError, RegistryError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from starlette.requests import Request

    from ..state import RegistryState
    from .fetching import ManifestFetcher
    from .flights import Joined
    from .health import UpstreamHealth
    from .model import UpstreamRepository
    from .pool import UpstreamPools

_PATIENCE = 5.0
"""Seconds that a client waits for an upstream when there is a copy that can be served."""
_SOON = 30.0
"""Seconds for which a copy is served without asking after its upstream gave no good answer."""
_MOST = 100_000
STALE = "nacre.stale"
"""In the scope of a request: what its client should know of the age of what it gets."""


class CachedManifests:
    """Makes sure that a manifest is here before its handler answers. On the event loop."""

    def __init__(
        self, state: RegistryState, fetcher: ManifestFetcher, pools: UpstreamPools, health: UpstreamHealth,
        joined: Joined, log: Callable[[str], object],
    ) -> None:  # fmt: skip
        self._catalog, self._work = state.catalog, state.work
        self._fetcher, self._pools, self._health = fetcher, pools, health
        self._joined, self._log = joined, log
        self._believed: dict[tuple[str, str], float] = {}
        """Until when (monotonic) a tag of a copy is believed."""

    async def ready(self, request: Request, place: UpstreamRepository, reference: str) -> None:
        """Return when the manifest is here, or raise RegistryError."""
        if ":" in reference:
            digest = parse_digest(reference)
            if await self._work.ask(self._catalog.manifest, place.name, digest) is None:
                await self.fetch(place, reference)
        elif is_tag(reference):
            await self._tag(request, place, reference)

    async def fetch(self, place: UpstreamRepository, reference: str) -> None:
        """Ask the upstream, whatever is here. Raises RegistryError."""
        await self._shared(place, reference, lambda: self._fetch(place, reference))

    async def _shared(
        self, place: UpstreamRepository, reference: str, ask: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        self._health.check(place, reference)
        try:
            await self._joined.ask((place.name, reference), ask)
        except NacreError as error:
            raise self._health.failed(place, reference, error, Code.MANIFEST_UNKNOWN) from None

    async def _fetch(self, place: UpstreamRepository, reference: str) -> None:
        if ":" in reference:
            await self._pools.run(place, self._fetcher.by_digest, place, parse_digest(reference))
        else:
            await self._pools.run(place, self._fetcher.by_tag, place, reference)

    async def _tag(self, request: Request, place: UpstreamRepository, tag: str) -> None:
        stored = await self._work.ask(self._catalog.manifest, place.name, tag)
        if stored is not None and self._is_believed(place, tag):
            return
        asking = asyncio.ensure_future(self._shared(place, tag, lambda: self._refresh(place, tag)))
        try:
            async with asyncio.timeout(None if stored is None else _PATIENCE):
                await asyncio.shield(asking)
        except (TimeoutError, RegistryError) as error:
            asking.add_done_callback(_heard)
            if stored is None or _is_final(error):
                raise
            self._serve_stale(request, place, tag, error)

    async def _refresh(self, place: UpstreamRepository, tag: str) -> None:
        """Ask, unless somebody asked between the look of who wants it and now."""
        stored = await self._work.ask(self._catalog.manifest, place.name, tag)
        if stored is None or not self._is_believed(place, tag):
            await self._fetch(place, tag)
            self._believe(place, tag, place.upstream.rules.ttl)

    def _serve_stale(self, request: Request, place: UpstreamRepository, tag: str, error: Exception) -> None:
        why = error.message if isinstance(error, NacreError) else f"{place.upstream.rules.name} is slow"
        self._log(f"stale: {place}:{tag} as it was: {why}")
        request.scope[STALE] = f"{why}: this is what it had before"
        self._believe(place, tag, _SOON)

    def _is_believed(self, place: UpstreamRepository, tag: str) -> bool:
        return time.monotonic() < self._believed.get((place.name, tag), 0.0)

    def _believe(self, place: UpstreamRepository, tag: str, seconds: float) -> None:
        if len(self._believed) >= _MOST:
            self._believed.clear()
        self._believed[place.name, tag] = time.monotonic() + seconds


def _is_final(error: Exception) -> bool:
    """Is the tag gone there?"""
    return isinstance(error, RegistryError) and error.status == 404


def _heard(done: asyncio.Future[None]) -> None:
    if not done.cancelled():
        done.exception()
