"""The threads that speak to upstreams: of each its own, so that a slow one holds up nobody else."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from ....grammars.wire.errors import Code
from .model import ServingRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .model import Upstream, UpstreamRepository

P = ParamSpec("P")
T = TypeVar("T")
_DOCUMENTS, _BLOBS = 4, 8
"""Requests to one upstream at a time."""
_MOST_WAITING = 200


class UpstreamPools:
    """Threads for documents and threads for blobs of each upstream, made when they are needed."""

    def __init__(self, upstreams: Sequence[Upstream]) -> None:
        self._upstreams = upstreams
        self._pools: dict[tuple[str, int], ThreadPoolExecutor] = {}
        self._waiting: dict[str, int] = {}

    async def run(
        self, place: UpstreamRepository, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """`function(...)`, which asks for a document. Raises RegistryError when too much is asked for."""
        return await self._run(place, _DOCUMENTS, lambda: function(*args, **kwargs))

    async def run_blob(
        self, place: UpstreamRepository, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """`function(...)`, which fetches a blob."""
        return await self._run(place, _BLOBS, lambda: function(*args, **kwargs))

    async def _run(self, place: UpstreamRepository, threads: int, function: Callable[[], T]) -> T:
        registry = place.upstream.rules.name
        if self._waiting.get(registry, 0) >= _MOST_WAITING:
            raise ServingRefused.by(Code.TOOMANYREQUESTS, f"too much is asked of {registry} at once")
        self._waiting[registry] = self._waiting.get(registry, 0) + 1
        try:
            pool, context = self._pool(registry, threads), copy_context()
            return await asyncio.get_running_loop().run_in_executor(pool, lambda: context.run(function))
        finally:
            self._waiting[registry] -= 1

    def _pool(self, registry: str, threads: int) -> ThreadPoolExecutor:
        if (registry, threads) not in self._pools:
            name = f"nacre-upstream-{registry}"
            self._pools[registry, threads] = ThreadPoolExecutor(threads, thread_name_prefix=name)
        return self._pools[registry, threads]

    def interrupt(self) -> None:
        """End what the threads wait for."""
        for upstream in self._upstreams:
            upstream.close()
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Wait for the threads."""
        for pool in self._pools.values():
            pool.shutdown()
