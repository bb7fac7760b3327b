"""UDP and ping of a container that has no way out of its network namespace, passed on by hand.

    the container             a namespace of ours      this machine
    eth0  10.90.0.7/32  ════  gateway (`loopback`)     one connected socket for each flow
    default route             every packet is read     answers are written to gateway

The two links lead nowhere: nothing in the other namespace forwards. What the container sends is read there,
and each pair of its port and a destination gets a socket of this machine that is connected to it, so that
only that destination answers. Nothing of this machine is in the hands of a program. TCP is not passed on.
Source: RFC 768, 791, 792; packet(7), icmp(7), veth(4).
"""

from __future__ import annotations

import _socket
import os
import sys
from errno import EAGAIN, EHOSTUNREACH, ENETUNREACH, ENOBUFS
from struct import Struct, error
from time import monotonic

from .loopback import LARGEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from .serving import Serving

    Key = tuple[int, bytes, int, bytes, int]
    Place = tuple[str, int, int, int, bytes]

    class UdpRoutes(Protocol):
        """What a container reaches. Addresses are packed, of IPv4."""

        def leads_out(self, address: bytes) -> bool:
            """Whether an address is outside, and reached from here."""

        def has(self, address: bytes) -> bool:
            """Whether it is an address of the container."""


_IP, _UDP, _ICMP = Struct("!BBHHHBBH4s4s"), Struct("!HHHH"), Struct("!BBHHH")
_ECHO, _UNREACHABLE = 8, 3
_NET, _HOST, _PORT, _PROHIBITED = 0, 1, 3, 13
_FRAGMENT = 0x3FFF
_AT_ONCE, _MOST = 64, 512
_IDLE = 90.0
_DISCOVER, _NEVER = 10, 0
"""IP_MTU_DISCOVER, IP_PMTUDISC_DONT: what is too long is fragmented."""


class UdpRelay:
    """Reads packets from `link`; answers are written to `place`. `close` leaves `link` open."""

    def __init__(
        self, serving: Serving, link: _socket.socket, place: Place, routes: UdpRoutes
    ) -> None:  # fmt: skip
        self._serving, self._link, self._place, self._routes = serving, link, place, routes
        self._flows: dict[Key, _Flow] = {}
        serving.watch(link.fileno(), self.read)
        serving.now_and_then(self._expire)

    @property
    def is_idle(self) -> bool:
        """Whether no answer is waited for."""
        return not self._flows

    def read(self) -> None:
        """What is there now."""
        for _ in range(_AT_ONCE):
            try:
                packet = self._link.recv(LARGEST)
            except BlockingIOError:
                return
            try:
                self._packet(packet)
            except (OSError, error):
                continue

    def _packet(self, packet: bytes) -> None:
        """Whatever is no whole datagram to somewhere outside is dropped. Raises OSError, struct.error."""
        if len(packet) < _IP.size or packet[0] >> 4 != 4:
            return
        first, _, length, _, fragment, _, protocol, _, source, target = _IP.unpack_from(packet)
        begin = (first & 15) * 4
        if fragment & _FRAGMENT or not _IP.size <= begin < length <= len(packet):
            return
        if not self._routes.has(source):
            return
        body = packet[begin:length]
        if protocol == _socket.IPPROTO_UDP and len(body) >= _UDP.size:
            ours, theirs, size, _ = _UDP.unpack_from(body)
            self._send((protocol, source, ours, target, theirs), body[_UDP.size : size])
        elif protocol == _socket.IPPROTO_ICMP and len(body) >= _ICMP.size and body[0] == _ECHO:
            self._send((protocol, source, _ICMP.unpack_from(body)[3], target, 0), body)

    def _send(self, key: Key, data: bytes) -> None:
        try:
            flow = self._flows.get(key) or self._begun(key)
            flow.used = monotonic()
            flow.socket.send(data)
        except ConnectionRefusedError:
            self._say(key, _PORT)
        except PermissionError:
            self._say(key, _PROHIBITED)
        except OSError as error:
            if error.errno not in (EAGAIN, ENOBUFS):
                self._say(key, _HOST if error.errno == EHOSTUNREACH else _NET)

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
                self._say(flow.key, _PORT)
                return
            except OSError:
                return
            flow.used = monotonic()
            self._write(flow.key, flow.key[0], flow.answer(data))

    def _say(self, key: Key, why: int) -> None:
        """That nobody is reached, as a router would, with the beginning of what was sent."""
        protocol, ours, port, theirs, other = key
        begin = _UDP.pack(port, other, _UDP.size, 0)
        if protocol == _socket.IPPROTO_ICMP:
            begin = _ICMP.pack(_ECHO, 0, 0, port, 0)
        said = _header(protocol, len(begin), ours, theirs) + begin
        check = checksum(_ICMP.pack(_UNREACHABLE, why, 0, 0, 0) + said)
        self._write(key, _socket.IPPROTO_ICMP, _ICMP.pack(_UNREACHABLE, why, check, 0, 0) + said)

    def _write(self, key: Key, protocol: int, body: bytes) -> None:
        self._link.sendto(_header(protocol, len(body), key[3], key[1]) + body, self._place)

    def _expire(self) -> None:
        """A flow of which nothing was heard for long is forgotten."""
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


class _Flow:
    """What goes between a port of the container and one destination, by a socket of this machine.

    Only root of the machine and groups that it names (`net.ipv4.ping_group_range`) may ping. Raises OSError.
    """

    def __init__(self, key: Key) -> None:
        self.key, self.used = key, 0.0
        protocol, _, _, target, port = key
        kind = _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
        self.socket = _socket.socket(_socket.AF_INET, kind, protocol)
        try:
            self.socket.setsockopt(_socket.IPPROTO_IP, _DISCOVER, _NEVER)
            self.socket.connect((_socket.inet_ntoa(target), port))
        except BaseException:
            self.socket.close()
            raise

    def answer(self, data: bytes) -> bytes:
        """What comes back, as the container has to see it: ping knows it by the number that it has sent."""
        protocol, _, ours, _, theirs = self.key
        if protocol == _socket.IPPROTO_UDP:
            return _UDP.pack(theirs, ours, _UDP.size + len(data), 0) + data
        kind, code, _, _, sequence = _ICMP.unpack_from(data)
        rest = data[_ICMP.size :]
        check = checksum(_ICMP.pack(kind, code, 0, ours, sequence) + rest)
        return _ICMP.pack(kind, code, check, ours, sequence) + rest


def _header(protocol: int, length: int, source: bytes, target: bytes) -> bytes:
    fields = 0x45, 0, _IP.size + length, 0, 0, 64, protocol
    check = checksum(_IP.pack(*fields, 0, source, target))
    return _IP.pack(*fields, check, source, target)


def checksum(data: bytes) -> int:
    """The internet checksum. Source: RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(memoryview(data).cast("H"))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int.from_bytes((~total & 0xFFFF).to_bytes(2, sys.byteorder), "big")
