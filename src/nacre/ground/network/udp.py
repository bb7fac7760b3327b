"""UDP and ping of a container that has no way out of its network namespace, passed on by hand.

    the container             a namespace of ours      this machine
    eth0  10.90.0.7/32  ════  gateway (`loopback`)     one connected socket for each flow
    default route             every packet is read     answers are written to gateway

The two links lead nowhere: nothing in the other namespace forwards. What the container sends is read there,
and each pair of its port and a destination gets a socket of this machine that is connected to it, so that
only that destination answers. Nothing of this machine is in the hands of a program. TCP is not passed on.
What is for a neighbour goes to the link of that (`neighbours`), and an answer to who has come to a published
port to where they have come (`visitors`).
Source: RFC 768, 791, 792; packet(7), icmp(7), veth(4).
"""

from __future__ import annotations

import _socket
import os
from errno import EAGAIN, EHOSTUNREACH, ENETUNREACH, ENOBUFS
from struct import error
from time import monotonic

from ...grammars import packets
from ...words.addresses import shown
from .neighbours import Neighbours
from .packetlink import LARGEST
from .visitors import UdpVisitors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from ...grammars.packets import Key
    from .claims import Claim
    from .neighbours import NeighbourRoutes
    from .packetlink import PacketLink
    from .serving import Serving
    from .visitors import VisitorRoutes

    class UdpRoutes(NeighbourRoutes, VisitorRoutes, Protocol):
        """What a container reaches. Addresses are packed."""

        def leads_out(self, address: bytes) -> bool:
            """Whether an address is outside, and reached from here."""

        def has(self, address: bytes) -> bool:
            """Whether it is an address of the container."""


_AT_ONCE, _MOST = 64, 512
_IDLE = 90.0
_FAMILIES = {4: _socket.AF_INET, 16: _socket.AF_INET6}
_NEVER = {4: (_socket.IPPROTO_IP, 10, 0), 16: (_socket.IPPROTO_IPV6, 23, 0)}
"""IP_MTU_DISCOVER, IPV6_MTU_DISCOVER: what is too long is fragmented. By the length of addresses."""


class UdpRelay:
    """Reads packets from `link`, to which answers are written. `close` leaves it open."""

    def __init__(self, serving: Serving, link: PacketLink, routes: UdpRoutes) -> None:
        self._serving, self._link, self._routes = serving, link, routes
        self._flows: dict[Key, _Flow] = {}
        self._neighbours = Neighbours(routes)
        self._visitors = UdpVisitors(serving, link, routes)
        serving.watch(link.fileno(), self.read)
        serving.now_and_then(self._expire)

    @property
    def is_idle(self) -> bool:
        """Whether no answer is waited for."""
        return not self._flows and self._neighbours.is_idle and self._visitors.is_idle

    def take(self, claim: Claim) -> None:
        """Let in what comes to a published port of UDP, from now on."""
        self._visitors.take(claim)

    def read(self) -> None:
        """What is there now."""
        for _ in range(_AT_ONCE):
            try:
                packet = self._link.read()
            except BlockingIOError:
                return
            try:
                self._packet(packet)
            except (OSError, error):
                continue

    def _packet(self, data: bytes) -> None:
        """Whatever is no whole datagram to somewhere is dropped. Raises OSError, struct.error."""
        packet = packets.read(data)
        if packet is None or not self._routes.has(packet[1]):
            return
        key = packets.key_of(packet)
        data = packets.payload(packet) if key else b""
        if key and self._visitors.answer(key, data):
            return
        if key not in self._flows and self._neighbours.has(packet[2]):
            if not self._neighbours.pass_on(packet) and key:
                self._say(key, packets.HOST)
        elif key:
            self._send(key, data)

    def _send(self, key: Key, data: bytes) -> None:
        try:
            flow = self._flows.get(key) or self._begun(key)
            flow.used = monotonic()
            flow.socket.send(data)
        except ConnectionRefusedError:
            self._say(key, packets.PORT)
        except PermissionError:
            self._say(key, packets.PROHIBITED)
        except OSError as error:
            if error.errno not in (EAGAIN, ENOBUFS):
                self._say(key, packets.HOST if error.errno == EHOSTUNREACH else packets.NET)

    def _begun(self, key: Key) -> _Flow:
        """Raises OSError for what is not reached."""
        if not self._routes.leads_out(key[3]):
            raise OSError(ENETUNREACH, os.strerror(ENETUNREACH))
        if len(self._flows) >= _MOST:
            self._forget(min(self._flows.values(), key=lambda flow: flow.used))
        flow = self._flows[key] = _Flow(key)
        self._serving.watch(flow.socket.fileno(), lambda: self._answered(flow))
        return flow

    def _answered(self, flow: _Flow) -> None:
        for _ in range(_AT_ONCE):
            try:
                data = flow.socket.recv(LARGEST)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                self._say(flow.key, packets.PORT)
                return
            except OSError:
                return
            flow.used = monotonic()
            self._link.write(packets.answer(flow.key, data))

    def _say(self, key: Key, why: int) -> None:
        self._link.write(packets.unreachable(key, why))

    def _expire(self) -> None:
        """A flow of which nothing was heard for long is forgotten."""
        self._neighbours.expire()
        self._visitors.expire()
        before = monotonic() - _IDLE
        for flow in [flow for flow in self._flows.values() if flow.used < before]:
            self._forget(flow)

    def _forget(self, flow: _Flow) -> None:
        del self._flows[flow.key]
        self._serving.forget(flow.socket.fileno())
        flow.socket.close()

    def close(self) -> None:
        """When `serving` has ended."""
        for flow in self._flows.values():
            flow.socket.close()
        self._flows.clear()
        self._neighbours.close()


class _Flow:
    """What goes between a port of the container and one destination, by a socket of this machine.

    Only root of the machine and groups that it names (`net.ipv4.ping_group_range`) may ping. Raises OSError.
    """

    def __init__(self, key: Key) -> None:
        self.key, self.used = key, 0.0
        protocol, _, _, target, port = key
        size = len(target)
        kind = _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
        self.socket = _socket.socket(_FAMILIES[size], kind, protocol)
        try:
            self.socket.setsockopt(*_NEVER[size])
            self.socket.connect((shown(target), port))
        except BaseException:
            self.socket.close()
            raise
