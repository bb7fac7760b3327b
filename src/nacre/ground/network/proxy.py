"""From a claimed port to a container by hand, for what no rule of the firewall catches.

That is what this machine says to ::1, and IPv6 for a container that has none. The bytes of TCP
move from socket to socket within the kernel, by splice(2).
"""

from __future__ import annotations

import _socket
import os
from time import monotonic

from ...words.addresses import family
from . import namespaces
from .serving import accepted, thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .claims import Claim
    from .serving import Serving

_MOST_CONNECTIONS, _MOST_CLIENTS = 1024, 1024
_AT_ONCE, _DATAGRAM = 1 << 20, 65536
_IDLE = 90.0
_CONNECTING = 10.0


class Proxy:
    """Passes on what comes to claimed ports; `target()` is the container's address, ValueError for none.

    `namespace` is the network namespace from which the container is reached, -1 for the one that we are in.
    """

    def __init__(self, serving: Serving, target: Callable[[], str], namespace: int = -1) -> None:
        self._serving, self._target, self._namespace = serving, target, namespace
        self._live: set[_socket.socket] = set()
        self._clients: dict[tuple[int, object], _Client] = {}
        serving.now_and_then(self._expire)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being passed on."""
        return not self._live and not self._clients

    def take(self, claim: Claim) -> None:
        """Pass on what comes to a port, from now on."""
        passes = self._accept if claim.protocol == "tcp" else self._datagram
        self._serving.watch(claim.socket.fileno(), lambda: passes(claim))

    def _accept(self, claim: Claim) -> None:
        self.pass_on(accepted(claim.socket), claim.inside)

    def pass_on(self, client: _socket.socket, port: int) -> None:
        """What one who has come to a port of the container says and hears; it is closed at the end."""
        if len(self._live) >= 2 * _MOST_CONNECTIONS:
            client.close()
            return
        self._live.add(client)
        try:
            thread(lambda: self._connection(client, port))
        except RuntimeError:
            self._close(client)

    def _connection(self, client: _socket.socket, port: int) -> None:
        server = None
        try:
            client.settimeout(None)
            if self._namespace >= 0:
                namespaces.enter(self._namespace)  # this thread, which ends with the connection
            server = self._connected(port)
            self._live.add(server)
            _both_ways(client, server)
        except (OSError, ValueError, RuntimeError):
            return  # the client sees a connection that ends
        finally:
            for socket in (client, server):
                if socket:
                    self._close(socket)

    def _connected(self, port: int) -> _socket.socket:
        address = self._target()
        server = _socket.socket(family(address), _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            server.settimeout(_CONNECTING)
            server.connect((address, port))
            server.settimeout(None)
        except BaseException:
            server.close()
            raise
        return server

    def _close(self, socket: _socket.socket) -> None:
        self._live.discard(socket)
        socket.close()

    def _datagram(self, claim: Claim) -> None:
        data, address = claim.socket.recvfrom(_DATAGRAM)
        key = claim.socket.fileno(), address
        client = self._clients.get(key)
        if client is None:
            if len(self._clients) >= _MOST_CLIENTS:
                return
            client = self._clients[key] = self._met(claim, address)
            self._serving.watch(client.socket.fileno(), client.answer)
        client.ask(data)

    def _met(self, claim: Claim, address: Any) -> _Client:
        target = self._target()
        if self._namespace < 0:
            return _Client(claim, address, target)
        return namespaces.inside(self._namespace, lambda: _Client(claim, address, target))

    def _expire(self) -> None:
        """Who has said nothing for long is forgotten."""
        before = monotonic() - _IDLE
        for key, client in list(self._clients.items()):
            if client.used < before:
                self._forget(key)

    def _forget(self, key: tuple[int, object]) -> None:
        client = self._clients.pop(key)
        self._serving.forget(client.socket.fileno())
        client.socket.close()

    def close(self) -> None:
        """End every connection; when `serving` has ended."""
        for socket in list(self._live):
            _end(socket)
        for client in self._clients.values():
            client.socket.close()
        self._clients.clear()


class _Client:
    """One who sends datagrams to a claimed port, and the socket by which they go on."""

    def __init__(self, claim: Claim, address: Any, target: str) -> None:
        self._claim, self._address = claim, address
        self.socket = _socket.socket(
            family(target), _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
        )
        self.socket.connect((target, claim.inside))
        self.used = monotonic()

    def ask(self, data: bytes) -> None:
        self.used = monotonic()
        self.socket.send(data)

    def answer(self) -> None:
        self.used = monotonic()
        self._claim.socket.sendto(self.socket.recv(_DATAGRAM), self._address)


def _both_ways(client: _socket.socket, server: _socket.socket) -> None:
    """Until both have said their last."""
    from _thread import allocate_lock

    done = allocate_lock()
    done.acquire()

    def back() -> None:
        try:
            _one_way(server, client)
        finally:
            done.release()

    thread(back)
    try:
        _one_way(client, server)
    finally:
        done.acquire()


def _one_way(source: _socket.socket, sink: _socket.socket) -> None:
    """Until the source ends, or either is broken; then the sink learns of it."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        while moved := os.splice(source.fileno(), writer, _AT_ONCE):
            while moved:
                moved -= os.splice(reader, sink.fileno(), moved)
        sink.shutdown(_socket.SHUT_WR)
    except OSError:
        _end(source)
        _end(sink)
    finally:
        os.close(reader)
        os.close(writer)


def _end(socket: _socket.socket) -> None:
    """Whoever waits for it wakes up; it is closed by whom it belongs to."""
    try:
        socket.shutdown(_socket.SHUT_RDWR)
    except OSError:
        return
