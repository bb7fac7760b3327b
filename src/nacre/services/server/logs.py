"""What a registry says of itself and of requests: lines of text, or of JSON.

    text   127.0.0.1 "GET /v2/app/manifests/1" 200 561 0.4ms
    json   {"time":"2026-01-31T12:00:00.123Z","level":"info","message":"request","id":"0f3a…",…}

A request has an id, its client's (`X-Request-Id`) if that is sane: it is in the answer, in the log, and in
the body of an error that is the registry's own.
"""

from __future__ import annotations

import os
import re
import time
from itertools import count
from typing import TYPE_CHECKING, Protocol

from ...words.oci import encode_json
from .access.identity import identity_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.types import Message, Scope, Send

    Line = Callable[[str], object]

    class ResponseInfo(Protocol):
        """What was sent for a request: `size` in bytes, if it is known."""

        @property
        def id(self) -> bytes: ...  # noqa: D102

        @property
        def status(self) -> int: ...  # noqa: D102

        @property
        def size(self) -> int: ...  # noqa: D102

        @property
        def is_sized(self) -> bool: ...  # noqa: D102


ROUTE = "nacre.route"
"""In the scope of a request: the Route, or the path of an application; nothing where there is none."""
ID = b"x-request-id"
_SANE = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")
_LINE = 2000


class Observed:
    """`send`, with an eye on the status and the size. `last`: the connection ends with the response."""

    def __init__(self, send: Send, id: bytes, *, last: bool) -> None:
        self._send, self.id, self._last = send, id, last
        self.status, self.size, self.is_sized = 0, 0, False

    async def __call__(self, message: Message) -> None:
        """Send a message (ASGI)."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            for name, value in message["headers"]:
                if name == b"content-length":
                    self.size, self.is_sized = int(value), True
            more = ((ID, self.id), (b"connection", b"close")) if self._last else ((ID, self.id),)
            message = {**message, "headers": [*message["headers"], *more]}
        await self._send(message)


class RegistryLog:
    """`failures` takes a line for each failure of the registry itself, `requests` one for each request and
    for what else goes on (None: nobody wants them); both without newline.
    """

    def __init__(self, failures: Line, requests: Line | None, *, json: bool = False) -> None:
        self._failures, self._requests, self._json = failures, requests, json
        self._process, self._numbers = os.urandom(4).hex().encode(), count()

    def id_of(self, scope: Scope) -> bytes:
        """The id of a request: its own, or a new one."""
        given = (value for name, value in scope["headers"] if name == ID and _SANE.fullmatch(value))
        return self.id(next(given, None))

    def id(self, given: bytes | None) -> bytes:
        """What a client has given, if it is sane, or a new one. From any thread."""
        if given is not None and _SANE.fullmatch(given):
            return given
        return b"%s%08x" % (self._process, next(self._numbers))

    @property
    def wants_requests(self) -> bool:
        """Is there a line for each request?"""
        return self._requests is not None

    def failed(self, text: str) -> None:
        """Something that the operator should see to."""
        self._failures(self._encoded("error", text) if self._json else printable(f"error: {text}"))

    def noted(self, text: str) -> None:
        """Something that the operator should know."""
        self._failures(self._encoded("info", text) if self._json else printable(text))

    def said(self, text: str) -> None:
        """Something that went on beside the requests."""
        if self._requests:
            self._requests(self._encoded("info", text) if self._json else printable(text))

    def request(self, request: Request, seen: ResponseInfo, seconds: float) -> None:
        """A request is over. From any thread."""
        if self._requests:
            line = self._fields(request, seen, seconds) if self._json else _text(request, seen, seconds)
            self._requests(line)

    def _encoded(self, level: str, message: str, **fields: object) -> str:
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
        return encode_json({"time": stamp, "level": level, "message": message, **fields}).decode()

    def _fields(self, request: Request, seen: ResponseInfo, seconds: float) -> str:
        level = "error" if seen.status >= 500 else "info"
        return self._encoded(
            level, "request", id=seen.id.decode(), client=_client(request), method=request.method[:20],
            target=_target(request)[:_LINE], status=seen.status, bytes=seen.size,
            milliseconds=round(seconds * 1000, 1), **_who(request),
        )  # fmt: skip


def _who(request: Request) -> dict[str, object]:
    """Whose request, and to which repository, as far as there is one."""
    identity = identity_of(request)
    name = getattr(request.scope.get(ROUTE), "name", "")
    user = identity.account.name if identity and identity.account else ""
    return ({"user": user} if user else {}) | ({"repository": name} if name else {})


def _text(request: Request, seen: ResponseInfo, seconds: float) -> str:
    status, size = seen.status or "lost", seen.size if seen.is_sized else "-"
    line = f'{_client(request)} "{request.method} {_target(request)}" {status} {size} {seconds * 1000:.1f}ms'
    user = _who(request).get("user", "")
    return printable(f"{line} {user}" if user else line)


def _client(request: Request) -> str:
    return request.client.host if request.client else "-"


def _target(request: Request) -> str:
    path = request.scope.get("raw_path", b"").decode("latin-1")
    query = request.scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else str(path)


def printable(line: str) -> str:
    """One line without control characters: what a client sends ends on a terminal."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in line[:_LINE])
