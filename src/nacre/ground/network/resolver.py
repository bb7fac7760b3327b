"""The name server of a container: it knows the names of the containers in the same networks.

It asks this machine's servers about all others, from this machine; not for a container that has no way out,
since questions are a way out. `nameserver` says where it listens.
"""

from __future__ import annotations

import _socket
import os
from time import monotonic

from ...grammars import dns
from ...words.addresses import family, packed, version
from .nameserver import CONNECTIONS, PORT
from .serving import accepted, thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .nameserver import NameSockets
    from .serving import Serving

_LARGEST = 65535
_WAITING = 512
_PATIENCE, _IDLE = 4.0, 10.0


class Known:
    """Who is there: `addresses(name)` None for nobody, and `name(address)` "" for nobody."""

    def addresses(self, name: str) -> list[str] | None:
        """IPv4 and IPv6 addresses."""
        raise NotImplementedError

    def name(self, address: str) -> str:
        """With that of its network."""
        raise NotImplementedError


class Resolver:
    """Answers what comes to the sockets, from now on. They are closed by whom they belong to."""

    def __init__(
        self, serving: Serving, sockets: NameSockets, known: Known, servers: Callable[[], Sequence[str]]
    ) -> None:  # fmt: skip
        """`servers` are asked about all other names; () for none."""
        self._serving, self._known, self._servers = serving, known, servers
        self._udp, self._tcp = sockets.udp, sockets.tcp
        self._asked: dict[int, _Asked] = {}
        self._connections = 0
        serving.watch(self._udp.fileno(), self._question)
        serving.watch(self._tcp.fileno(), self._accept)
        serving.now_and_then(self._expire)

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for an answer."""
        return not self._asked and not self._connections

    def _question(self) -> None:
        query, client = self._udp.recvfrom(_LARGEST)
        try:
            question = dns.read_question(query)
        except ValueError:
            return
        reply = self._own(query, question, dns.MOST)
        if reply is None:
            self._pass_on(query, question, client, tuple(self._servers()))
        else:
            self._udp.sendto(reply, client)

    def _own(self, query: bytes, question: dns.Question, most: int) -> bytes | None:
        """What we know ourselves; None for what others have to be asked."""
        if question.kind == dns.PTR and (address := dns.reversed_address(question.name)):
            name = self._known.name(address)
            return dns.answer(query, question, [dns.name_data(name)], most=most) if name else None
        found = self._known.addresses(question.name)
        if found is None:
            return None
        wanted = {dns.A: 4, dns.AAAA: 6}.get(question.kind)
        records = [packed(address) for address in found if version(address) == wanted]
        return dns.answer(query, question, records, most=most)

    def _pass_on(self, query: bytes, question: dns.Question, client: Any, servers: tuple[str, ...]) -> None:
        """To the first server that can be asked, under a number and from a port that nobody can guess."""
        for place, server in enumerate(servers):
            try:
                asked = _Asked(query, question, client, server, servers[place + 1 :])
            except OSError:
                continue
            if len(self._asked) >= _WAITING:
                asked.socket.close()
                break
            fd = asked.socket.fileno()
            self._asked[fd] = asked
            self._serving.watch(fd, self._hearing(fd))
            return
        self._udp.sendto(dns.answer(query, question, [], code=dns.FAILED), client)

    def _hearing(self, fd: int) -> Callable[[], None]:
        return lambda: self._answered(fd)

    def _answered(self, fd: int) -> None:
        asked = self._asked[fd]
        try:
            data = asked.socket.recv(_LARGEST)
        except OSError:  # nobody listens there
            return self._try_next(fd)
        if data[:2] == asked.number:
            self._forget(fd)
            self._udp.sendto(asked.query[:2] + data[2:], asked.client)
        return None

    def _try_next(self, fd: int) -> None:
        asked = self._forget(fd)
        self._pass_on(asked.query, asked.question, asked.client, asked.others)

    def _forget(self, fd: int) -> _Asked:
        asked = self._asked.pop(fd)
        self._serving.forget(fd)
        asked.socket.close()
        return asked

    def _expire(self) -> bool:
        """Whether answers are waited for."""
        before = monotonic() - _PATIENCE
        for fd in [fd for fd, asked in self._asked.items() if asked.began < before]:
            self._try_next(fd)
        return bool(self._asked)

    def _accept(self) -> None:
        client = accepted(self._tcp)
        if self._connections >= CONNECTIONS:
            client.close()
            return
        self._connections += 1
        try:
            thread(lambda: self._connection(client))
        except RuntimeError:
            self._connections -= 1
            client.close()

    def _connection(self, client: _socket.socket) -> None:
        try:
            client.settimeout(_IDLE)
            while query := _read_record(client):
                reply = self._by_tcp(query)
                client.sendall(len(reply).to_bytes(2, "big") + reply)
        except (OSError, ValueError):
            return
        finally:
            self._connections -= 1
            client.close()

    def _by_tcp(self, query: bytes) -> bytes:
        """The answer to one query. Raises ValueError."""
        question = dns.read_question(query)
        reply = self._own(query, question, _LARGEST)
        if reply is not None:
            return reply
        for server in self._servers():
            try:
                return _ask_by_tcp(server, query)
            except OSError:
                continue
        return dns.answer(query, question, [], code=dns.FAILED)

    def close(self) -> None:
        """When `serving` has ended."""
        for asked in self._asked.values():
            asked.socket.close()


class _Asked:
    """A question that was passed on. Raises OSError."""

    def __init__(
        self, query: bytes, question: dns.Question, client: Any, server: str, others: tuple[str, ...]
    ) -> None:
        self.query, self.question, self.client, self.others = query, question, client, others
        self.number, self.began = os.urandom(2), monotonic()
        self.socket = _to(server, _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK)
        try:
            self.socket.send(self.number + query[2:])
        except BaseException:
            self.socket.close()
            raise


def _to(server: str, kind: int) -> _socket.socket:
    socket = _socket.socket(family(server), kind | _socket.SOCK_CLOEXEC)
    try:
        if not kind & _socket.SOCK_NONBLOCK:
            socket.settimeout(_PATIENCE)
        socket.connect((server, PORT))
    except BaseException:
        socket.close()
        raise
    return socket


def _ask_by_tcp(server: str, query: bytes) -> bytes:
    socket = _to(server, _socket.SOCK_STREAM)
    try:
        socket.sendall(len(query).to_bytes(2, "big") + query)
        reply = _read_record(socket)
    finally:
        socket.close()
    if reply[:2] != query[:2]:
        raise OSError("no answer to this question")
    return reply


def _read_record(socket: _socket.socket) -> bytes:
    """b"" at the end."""
    head = _read(socket, 2)
    return _read(socket, int.from_bytes(head, "big")) if head else b""


def _read(socket: _socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = socket.recv(count - len(data))
        if not piece:
            return b""
        data += piece
    return bytes(data)
