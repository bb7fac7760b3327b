"""Sending a blob.

    small   POST ──► Location ──► PUT ?digest= with the content
    large   POST ──► Location ──► PATCH (the whole rest) ──► PUT ?digest=
                                    │ broken off
                                    └─ GET Location: how much is there ──► PATCH from there
                                       404, or nothing sensible        ──► begin again

One long PATCH instead of chunks, because several large registries know nothing else, and the state
that a registry gives in `Range` lets it be resumed where the registry keeps it. Each answer may move
the Location; the newest counts. Source: distribution-spec v1.1, "Pushing blobs".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from ...grammars.wire import OCTETS, routes
from ...grammars.wire.links import upload_location, with_query
from ...grammars.wire.ranges import Span, format_chunk, parse_received
from ...words.errors import NacreError, NotFound, RegistryError
from .retry import Retry, Transient
from .session import Session
from .transport import Request, Response, Stream

if TYPE_CHECKING:
    from ...images.source import Content
    from ...words.oci import Descriptor

SMALL = 4 * 1024 * 1024
"""Up to this size a blob goes in one request: to resume it would cost as much as to repeat it."""


_ELSEWHERE = frozenset({409, 416})
"""The registry is still busy with the connection that broke, or has another count of bytes."""
_CLIENT_ERRORS = range(400, 500)


class Uploads:
    """The uploads of one repository; safe to use from many threads."""

    def __init__(self, session: Session, repository: str, scopes: Iterable[str]) -> None:
        self._session, self._repository, self._scopes = session, repository, tuple(scopes)

    def put(self, descriptor: Descriptor, opener: Callable[[], Content], location: str = "") -> None:
        """Send a blob; `location` is an upload that is open already. Raises RegistryError."""
        retry = self._session.retry()
        while True:
            try:
                location = location or self.begin(retry)
                return self._send(descriptor, opener, location, retry)
            except Transient as failure:
                location = ""
                retry.again(failure)

    def begin(self, retry: Retry | None = None) -> str:
        """Open an upload and return its location."""
        with self._session.open(
            "POST", routes.uploads(self._repository), self._what("an upload"), scopes=self._scopes, ok=(202,),
            headers={"Content-Length": "0"}, retry=retry,
        ) as response:  # fmt: skip
            return _location(response)

    def mount(self, digest: str, source: str, scopes: Iterable[str]) -> str:
        """Ask for a blob of the repository `source`: "" when it was taken over, else the location of the
        upload that the registry opened instead.
        """
        path = routes.uploads(self._repository, mount=digest, source=source)
        with self._session.open(
            "POST", path, self._what("a mount"), scopes=(*self._scopes, *scopes), ok=(201, 202),
            headers={"Content-Length": "0"},
        ) as response:  # fmt: skip
            return "" if response.status == 201 else _location(response)

    def cancel(self, location: str) -> None:
        """Close an upload that is not needed; whether that works does not matter."""
        with suppress(NacreError, Transient):
            self._once(Request("DELETE", location), "an upload", (204, 202, 200)).close()

    def _send(self, d: Descriptor, opener: Callable[[], Content], location: str, retry: Retry) -> None:
        if d.size <= SMALL:
            return self._finish(d, location, Stream(opener, d.size))
        location = self._patch(d, opener, location, retry)
        return self._finish(d, location, b"")

    def _patch(self, d: Descriptor, opener: Callable[[], Content], location: str, retry: Retry) -> str:
        """Send the content until the registry has all of it; the location for what comes after."""
        offset = 0
        while offset < d.size:
            try:
                with self._chunk(Stream(opener, d.size, offset), location) as response:
                    location, offset = _location(response), _received(response, d.size)
            except Transient as failure:
                retry.again(failure)
                location, there = self._status(location, d, failure)
                retry.progress(max(0, there - offset))
                offset = there
        return location

    def _chunk(self, body: Stream, location: str) -> Response:
        headers = {"Content-Type": OCTETS}
        if body.start:
            headers["Content-Range"] = format_chunk(Span(body.start, body.size - 1))
        request = Request("PATCH", location, headers, body)
        try:
            return self._once(request, "a chunk", (202, 204, 201))
        except RegistryError as error:
            if error.status in _ELSEWHERE or (body.start and error.status in _CLIENT_ERRORS):
                raise Transient(error) from None
            raise

    def _status(self, location: str, d: Descriptor, failure: Transient) -> tuple[str, int]:
        """Where a broken upload stands. Raises Transient (begin again) when the registry cannot say."""
        try:
            with self._once(Request("GET", location), "an upload", (204, 202, 200)) as response:
                received = parse_received(response.headers.get("range", ""))
                newer = response.headers.get("location", "")
                if received > d.size:
                    raise failure
                return (upload_location(response.url, newer) if newer else location), received
        except NacreError:
            raise failure from None

    def _finish(self, d: Descriptor, location: str, body: Stream | bytes) -> None:
        headers = {"Content-Type": OCTETS} if body else {"Content-Length": "0"}
        request = Request("PUT", with_query(location, digest=d.digest), headers, body or None)
        self._once(request, f"blob {d.digest.short}", (201, 204)).close()

    def _once(self, request: Request, thing: str, ok: tuple[int, ...]) -> Response:
        """One attempt; an upload that the registry has forgotten means to begin again."""
        try:
            return self._session.once(request, self._what(thing), scopes=self._scopes, ok=ok)
        except NotFound as error:
            lost = RegistryError(f"{self._session.registry} lost the upload: {error.message}", status=404)
            raise Transient(lost) from None

    def _what(self, thing: str) -> str:
        return f"{thing} of {self._repository}"


def _location(response: Response) -> str:
    return upload_location(response.url, response.headers.get("location", ""))


def _received(response: Response, size: int) -> int:
    """How much a registry has after a chunk of the whole rest; one that does not say has it all."""
    try:
        return min(parse_received(response.headers.get("range", "")), size) or size
    except RegistryError:
        return size
