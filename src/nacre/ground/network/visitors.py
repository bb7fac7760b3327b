"""UDP that comes to a published port of a container of an ordinary user: the program sees who sends it.

    a visitor     192.0.2.7:4000 → the claimed port      we receive
    the program   192.0.2.7:4000 → 10.90.0.7:53          a packet that comes in by its link
    its answer    10.90.0.7:53 → 192.0.2.7:4000          comes out there, and leaves by the claimed port

Whose address means something else inside (loopback of this machine, a link's own, IPv6 where the container
has none) gets that of the gateway, and another port if that is taken.
"""

from __future__ import annotations

from time import monotonic

from ...grammars import packets
from ...words.addresses import packed
from .packetlink import LARGEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from ...grammars.packets import Key
    from .claims import Claim
    from .packetlink import PacketLink
    from .serving import Serving

    class VisitorRoutes(Protocol):
        """How who comes is seen. Addresses are packed."""

        @property
        def attached(self) -> object:
            """Another object after each network that was joined or left."""

        def seen_as(self, address: bytes) -> tuple[bytes, bytes]:
            """The container's address, and that of the visitor inside. Raises ValueError for no way in."""


_MOST, _IDLE = 1024, 90.0
_FIRST = 1024
"""The lowest port of one that stands in for another."""


class UdpVisitors:
    """Of one container; those that have said nothing, and have been told nothing, for long are forgotten."""

    def __init__(self, serving: Serving, link: PacketLink, routes: VisitorRoutes) -> None:
        self._serving, self._link, self._routes = serving, link, routes
        self._known: dict[tuple[int, Any], _UdpVisitor] = {}
        self._by_key: dict[Key, _UdpVisitor] = {}

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for an answer."""
        return not self._known

    def take(self, claim: Claim) -> None:
        """Let in what comes to a port of UDP, from now on."""
        self._serving.watch(claim.socket.fileno(), lambda: self._arrived(claim))

    def _arrived(self, claim: Claim) -> None:
        """What one sends comes in by the link. Raises OSError, ValueError."""
        data, address = claim.socket.recvfrom(LARGEST)
        visitor = self._visitor((claim.socket.fileno(), address), claim)
        visitor.used = monotonic()
        self._link.write(packets.answer(visitor.key, data))

    def _visitor(self, who: tuple[int, Any], claim: Claim) -> _UdpVisitor:
        """One who has met the container at another address is met anew: it has changed its networks."""
        visitor, attached = self._known.get(who), self._routes.attached
        if visitor is None or visitor.attached is not attached:
            own, inside = self._routes.seen_as(packed(who[1][0].partition("%")[0]))
            if visitor is None or (visitor.key[1], visitor.key[3]) != (own, inside):
                if visitor:
                    self._forget(visitor)
                visitor = self._met(who, claim, own, inside)
            visitor.attached = attached
        return visitor

    def _met(self, who: tuple[int, Any], claim: Claim, own: bytes, inside: bytes) -> _UdpVisitor:
        if len(self._known) >= _MOST:
            self._forget(min(self._known.values(), key=lambda each: each.used))
        key = self._key(claim, own, inside, who[1][1])
        visitor = self._known[who] = self._by_key[key] = _UdpVisitor(who, claim, key)
        return visitor

    def _key(self, claim: Claim, own: bytes, inside: bytes, port: int) -> Key:
        """Two visitors may have the same address inside, but not the same port there."""
        key = packets.UDP, own, claim.inside, inside, port
        while key in self._by_key:
            port = max(_FIRST, (port + 1) & 0xFFFF)
            key = packets.UDP, own, claim.inside, inside, port
        return key

    def answer(self, key: Key, data: bytes) -> bool:
        """Whether a datagram was for a visitor, who has got it then. Raises OSError."""
        visitor = self._by_key.get(key)
        if visitor is None:
            return False
        visitor.used = monotonic()
        visitor.claim.socket.sendto(data, visitor.who[1])
        return True

    def expire(self) -> None:
        """Forget who has been silent for long."""
        before = monotonic() - _IDLE
        for visitor in [each for each in self._known.values() if each.used < before]:
            self._forget(visitor)

    def _forget(self, visitor: _UdpVisitor) -> None:
        del self._known[visitor.who], self._by_key[visitor.key]


class _UdpVisitor:
    def __init__(self, who: tuple[int, Any], claim: Claim, key: Key) -> None:
        self.who, self.claim, self.key, self.used = who, claim, key, 0.0
        self.attached: object = None
        """What the container's networks were when the address was looked up."""
