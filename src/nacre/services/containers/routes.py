"""Where addresses lead from a container of an ordinary user: out, to a neighbour, or nowhere."""

from __future__ import annotations

from errno import EHOSTUNREACH, ENETUNREACH
from time import time_ns

from ...ground.network import sockets
from ...ground.network.descriptors import received, received_all
from ...ground.network.packetlink import PacketLink
from ...ground.network.switching import Routes
from ...words.addresses import Subnet, packed, shown, version
from .networksocket import asked

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from ...ground.network.attachments import Attached
    from ...ground.network.loopback import LoopbackNetwork
    from ...stores.networks import Networks
    from ...stores.store import Store

_NOWHERE6, _LOOPBACK6 = bytes(16), bytes(15) + b"\1"
_MAPPED = bytes(10) + b"\xff\xff"
_MULTICAST = {4: 224, 16: 0xFF}
_MAC = 6
_PRIVATE = {4: (10, 172, 192), 16: (0xFC, 0xFD)}
"""How addresses begin that networks of containers have, by length. Multicast is all from there on."""
_MOMENT = 2_000_000_000
"""Nanoseconds in which a network is made."""


class ContainerRoutes(Routes):
    """Those of `ground.network.udp` as well."""

    def __init__(self, network: LoopbackNetwork, networks: Networks, store: Store) -> None:
        self._network, self._networks, self._store = network, networks, store
        self._subnets: list[Subnet] = []
        self._read = 0

    def is_own(self, address: bytes) -> bool:  # noqa: D102
        if len(address) == 4:
            return address[0] in (0, 127) or address in self._network.addresses
        return address in (_NOWHERE6, _LOOPBACK6) or address in self._network.addresses

    def is_slow(self, address: bytes) -> bool:  # noqa: D102
        return self._beside(shown(address)) is not None

    def open(self, family: int, address: bytes) -> _socket.socket:  # noqa: D102
        way = self._beside(shown(address))
        if way:
            return self._neighbour(family, shown(address), way)
        if not self._network.way_out or _is_of_a_link(address) or self._is_anothers(address):
            raise OSError(ENETUNREACH, "no way out")
        return sockets.new(family)

    def has(self, address: bytes) -> bool:
        """Whether it is the container's, other than loopback."""
        return address in self._network.addresses

    def leads_out(self, address: bytes) -> bool:
        """Whether it is outside, and reached from here. IPv4 in IPv6 is nothing that a packet has."""
        if address[0] >= _MULTICAST[len(address)] or self.is_own(address) or self.is_slow(address):
            return False
        if self._network.way_out is None or _is_of_a_link(address) or address.startswith(_MAPPED):
            return False
        return not self._is_anothers(address)

    def address_beside(self, address: bytes) -> bytes:
        """The container's own in the network to which an address belongs; b"" if it is in none such."""
        way = self._beside(shown(address))
        if way is None:
            return b""
        own = way.address if len(address) == 4 else way.address6
        return packed(own) if own else b""

    @property
    def attached(self) -> object:
        """Another object after each network that was joined or left."""
        return self._network.attached

    def seen_as(self, address: bytes) -> tuple[bytes, bytes]:
        """The container's address, and that of a visitor: the gateway's for one that means nothing inside.

        Raises ValueError when there is no way in.
        """
        way = self._network.way_out
        if way is None:
            raise ValueError("no way in")
        if len(address) == 16 and way.address6:
            good = not (_is_of_a_link(address) or self.is_own(address))
            return packed(way.address6), address if good else packed(way.wanted.gateway6)
        good = len(address) == 4 and not self.is_own(address)
        return packed(way.address), address if good else packed(way.wanted.gateway)

    def changed(self) -> object:
        """Another value when somebody has joined or left one of the networks."""
        return [self._networks.joined(each.wanted.network) for each in self._network.attached]

    def neighbour(self, address: bytes) -> str:
        """The id of the container that has an address in one of the networks; "" for none."""
        text = shown(address)
        way = self._beside(text)
        member = self._networks.with_address(way.wanted.network, text) if way else None
        return member.container if member else ""

    def link_of(self, container: str) -> PacketLink:
        """By which packets come in to another container. Raises OSError."""
        channel = asked(self._store.containers.folder(container), {"link": True})
        try:
            mac, fds = received_all(channel, _MAC, 1)
        finally:
            channel.close()
        for fd in fds:
            return PacketLink.adopt(fd, mac)
        raise OSError(EHOSTUNREACH, "the container has no link")

    def _beside(self, address: str) -> Attached | None:
        """By which of its networks an address is a neighbour's."""
        for each in self._network.attached:
            six = each.wanted.subnet6
            if address in each.wanted.subnet or (six and address in six):
                return each
        return None

    def _neighbour(self, family: int, address: str, way: Attached) -> _socket.socket:
        """A socket of another container. Raises OSError for an address that none has."""
        member = self._networks.with_address(way.wanted.network, address)
        if member is None:
            raise OSError(EHOSTUNREACH, "no container has this address")
        source = way.address6 if version(address) == 6 else way.address
        request = {"socket": family, "from": source}
        channel = asked(self._store.containers.folder(member.container), request)
        try:
            for fd in received(channel):
                return sockets.adopted(fd)
        finally:
            channel.close()
        raise OSError(EHOSTUNREACH, "the container has ended")

    def _is_anothers(self, address: bytes) -> bool:
        """Whether it belongs to a network that the container is not in. Files say so: ask for few."""
        if address[0] not in _PRIVATE[len(address)]:
            return False
        text = shown(address)
        return any(text in subnet for subnet in self._of_all())

    def _of_all(self) -> list[Subnet]:
        """The subnets of all networks; read again when one was made or removed, or is being made."""
        changed = self._networks.changed()
        if changed != self._read:
            texts = (text for each in self._networks.every() for text in (each.subnet, each.subnet6) if text)
            self._subnets = [Subnet.parse(text) for text in texts]
            self._read = changed if time_ns() - changed > _MOMENT else 0
        return self._subnets


def _is_of_a_link(address: bytes) -> bool:
    """fe80::/10 means nothing without a link, and those of this machine are not the container's."""
    return len(address) == 16 and address[0] == 0xFE and address[1] & 0xC0 == 0x80
