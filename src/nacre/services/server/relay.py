"""TLS for clients that show a certificate, in front of the HTTP server, which does not tell whose it is.

    client ── TLS ──► relay ── 127.x.y.z ──► HTTP server on 127.0.0.1 ──► Behind ──► registry

The relay ends TLS and passes bytes on, without a look at them: it knows nothing of HTTP, so no header can be
forged and no request be mistaken for another one. Each connection that it makes has a loopback address of
its own (of 16 million), by which a request is known to belong to a client. What others on this machine send
to the HTTP server comes from an address that is not known, and is refused.

It has an event loop in a thread of its own, as encryption takes time that the registry needs.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress
from fcntl import ioctl
from itertools import count
from struct import unpack
from termios import FIONREAD
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp, Receive, Scope, Send

    Field = tuple[str, str]

CERTIFICATE = "nacre.certificate"
"""In the scope of a request: the PeerCertificate, where the client has shown one."""
_BACKLOG = 1024
_HANDSHAKE, _GOODBYE = 10.0, 5.0
"""Seconds that a client may take for it."""
_AGAIN = 0.05
_LAST_TURNS = 5
"""Of the event loop, in which transports that are given up close their sockets."""
_TOLD_EVERY = 60.0
_BUFFER = 256 << 10
_KINDS = {"DNS": "dns", "email": "email", "URI": "uri"}


class PeerCertificate(NamedTuple):
    """What the certificate of a client says, which has been verified: fields by kind (`cn`, `dns`, `email`,
    `uri`, `sha256`), the checksum of the whole, and when it ends (seconds since 1970).
    """

    fields: tuple[Field, ...]
    checksum: str
    until: float

    @classmethod
    def of(cls, connection: ssl.SSLObject) -> PeerCertificate | None:
        """None where the client has shown none."""
        whole, said = connection.getpeercert(binary_form=True), connection.getpeercert()
        if not whole or not said:
            return None
        checksum = hashlib.sha256(whole).hexdigest()
        until = ssl.cert_time_to_seconds(str(said["notAfter"]))
        return cls((*_fields(said), ("sha256", checksum)), checksum, float(until))


def _fields(said: object) -> Iterator[Field]:
    assert isinstance(said, dict)
    for part in said.get("subject", ()):
        yield from (("cn", value) for name, value in part if name == "commonName")
    for kind, value in said.get("subjectAltName", ()):
        if kind in _KINDS:
            yield _KINDS[kind], value


class Peer:
    """A client of the relay, at `address`; `is_stale` when authorities have changed since it was verified."""

    def __init__(self, address: tuple[str, int], certificate: PeerCertificate | None) -> None:
        self.address, self.certificate = address, certificate
        self.is_stale, self._running = False, 0

    @property
    def is_idle(self) -> bool:
        """Has it no request that is under way?"""
        return not self._running

    @contextmanager
    def served(self) -> Iterator[None]:
        """While one of its requests is."""
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1


class TlsRelay:
    """Takes connections from `listening`, `most` at a time, and makes them to `inside`, on which an HTTP
    server is to serve `Behind`. `note` takes a line for why clients are refused, from another thread.
    """

    def __init__(
        self, listening: socket.socket, context: ssl.SSLContext, most: int, note: Callable[[str], object]
    ) -> None:
        self._listening, self._context, self._note = listening, context, note
        self.inside = _loopback()
        self._peers: dict[tuple[str, int], Peer] = {}
        self._connections: dict[Peer, _PipedConnection] = {}
        self._numbers, self._told = count(2), dict[str, float]()
        self._most, self._tasks = most, set[asyncio.Task[None]]()
        self._open = set[_PipedConnection]()
        self._loop = asyncio.new_event_loop()
        self._accepting: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._main, name="nacre-tls", daemon=True)
        self._thread.start()

    def peer(self, address: tuple[str, int]) -> Peer | None:
        """Whose a connection to `inside` is; None for a stranger's."""
        return self._peers.get(address)

    def renew(self, context: ssl.SSLContext, *, verify_again: bool) -> None:
        """Use this one for new connections; with `verify_again` those that are there end soon."""
        self._context = context
        if verify_again:
            self._loop.call_soon_threadsafe(self._make_stale)

    def _make_stale(self) -> None:
        for peer, connection in list(self._connections.items()):
            peer.is_stale = True
            if peer.is_idle:
                connection.close()

    def is_sending(self) -> bool:
        """Is there anything that was not passed on yet? From any thread."""
        return any(connection.is_sending() for connection in list(self._connections.values()))

    def refuse(self) -> None:
        """Accept nothing more from now on."""
        with suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._refuse)

    def _refuse(self) -> None:
        if self._accepting:
            self._accepting.cancel()

    def close(self) -> None:
        """Break off what there is, and end the thread."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self.inside.close()

    # in the thread

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.set_exception_handler(lambda _loop, found: self._tell(f"error: {found['message']}"))
        self._accepting = self._loop.create_task(self._accept())
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        for connection in list(self._open):
            connection.abort()
        for _ in range(_LAST_TURNS):
            self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _accept(self) -> None:
        room = asyncio.Semaphore(self._most)
        while True:
            await room.acquire()
            try:
                client, address = await self._loop.sock_accept(self._listening)
            except OSError:  # too many files, say
                room.release()
                await asyncio.sleep(_AGAIN)
                continue
            task = self._loop.create_task(self._serve(client, address[:2]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _ended: room.release())

    async def _serve(self, client: socket.socket, address: tuple[str, int]) -> None:
        connection = _PipedConnection(self._open)
        try:
            outside, _ = await self._loop.connect_accepted_socket(
                lambda: connection.outer, client, ssl=self._context, ssl_handshake_timeout=_HANDSHAKE,
                ssl_shutdown_timeout=_GOODBYE,
            )  # fmt: skip
        except (OSError, asyncio.CancelledError) as error:
            client.close()
            self._open.discard(connection)
            if isinstance(error, asyncio.CancelledError):
                raise
            self._refused(error)
            return
        peer = Peer(address, PeerCertificate.of(outside.get_extra_info("ssl_object")))
        try:
            await self._pass(peer, connection)
        except OSError as error:
            self._tell(f"error: the HTTP server does not answer: {error}")
        finally:
            connection.close()

    async def _pass(self, peer: Peer, connection: _PipedConnection) -> None:
        """Until either end is closed."""
        with _bound(self._source()) as inner:
            key = inner.getsockname()
            self._peers[key], self._connections[peer] = peer, connection
            try:
                await self._loop.sock_connect(inner, self.inside.getsockname())
                # the loop of the thread takes it, and closes it
                await self._loop.create_connection(lambda: connection.inner, sock=inner.dup())
                await connection.ended.wait()
            finally:
                del self._peers[key], self._connections[peer]

    def _source(self) -> str:
        """A loopback address that no connection has had for a long time."""
        number = next(self._numbers) % (1 << 24) or 2
        return f"127.{number >> 16}.{number >> 8 & 255}.{number & 255}"

    def _refused(self, error: OSError) -> None:
        """Of handshakes that fail the operator hears of the certificates alone: others are noise."""
        if isinstance(error, ssl.SSLCertVerificationError):
            self._tell(f"a client certificate was refused: {error.verify_message}")

    def _tell(self, line: str) -> None:
        now = time.monotonic()
        if now - self._told.get(line, -_TOLD_EVERY) >= _TOLD_EVERY and len(self._told) < 100:
            self._told[line] = now
            self._note(line)


class _PipedConnection:
    """Two ends, of which each gives the other what it gets."""

    def __init__(self, open: set[_PipedConnection]) -> None:
        self.ended, self._open = asyncio.Event(), open
        open.add(self)
        self.outer, self.inner = _End(self), _End(self)
        self.outer.other, self.inner.other = self.inner, self.outer

    def is_sending(self) -> bool:
        """Is there something that has not gone out?"""
        return any(end.holds() for end in (self.outer, self.inner))

    def close(self) -> None:
        """Both ends, when what they have is sent."""
        self.outer.close()
        self.inner.close()
        self.ended.set()

    def abort(self) -> None:
        """Both ends now, whatever they have."""
        self.outer.abort()
        self.inner.abort()

    def lost(self) -> None:
        """One end is gone."""
        self.close()
        if self.outer.is_gone and self.inner.is_gone:
            self._open.discard(self)


class _End(asyncio.Protocol):
    def __init__(self, whole: _PipedConnection) -> None:
        self._whole, self.other = whole, self
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(_BUFFER)
        if self.other._transport is None:
            transport.pause_reading()
        else:
            self.other._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        target = self.other._transport
        if target and not target.is_closing():
            target.write(data)

    def pause_writing(self) -> None:
        if self.other._transport:
            self.other._transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other._transport:
            self.other._transport.resume_reading()

    @property
    def is_gone(self) -> bool:
        return self._transport is None

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        self._whole.lost()

    def abort(self) -> None:
        if self._transport:
            self._transport.abort()

    def close(self) -> None:
        if self._transport:
            self._transport.close()

    def holds(self) -> bool:
        """Bytes to be sent, or such that came and are not read."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if transport.get_write_buffer_size():
            return True
        try:
            waiting = ioctl(transport.get_extra_info("socket").fileno(), FIONREAD, bytes(4))
        except (OSError, ValueError):
            return False
        return self is self._whole.inner and unpack("i", waiting)[0] > 0


class Behind:
    """An application behind a relay: each request comes with its client's address and certificate."""

    def __init__(self, app: ASGIApp, relay: TlsRelay, server: tuple[str, int]) -> None:
        self._app, self._relay, self._server = app, relay, server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI); what did not come through the relay, or must connect again, gets 421."""
        if scope["type"] != "http":
            return
        peer = self._relay.peer(_address(scope))
        if peer is None or peer.is_stale:
            await _misdirected(send)
            return
        scope.update(client=peer.address, server=self._server, scheme="https")
        if peer.certificate:
            scope[CERTIFICATE] = peer.certificate
        with peer.served():
            await self._app(scope, receive, send)


async def _misdirected(send: Send) -> None:
    """Another connection is needed (RFC 9110, 15.5.20)."""
    headers = [(b"connection", b"close"), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 421, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _address(scope: Scope) -> tuple[str, int]:
    host, port = scope["client"]
    return str(host), int(port)


def _loopback() -> socket.socket:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(_BACKLOG)
    listening.setblocking(False)
    return listening


@contextmanager
def _bound(address: str) -> Iterator[socket.socket]:
    with socket.socket() as made:
        made.setblocking(False)
        made.bind((address, 0))
        yield made
