"""Blobs of copies: those that are here as ever, others while they come."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from typing import TYPE_CHECKING

from starlette.responses import Response

from ....grammars.wire import API_VERSION, API_VERSION_VALUE, CONTENT_DIGEST, OCTETS
from ....grammars.wire.conditions import etag
from ....grammars.wire.errors import Code
from ....grammars.wire.ranges import format_content_range, parse_range
from ....ground.files import os_errors, write_all
from ....words.errors import NacreError, RegistryError, TooLarge, Unreachable
from ..access import is_public
from ..answers import answer, conditions_of, departure, failure
from .flights import BlobFlight
from .model import ServingRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from ....grammars.wire.ranges import Span
    from ....grammars.wire.routes import Route
    from ....stores.cached import CachedRepositories
    from ....stores.storage import Placed, UploadWriter
    from ....words.digest import Digest
    from ..state import RegistryState
    from ..work import Work
    from .flights import Joined
    from .health import UpstreamHealth
    from .model import BlobStream, UpstreamRepository
    from .pool import UpstreamPools

    Handler = Callable[[Request, Route], Awaitable[Response]]

_PIECE = 1 << 19
_LOOKS = 5
_JUDGED = 60.0
"""Seconds after which the speed of an upstream counts."""


class CachedBlobs:
    """GET and HEAD of blobs of upstreams. On the event loop."""

    def __init__(
        self, state: RegistryState, cached: CachedRepositories, pools: UpstreamPools,
        health: UpstreamHealth, joined: Joined, log: Callable[[str], object],
    ) -> None:  # fmt: skip
        self._state, self._cached, self._pools, self._health = state, cached, pools, health
        self._joined, self._log = joined, log
        self._flights: dict[tuple[str, Digest], BlobFlight] = {}
        self._ended = 0
        """How many fetches are over."""

    async def get(
        self, request: Request, route: Route, place: UpstreamRepository, handler: Handler
    ) -> Response:
        """Answer from what is here, else from the upstream. Raises RegistryError."""
        digest, key = route.digest, (place.name, route.digest)
        if key not in self._flights:
            try:
                return await handler(request, route)
            except RegistryError as error:
                if error.code != Code.BLOB_UNKNOWN.name:
                    raise
            if await self._share(request, place, digest):
                return await handler(request, route)
        if conditions_of(request).has_already(digest):
            return answer(304, _headers(digest))
        if key not in self._flights:
            self._health.check(place, digest)
            if request.method == "HEAD":
                size = await self._size(place, digest)
                return answer(200, _headers(digest) | {"Content-Length": str(size)})
            if await self._came(place, digest):
                return await handler(request, route)
        return await self._streamed(request, self._flights.get(key) or self._begin(place, digest))

    async def _came(self, place: UpstreamRepository, digest: Digest) -> bool:
        """Is it here by now? A server may have said what was before a fetch ended: then it is asked again."""
        for _ in range(_LOOKS):
            ended = self._ended
            if await self._is_here(place, digest):
                return True
            if ended == self._ended or (place.name, digest) in self._flights:
                break
        return False

    async def _is_here(self, place: UpstreamRepository, digest: Digest) -> bool:
        size = await self._state.work.ask(self._state.catalog.blob, place.name, digest)
        locate = self._state.storage.locate
        return size is not None and await self._state.work.ask(locate, digest, size) is not None

    async def _share(self, request: Request, place: UpstreamRepository, digest: Digest) -> bool:
        """Take a blob over from another copy of the same upstream that everybody may read."""
        registry = place.upstream.rules.name
        for source in await self._state.work.run(self._cached.holders, digest, registry):
            if is_public(request, source) and source != place.name:
                return await self._state.work.run(self._mount, place, digest, source)
        return False

    def _mount(self, place: UpstreamRepository, digest: Digest, source: str) -> bool:
        is_copy = self._cached.mark(place.name, place.upstream.rules.name)
        return is_copy and self._state.catalog.mount(place.name, digest, source)

    async def _size(self, place: UpstreamRepository, digest: Digest) -> int:
        key = (place.name, digest, "size")
        try:
            ask = place.upstream.blob_size
            return await self._joined.ask(key, lambda: self._pools.run(place, ask, place.repository, digest))
        except NacreError as error:
            raise self._failed(place, digest, error) from None

    def _failed(self, place: UpstreamRepository, digest: Digest, error: NacreError) -> NacreError:
        return self._health.failed(place, digest, error, Code.BLOB_UNKNOWN)

    async def _streamed(self, request: Request, flight: BlobFlight) -> Response:
        """The answer as soon as there is a byte of it, so that a failure before is a plain refusal."""
        fd = flight.join()
        try:
            await flight.until(0)
            wanted = request.headers.get("range", "")
            try:
                span = parse_range(wanted, flight.size) if wanted else None
            except RegistryError as error:
                response = failure(error)
                response.headers["Content-Range"] = format_content_range(None, flight.size)
                flight.leave(fd)
                return response
            return StreamResponse(flight, fd, span, self._state.work)
        except BaseException:
            flight.leave(fd)
            raise

    # ── fetching ──

    def _begin(self, place: UpstreamRepository, digest: Digest) -> BlobFlight:
        file = self._state.store.temporary()
        flight = self._flights[place.name, digest] = BlobFlight(place, digest, file)

        async def run() -> None:
            try:
                await self._pools.run_blob(place, self._fetch, flight)
            except NacreError as error:
                self._log(f"{place}@{digest.short}: {error.message}")
                flight.fail(self._failed(place, digest, error))
            except Exception as error:
                flight.fail(error)
                raise
            finally:
                self._flights.pop((place.name, digest), None)
                self._ended += 1
                file.close()

        self._joined.begin((place.name, digest, "blob"), run)
        return flight

    def _fetch(self, flight: BlobFlight) -> None:
        """Fetch, verify and record a blob (in a thread). Raises NacreError."""
        place, digest = flight.place, flight.digest
        with place.upstream.blob(place.repository, digest) as stream:
            if stream.size > self._state.limits.blob:
                raise TooLarge(f"blob {digest} has {stream.size} bytes, too many")
            self._state.store.check_room()
            self._take(flight, stream)

    def _take(self, flight: BlobFlight, stream: BlobStream) -> None:
        digest, storage = flight.digest, self._state.storage
        writer = storage.upload(secrets.token_hex(16), digest.algorithm)
        try:
            with storage.adding(digest):
                self._receive(flight, stream, writer)
                self._record(flight.place, writer.commit(digest))
        except BaseException:
            writer.abort()
            raise
        finally:
            writer.close()
        flight.end(stream.size)

    def _receive(self, flight: BlobFlight, stream: BlobStream, writer: UploadWriter) -> None:
        """All of it, for who waits and for the registry."""
        began, count = time.monotonic(), 0
        while data := stream.read(_PIECE):
            writer.write(data)
            with os_errors(f"write blob {flight.digest}"):
                write_all(flight.fileno(), data)
            count += len(data)
            flight.advance(stream.size, count)
            self._check(flight, count, time.monotonic() - began)

    def _record(self, place: UpstreamRepository, placed: Placed) -> None:
        """Make it a blob of the copy. Raises ServingRefused, when a quota is used up, say."""
        try:
            if not self._cached.mark(place.name, place.upstream.rules.name):
                raise ServingRefused.by(Code.DENIED, f"{place.name} holds what was pushed: it is no copy")
            self._state.catalog.add_blob(place.name, placed)
        except BaseException as error:
            self._state.storage.drop(placed)
            if isinstance(error, RegistryError):
                raise ServingRefused(error.message, status=error.status, code=error.code) from None
            raise

    def _check(self, flight: BlobFlight, count: int, seconds: float) -> None:
        """Raises Unreachable when nobody wants it any more, or it comes too slowly."""
        if flight.is_abandoned:
            raise Unreachable("nobody waits for it any more")
        if seconds > _JUDGED and count < seconds * self._state.limits.rate:
            raise Unreachable(f"{flight.place.upstream.rules.name} sends too slowly")


def _headers(digest: Digest) -> dict[str, str]:
    return {
        "Content-Type": OCTETS, CONTENT_DIGEST: str(digest), "ETag": etag(digest), "Accept-Ranges": "bytes",
    }  # fmt: skip


class StreamResponse(Response):
    """A blob, or a span of it, that is sent while it comes. Breaks off when the upstream does, or lies."""

    def __init__(self, flight: BlobFlight, fd: int, span: Span | None, work: Work) -> None:
        super().__init__(b"", 206 if span else 200, _headers(flight.digest))
        self.headers[API_VERSION] = API_VERSION_VALUE
        self._flight, self._fd, self._work = flight, fd, work
        self._at, length = (span.start, span.length) if span else (0, flight.size)
        self._end = self._at + length
        self.headers["Content-Length"] = str(length)
        if span:
            self.headers["Content-Range"] = format_content_range(span, flight.size)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response (ASGI)."""
        try:
            start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            await send(start)
            if scope["method"] == "HEAD" or self._at == self._end:
                await send({"type": "http.response.body", "body": b""})
            else:
                await self._stream(receive, send)
        finally:
            self._flight.leave(self._fd)

    async def _stream(self, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(departure(receive))
        try:
            while self._at < self._end and not gone.done():
                there = min(await self._flight.until(self._at), self._end)
                length = min(_PIECE, there - self._at)
                piece = await self._work.run(os.pread, self._fd, length, self._at)
                self._at += len(piece)
                more = self._at < self._end
                await send({"type": "http.response.body", "body": piece, "more_body": more})
        finally:
            gone.cancel()
