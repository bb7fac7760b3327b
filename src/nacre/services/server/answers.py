"""Responses: the protocol's headers, JSON errors, and blobs sent whole or in part."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from starlette.responses import Response

from ...grammars.wire import API_VERSION, API_VERSION_VALUE, CONTENT_DIGEST, JSON
from ...grammars.wire.conditions import Conditions
from ...grammars.wire.errors import Code, encode
from ...grammars.wire.ranges import format_content_range
from ...words.errors import (
    ContentError,
    DigestMismatch,
    DiskFull,
    NacreError,
    NotFound,
    RegistryError,
    StoreError,
    TooLarge,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from ...grammars.wire.ranges import Span
    from ...stores.storage import ContentReader
    from ...words.digest import Digest
    from .work import Work

PIECE = 1 << 19
INSUFFICIENT_STORAGE = 507
_RETRY_AFTER = "60"
"""Seconds after which a client that was refused may ask again."""
_RETRY_SOON = "5"
"""And where something that the registry relies on does not answer."""


def answer(
    status: int, headers: Mapping[str, str] | None = None, body: bytes = b"", media_type: str = ""
) -> Response:
    """A response with the headers that every answer of a registry carries."""
    response = Response(body, status, headers, media_type or None)
    response.headers[API_VERSION] = API_VERSION_VALUE
    return response


def conditions_of(request: Request) -> Conditions:
    """The conditions of a request, each field joined from its lines."""
    lines = request.headers.getlist
    return Conditions(", ".join(lines("if-match")), ", ".join(lines("if-none-match")))


SPECIAL = frozenset((b"range", b"if-match", b"if-none-match", b"if-range"))
"""Headers by which a client wants less than the whole."""


def is_plain(request: Request) -> bool:
    """Does a request want the whole, whatever it has already?"""
    return SPECIAL.isdisjoint([name for name, _ in request.scope["headers"]])


def named(digest: Digest) -> tuple[tuple[bytes, bytes], ...]:
    """The headers by which content is known."""
    text = digest.encode()
    return (_DIGEST, text), (b"etag", b'"%s"' % text), _VERSION


_DIGEST = CONTENT_DIGEST.lower().encode()
_VERSION = (API_VERSION.lower().encode(), API_VERSION_VALUE.encode())


class Ready(Response):
    """A whole answer whose headers are bytes already: what most requests get, in a fifth of the time."""

    def __init__(self, headers: tuple[tuple[bytes, bytes], ...], size: int, body: bytes) -> None:
        self.status_code, self.body, self.background = 200, body, None
        self.raw_headers = [*headers, (b"content-length", b"%d" % size)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response (ASGI)."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body})


def failure(error: Exception, request: str = "") -> Response:
    """The answer to any exception: status and code by its kind, never its traceback; with the id of the
    request where the log of the registry says more.
    """
    status, code, message = _judge(error)
    headers = error.headers if isinstance(error, RegistryError) else None
    hint = error.hint if isinstance(error, RegistryError) else ""
    detail = {"request": request} if status >= 500 and request else {"hint": hint} if hint else None
    response = answer(status, headers, encode(code, message, detail), JSON)
    if status in (408, 413):
        response.headers["Connection"] = "close"
    if status in (429, 503):
        response.headers.setdefault("Retry-After", _RETRY_SOON if status == 503 else _RETRY_AFTER)
    return response


def _judge(error: Exception) -> tuple[int, str, str]:
    if isinstance(error, RegistryError):
        return error.status, error.code, error.message
    for kind, code, status in _KINDS:
        if isinstance(error, kind):
            return status, code.name, error.message
    if isinstance(error, DiskFull):
        return INSUFFICIENT_STORAGE, Code.UNAVAILABLE.name, "no space left on the registry's disk"
    if isinstance(error, Unavailable):
        return 503, Code.UNAVAILABLE.name, "the registry's storage does not answer: try again later"
    # what went wrong inside is for the operator's log: paths of this machine are nobody else's business
    return 500, Code.UNKNOWN.name, "the registry failed; see its log"


_KINDS: tuple[tuple[type[NacreError], Code, int], ...] = (
    (DigestMismatch, Code.DIGEST_INVALID, 400),
    (TooLarge, Code.SIZE_INVALID, 413),
    (ContentError, Code.MANIFEST_INVALID, 400),
    (NotFound, Code.BLOB_UNKNOWN, 404),
)


class _ContentResponse(Response):
    """A blob of `size` bytes, or a span of it."""

    def __init__(self, size: int, span: Span | None, headers: Mapping[str, str]) -> None:
        super().__init__(b"", 206 if span else 200, headers)
        self.headers[API_VERSION] = API_VERSION_VALUE
        self.headers["Content-Length"] = str(span.length if span else size)
        if span:
            self.headers["Content-Range"] = format_content_range(span, size)
        self._start, self._length = (span.start, span.length) if span else (0, size)
        self._whole = span is None

    def _head(self) -> dict[str, object]:
        return {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}


class ObjectResponse(_ContentResponse):
    """What `reader` gives, which is closed at the end. Nothing is sent before the first piece is there: what
    fails until then is answered properly, and later the connection breaks.
    """

    def __init__(
        self, reader: ContentReader, size: int, span: Span | None, headers: Mapping[str, str], work: Work
    ) -> None:
        super().__init__(size, span, headers)
        self._reader, self._work = reader, work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response (ASGI)."""
        gone = asyncio.create_task(departure(receive))
        try:
            piece = await self._work.run(self._reader.read)
            await send(self._head())
            left = self._length
            while piece and not gone.done():
                left -= len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": left > 0})
                piece = await self._work.run(self._reader.read)
            if not self._length:
                await send({"type": "http.response.body", "body": b""})
        except DigestMismatch as error:  # of ours, not of the client's
            raise StoreError(error.message) from error
        finally:
            gone.cancel()
            self._reader.close()


class FileResponse(_ContentResponse):
    """The file `path` of `size` bytes, or a span of it.

    The whole goes by the server's own means where it can (`http.response.pathsend`, which copies
    nothing through Python); a span is read in threads, a piece at a time.
    """

    def __init__(
        self, path: str, size: int, span: Span | None, headers: Mapping[str, str], work: Work
    ) -> None:
        super().__init__(size, span, headers)
        self._path, self._work = path, work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response (ASGI)."""
        start = self._head()
        if scope["method"] == "HEAD" or not self._length:
            await send(start)
            await send({"type": "http.response.body", "body": b""})
        elif self._whole and "http.response.pathsend" in scope.get("extensions", {}):
            await send(start)
            await send({"type": "http.response.pathsend", "path": self._path})
        else:
            await self._stream(start, receive, send)

    async def _stream(self, start: dict[str, object], receive: Receive, send: Send) -> None:
        file = await self._work.run(os.open, self._path, os.O_RDONLY | os.O_CLOEXEC)
        # to a client that is gone, `send` succeeds: without a look-out all the rest would be read for nobody
        gone = asyncio.create_task(departure(receive))
        try:
            await send(start)
            offset, left = self._start, self._length
            while left and not gone.done():
                piece = await self._work.run(os.pread, file, min(PIECE, left), offset)
                offset, left = offset + len(piece), left - len(piece)
                if not piece:
                    raise StoreError(f"{self._path} was truncated")
                await send({"type": "http.response.body", "body": piece, "more_body": left > 0})
        finally:
            gone.cancel()
            os.close(file)


async def departure(receive: Receive) -> None:
    """Ends when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
