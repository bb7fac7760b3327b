"""Sending a blob.

    tiny    POST ?digest= with the content                    where the registry knows that, else as small
    small   POST ──► Location ──► PUT ?digest= with the content
    large   POST ──► Location ──► PATCH (the whole rest) ──► PUT ?digest=
                                    │ broken off
                                    └─ GET Location: how much is there ──► PATCH from there
                                       404, or nothing sensible        ──► begin again

One long PATCH instead of chunks, because several large registries know nothing else, and the state
that a registry gives in `Range` lets it be resumed where the registry keeps it, also by another process
(`kept`). Where a body is too long for what stands before the registry (413), it goes in chunks. Each
answer may move the Location; the newest counts. Source: distribution-spec v1.1, "Pushing blobs".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ...grammars.wire import OCI_CHUNK_MIN_LENGTH, OCTETS, routes
from ...grammars.wire.links import check_downgrade, upload_location, with_query
from ...grammars.wire.ranges import Span, format_chunk, parse_received
from ...ground.files import trace
from ...words.errors import NacreError, NotFound, RegistryError, Unauthorized
from .retry import Retry, Transient
from .session import SUCCESS, Session
from .transport import Request, Response, Stream
from .uploadrecords import NoUploadRecords

if TYPE_CHECKING:
    from ...images.model.source import Content
    from ...words.oci import Descriptor
    from .uploadrecords import Kept, UploadRecord

TINY = 64 * 1024
"""Up to this size a blob may be sent twice to save a round trip."""
SMALL = 4 * 1024 * 1024
"""Up to this size a blob goes in one request: to resume it would cost as much as to repeat it."""


_ELSEWHERE = frozenset({409, 416})
"""The registry is still busy with the connection that broke, or has another count of bytes."""
_CLIENT_ERRORS = range(400, 500)
_CHUNK = 16 * 1024 * 1024
_TOO_LONG = 413
_TELLING = frozenset({401, 403, 404, 429})
"""Statuses that say the same of every way to upload."""


class UploadLost(Transient):
    """The registry knows nothing of an upload, or nothing that helps: it has to begin again."""


class Uploads:
    """The uploads of one repository; safe to use from many threads."""

    def __init__(
        self, session: Session, repository: str, scopes: Iterable[str], kept: Kept | None = None
    ) -> None:
        self._session, self._repository, self._scopes = session, repository, tuple(scopes)
        self._kept = kept or NoUploadRecords()
        self._whole, self._chunk, self._least = True, 0, 0

    def put(self, descriptor: Descriptor, opener: Callable[[], Content], location: str = "") -> None:
        """Send a blob; `location` is an upload that is open already. Raises RegistryError."""
        if descriptor.size <= TINY and not location:
            done, location = self._at_once(descriptor, opener)
            if done:
                return None
        if descriptor.size <= SMALL:
            return self._put(descriptor, opener, location, NoUploadRecords().hold("", ""))
        entry = self._kept.hold(f"{self._session.registry}/{self._repository}", descriptor.digest)
        try:
            return self._put(descriptor, opener, location, entry)
        finally:
            entry.close()

    def _put(self, d: Descriptor, opener: Callable[[], Content], location: str, entry: UploadRecord) -> None:
        retry = self._session.retry()
        location, offset = (location, 0) if location else self._left_off(entry, d)
        while True:
            try:
                location = location or self.begin(retry)
                self._send(d, opener, location, retry, entry, offset)
                return entry.set("")
            except Transient as failure:
                entry.set("")
                location, offset = "", 0
                retry.again(failure)

    def _left_off(self, entry: UploadRecord, d: Descriptor) -> tuple[str, int]:
        """The upload that an earlier process began, and how much is there; ("", 0) if it is lost."""
        if not entry.location:
            return "", 0
        try:
            check_downgrade(self._session.url("/"), entry.location)
            return self._status(entry.location, d)
        except (Transient, NacreError):
            entry.set("")
            return "", 0

    def _at_once(self, d: Descriptor, opener: Callable[[], Content]) -> tuple[bool, str]:
        """Try one request for all: done, or the location of the upload that it opened instead."""
        if not self._whole:
            return False, ""
        path = routes.uploads(self._repository, digest=d.digest)
        request = Request("POST", path, {"Content-Type": OCTETS}, Stream(opener, d.size))
        try:
            with self._session.open(
                request, self._what("an upload"), scopes=self._scopes, ok=SUCCESS
            ) as response:
                if _is_done(response):
                    return True, ""
                self._whole = False
                return False, _location(response) if "location" in response.headers else ""
        except RegistryError as error:
            if error.status in _TELLING or not error.status:
                raise
            self._whole = False
            return False, ""

    def begin(self, retry: Retry | None = None) -> str:
        """Open an upload and return its location."""
        path, what = routes.uploads(self._repository), self._what("an upload")
        request = Request("POST", path, {"Content-Length": "0"})
        with self._session.suspecting(), self._session.open(
            request, what, scopes=self._scopes, ok=SUCCESS, retry=retry
        ) as response:  # fmt: skip
            if "location" not in response.headers:
                self._session.checked(response, what)
            least = response.headers.get(OCI_CHUNK_MIN_LENGTH.lower(), "")
            self._least = int(least) if least.isdecimal() and len(least) < 12 else 0
            return _location(response)

    def mount(self, digest: str, source: str, scopes: Iterable[str]) -> str:
        """Ask for a blob of the repository `source`: "" when it was taken over, else the location of the
        upload that the registry opened instead.
        """
        path = routes.uploads(self._repository, mount=digest, source=source)
        request = Request("POST", path, {"Content-Length": "0"})
        with self._session.open(
            request, self._what("a mount"), scopes=(*self._scopes, *scopes), ok=SUCCESS
        ) as response:
            return "" if _is_done(response) else _location(response)

    def cancel(self, location: str) -> None:
        """Close an upload that is not needed; whether that works does not matter."""
        with suppress(NacreError, Transient):
            self._once(Request("DELETE", location), "an upload").close()

    def _send(
        self, d: Descriptor, opener: Callable[[], Content], location: str, retry: Retry, entry: UploadRecord,
        offset: int,
    ) -> None:  # fmt: skip
        if d.size <= SMALL:
            return self._finish(d, location, Stream(opener, d.size))
        entry.set(location)
        trace("upload:begun")
        location = self._patch(d, opener, location, retry, entry, offset)
        trace("upload:sent")
        return self._finish(d, location, b"")

    def _patch(
        self, d: Descriptor, opener: Callable[[], Content], location: str, retry: Retry, entry: UploadRecord,
        offset: int,
    ) -> str:  # fmt: skip
        """Send the content until the registry has all of it; the location for what comes after."""
        while offset < d.size:
            body = self._body(opener, d.size, offset)
            end = offset + body.length
            try:
                with self._send_chunk(body, location) as response:
                    location, there = _location(response), _received(response, end)
                if there < end:
                    raise Transient(self._short(there, end))
            except Transient as failure:
                retry.again(failure)
                location, there = self._stands(location, d, retry)
                retry.progress(max(0, there - offset))
            offset = there
            entry.set(location)
        return location

    def _short(self, there: int, sent: int) -> RegistryError:
        return RegistryError(f"{self._session.registry} took {there} of {sent} bytes of a blob")

    def _body(self, opener: Callable[[], Content], size: int, offset: int) -> Stream:
        """What goes next: the whole rest, or a chunk."""
        step = max(self._chunk, self._least) if self._chunk else size
        return Stream(opener, size, offset, min(offset + step, size))

    def _send_chunk(self, body: Stream, location: str) -> Response:
        headers = {"Content-Type": OCTETS}
        if body.start or self._chunk:
            headers["Content-Range"] = format_chunk(Span(body.start, body.start + body.length - 1))
        request = Request("PATCH", location, headers, body)
        try:
            return self._once(request, "a chunk")
        except RegistryError as error:
            if error.status == _TOO_LONG and not self._chunk:
                self._chunk = _CHUNK
                raise Transient(error, after=0.0) from None
            if error.status in _ELSEWHERE or (body.start and error.status in _CLIENT_ERRORS):
                raise Transient(error) from None
            raise

    def _stands(self, location: str, d: Descriptor, retry: Retry) -> tuple[str, int]:
        """Where a broken upload stands, asked until the line is back. Raises Lost (begin again)."""
        while True:
            try:
                return self._status(location, d)
            except UploadLost:
                raise
            except Transient as failure:
                retry.again(failure)

    def _status(self, location: str, d: Descriptor) -> tuple[str, int]:
        """Where an upload stands. Raises Lost when the registry cannot say, Transient for what may pass."""
        try:
            with self._once(Request("GET", location), "an upload") as response:
                received = parse_received(response.headers.get("range", ""))
                newer = response.headers.get("location", "")
                if received > d.size:
                    raise UploadLost(
                        RegistryError(f"{self._session.registry} has more bytes of a blob than were sent")
                    )
                return (upload_location(response.url, newer) if newer else location), received
        except NacreError as error:
            raise UploadLost(error) from None

    def _finish(self, d: Descriptor, location: str, body: Stream | bytes) -> None:
        headers = {"Content-Type": OCTETS} if body else {"Content-Length": "0"}
        request = Request("PUT", with_query(location, digest=d.digest), headers, body or None)
        with self._once(request, f"blob {d.digest.short}") as response:
            usual = response.status == 201
        if not usual:
            self._confirm(d)

    def _confirm(self, d: Descriptor) -> None:
        """What answers any request with success may be no registry: ask whether the blob is there."""
        what = self._what(f"blob {d.digest.short}")
        try:
            self._session.look(routes.blob(self._repository, d.digest), what, self._scopes).close()
        except NotFound:
            registry = self._session.registry
            raise RegistryError(f"{registry} accepted {what} but does not have it") from None
        except Unauthorized:
            pass  # whoever may push need not be allowed to pull

    def _once(self, request: Request, thing: str) -> Response:
        """One attempt; an upload that the registry has forgotten means to begin again."""
        try:
            return self._session.once(request, self._what(thing), scopes=self._scopes, ok=SUCCESS)
        except NotFound as error:
            lost = RegistryError(f"{self._session.registry} lost the upload: {error.message}", status=404)
            raise UploadLost(lost) from None

    def _what(self, thing: str) -> str:
        return f"{thing} of {self._repository}"


def _is_done(response: Response) -> bool:
    """Did a POST that could end the upload end it? 201 says so, 202 denies it; else the Location tells."""
    path = urlsplit(response.headers.get("location", "")).path
    ended = "/blobs/" in path and "/uploads/" not in path
    return response.status == 201 or (response.status != 202 and ended)


def _location(response: Response) -> str:
    return upload_location(response.url, response.headers.get("location", ""))


def _received(response: Response, size: int) -> int:
    """How much a registry has after a chunk of the whole rest; one that does not say has it all."""
    try:
        return min(parse_received(response.headers.get("range", "")), size) or size
    except RegistryError:
        return size
