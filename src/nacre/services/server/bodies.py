"""Request bodies: bounded in size, in time, and streamed without ever holding more than two pieces."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from ...grammars.wire.errors import Code, refusal
from ...words.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from concurrent.futures import Executor
    from typing import Self

    from starlette.requests import Request

PIECE = 1 << 18
"""Small pieces of a body are gathered up to this many bytes, so that a thread is worth its wake-up."""
_LEFTOVER, _LINGER = 4 << 20, 1.0


class ClientDisconnected(Exception):
    """The client is gone; nobody waits for an answer."""


class Body:
    """The body of a request. A pause of more than `patience` seconds ends it, and so does a client that keeps
    us waiting for that long and more than a second for each `rate` bytes.

    `length` is its Content-Length, None when it comes in chunks; HTTP's framing is checked below
    (granian), so a body that ends early shows as `ClientDisconnected`, never as a short body.
    """

    @classmethod
    def of(cls, request: Request) -> Self:
        """The one body of this request: whoever asks again goes on where the last one stopped."""
        return request.scope.setdefault("nacre.body", None) or cls(request)

    def __init__(self, request: Request) -> None:
        request.scope["nacre.body"] = self
        self.patience, self.rate = 30.0, 1024
        self._waited, self._count = 0.0, 0
        self._receive, self._ended = request.receive, False
        self._polite = "expect" in request.headers
        text = request.headers.get("content-length", "")
        self.length = int(text) if text.isascii() and text.isdigit() else None
        if self.length is None and "transfer-encoding" not in request.headers:
            self.length, self._ended = 0, True
        self._ended = self._ended or self.length == 0

    @property
    def count(self) -> int:
        """Bytes of the body that have come so far."""
        return self._count

    async def pieces(self) -> AsyncIterator[bytearray]:
        """The body in pieces. Raises Lost, and RegistryError (408) when nothing comes any more; what
        came before is given first.
        """
        gathered = bytearray()
        failed: Exception | None = None
        while not self._ended and failed is None:
            try:
                gathered += await self._next()
            except (ClientDisconnected, RegistryError) as error:
                failed = error
            if len(gathered) >= PIECE or (gathered and (self._ended or failed)):
                yield gathered
                gathered = bytearray()
        if failed:
            raise failed

    async def _next(self) -> bytes:
        began = time.monotonic()
        allowed = self.patience + self._count / self.rate - self._waited
        try:
            async with asyncio.timeout(min(self.patience, allowed)):
                message = await self._receive()
        except TimeoutError:
            few = allowed < self.patience
            text = f"no data received for {self.patience:g} seconds"
            text = f"less than {self.rate} bytes received per second" if few else text
            raise refusal(Code.BLOB_UPLOAD_INVALID, text, status=408) from None
        self._waited += time.monotonic() - began
        if message["type"] != "http.request":
            self._ended = True
            raise ClientDisconnected
        self._ended = not message.get("more_body", False)
        body: bytes = message.get("body", b"")
        self._count += len(body)
        return body

    async def read(self, limit: int) -> bytes:
        """All of it. Raises RegistryError (413) as soon as it is over `limit` bytes, Lost."""
        if self.length is not None and self.length > limit:
            raise refusal(Code.SIZE_INVALID, f"body of {self.length} bytes, not over {limit}", status=413)
        gathered = bytearray()
        async for piece in self.pieces():
            gathered += piece
            if len(gathered) > limit:
                raise refusal(Code.SIZE_INVALID, f"body of more than {limit} bytes", status=413)
        return bytes(gathered)

    async def pour(self, pool: Executor, write: Callable[[bytearray], object], most: int) -> int:
        """Write it piece by piece in a thread while the next piece comes; gives the bytes written.

        Raises RegistryError SIZE_INVALID at the first piece that goes over `most`, what `write` raises,
        and Lost. Whatever happens, no write is under way when this returns.
        """
        count = 0
        writing: asyncio.Future[object] | None = None
        try:
            async for piece in self.pieces():
                count += len(piece)
                if count > most:
                    raise refusal(Code.SIZE_INVALID, f"body of more than {most} bytes", status=413)
                if writing:
                    await asyncio.shield(writing)
                writing = asyncio.get_running_loop().run_in_executor(pool, write, piece)
        finally:
            if writing:
                await asyncio.wait({writing})
        if writing:
            writing.result()
        return count

    async def linger(self) -> None:
        """Read what is left, a little and for a moment: a client that still sends would otherwise meet
        a reset connection before it meets the answer (RFC 9112, 9.6).
        """
        count = 0
        try:
            async with asyncio.timeout(_LINGER):
                while not self._ended and not self._polite and count < _LEFTOVER:
                    count += len(await self._next())
        except (Exception, TimeoutError):
            self._ended = True
