"""Which repository of which upstream a request means. Clients ask in four ways:

    /v2/docker.io/library/debian/…            an explicit name; mirrors of podman and of nacre
    /v2/library/debian/…?ns=docker.io         containerd
    /v2/library/debian/…                      docker's `registry-mirrors`, of an upstream that is `unprefixed`

A name without a registry is ours when anything was pushed below its first part: nobody can slip an image of
another registry under a name that a team uses here.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ....grammars.wire.errors import Code, refusal
from ....grammars.wire.routes import is_name
from ....words.errors import UsageError
from ....words.upstreams import HUB, check_upstreams
from .model import UpstreamRepository

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from ....stores.cached import CachedRepositories
    from ....stores.catalog import Catalog
    from ..work import Work
    from .model import Upstream


_KNOWN = 5.0
"""Seconds for which it is remembered whether a first part is ours."""
_MOST = 10_000


class UpstreamNames:
    """Of the upstreams of one registry. On the event loop."""

    def __init__(
        self, upstreams: Sequence[Upstream], catalog: Catalog, cached: CachedRepositories, work: Work
    ) -> None:
        """Raises UsageError for namespaces that no repository can have, or that cannot be told apart."""
        check_upstreams(upstream.rules for upstream in upstreams)
        self._catalog, self._cached, self._work = catalog, cached, work
        self._by_prefix = {upstream.rules.namespace: upstream for upstream in upstreams}
        self._by_registry = {upstream.rules.name: upstream for upstream in upstreams}
        self._bare = next((upstream for upstream in upstreams if upstream.rules.unprefixed), None)
        self._ours: dict[str, tuple[bool, float]] = {}
        for prefix, upstream in self._by_prefix.items():
            if not is_name(prefix):
                where = f'in the configuration, below [upstreams."{upstream.rules.name}"]'
                hint = f'{where}: prefix = "NAME", of lower-case letters, digits and dots'
                raise UsageError(f"{prefix!r} cannot be a namespace of a registry", hint=hint)

    async def place(self, request: Request, name: str) -> UpstreamRepository | None:
        """What `name` means in a request; None for a repository of our own. Raises RegistryError."""
        place = self._explicit(name) or self._of_registry(request, name)
        if place is None and await self._is_unprefixed(request, name):
            assert self._bare is not None
            place = _placed(self._bare, name)
        if place is not None and not is_name(place.name):
            raise refusal(Code.NAME_INVALID, f"the name {place.name[:100]}… is too long")
        return place

    def _explicit(self, name: str) -> UpstreamRepository | None:
        if name in self._by_prefix:
            raise refusal(Code.NAME_UNKNOWN, f"{name} is where copies of another registry lie, no repository")
        at = name.find("/")
        while at > 0:
            upstream = self._by_prefix.get(name[:at])
            if upstream:
                return _placed(upstream, name[at + 1 :])
            at = name.find("/", at + 1)
        return None

    def _of_registry(self, request: Request, name: str) -> UpstreamRepository | None:
        upstream = self._by_registry.get(_namespace(request))
        return _placed(upstream, name) if upstream else None

    async def _is_unprefixed(self, request: Request, name: str) -> bool:
        """Does a name without a registry mean the upstream?"""
        if self._bare is None or request.method not in ("GET", "HEAD") or _namespace(request):
            return False
        if "/" not in name or await self._work.ask(self._catalog.exists, name):
            return False
        return not await self._is_ours(name.partition("/")[0])

    async def _is_ours(self, first: str) -> bool:
        known, until = self._ours.get(first, (False, 0.0))
        if time.monotonic() < until:
            return known
        if len(self._ours) >= _MOST:
            self._ours.clear()
        found = await self._work.run(self._cached.is_ours, first)
        self._ours[first] = found, time.monotonic() + _KNOWN
        return found


def _placed(upstream: Upstream, name: str) -> UpstreamRepository:
    """Docker Hub calls `debian` what is `library/debian`."""
    repository = f"library/{name}" if upstream.rules.name == HUB and "/" not in name else name
    return UpstreamRepository(upstream, repository, f"{upstream.rules.namespace}/{repository}")


def _namespace(request: Request) -> str:
    """The registry that containerd means."""
    return request.query_params.get("ns", "") if b"ns=" in request.scope["query_string"] else ""


def check_allowed(place: UpstreamRepository) -> None:
    """Raises RegistryError DENIED for a repository that the operator does not allow."""
    if not place.upstream.rules.allows(place.repository):
        raise refusal(Code.DENIED, f"{place} is not on the list of what is allowed here")


def check_write(place: UpstreamRepository, method: str) -> None:
    """Raises RegistryError for a push into a copy. What is in it may be deleted."""
    if method not in ("GET", "HEAD", "DELETE"):
        text = f"{place.name} is a copy of {place}: push to {place.upstream.rules.name}, or to another name"
        raise refusal(Code.UNSUPPORTED, text)
