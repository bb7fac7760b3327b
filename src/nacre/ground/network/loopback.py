"""The network of a container that an ordinary user makes: a namespace with no way out.

    the container                      another namespace of ours, which forwards nothing
    eth0  10.90.0.7/32, default  ════  gateway

What TCP sends elsewhere is switched (`switching`). All else goes to `gateway`, and is read there (`udp`).
Where the kernel has no such links the loopback interface has the addresses.

A neighbour that connects by TCP gets a socket of this namespace, which has the address of the neighbour. So
that address means this namespace, but for TCP alone: datagrams to it go out by the link.
"""

from __future__ import annotations

import os
from errno import EAFNOSUPPORT, EEXIST, EOPNOTSUPP

from ...words.addresses import packed
from ...words.errors import SandboxError
from .. import linux
from . import links, namespaces
from .attachments import Attached, NetworkAttachments, Wanted, first_way_out
from .nameserver import NameSockets
from .netlink import ROUTE, Netlink, NetlinkError
from .packetlink import LARGEST, NAME, PacketLink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from .netlink import Message

    Held = tuple[int, int, int, str, int, str]

_LOOPBACK, _DEVICE = 1, "lo"
_INNER = "eth0"
_TCP, _ADMITTED = 6, 100
"""The table that TCP alone asks."""
_ABSENT = (EOPNOTSUPP, EAFNOSUPPORT)


class LoopbackNetwork(NetworkAttachments):
    """The network of one container, as long as this process or a process of the container lives.

    `names` are the sockets of its name server, which `close` leaves open. Raises SandboxError.
    """

    def __init__(self) -> None:
        self._is_nothing_yet()
        try:
            namespaces.apart(self._begin)
        except OSError as error:
            self.close()
            raise SandboxError(f"cannot set up the network of the container: {error.strerror}") from None

    def _is_nothing_yet(self) -> None:
        self.namespace = -1
        self.attached = []
        self.addresses: frozenset[bytes] = frozenset()
        self.link: PacketLink | None = None
        self._netlink: Netlink | None = None
        self.names: NameSockets | None = None
        self._index, self._name = _LOOPBACK, _DEVICE
        self._tables: dict[int, int] = {}

    def _begin(self) -> None:
        """In a thread of its own, which is in the new namespace, and leaves it for the other."""
        self.namespace = namespaces.entered()
        self._netlink = Netlink(ROUTE)
        self._own.send([links.up(_LOOPBACK)])
        self.names = NameSockets.open()
        try:
            linux.unshare(linux.CLONE_NEWNET)
            self.link = self._linked()
        except OSError:  # the kernel has no such links, or no more namespaces
            return

    @classmethod
    def adopt(cls, held: Held, names: NameSockets, attached: Iterable[Attached]) -> Self:
        """What another program of this process had: what it `held`, its `names`, and was `attached` to."""
        self = cls.__new__(cls)
        self._is_nothing_yet()
        self.namespace, netlink, link, mac, self._index, self._name = held
        self._netlink, self.names = Netlink(ROUTE, netlink), names
        self.link = PacketLink.adopt(link, bytes.fromhex(mac)) if link >= 0 else None
        self._became(list(attached))
        return self

    @property
    def held(self) -> Held:
        """What it lives by: three descriptors come first."""
        link, mac = (self.link.fileno(), self.link.mac.hex()) if self.link else (-1, "")
        return self.namespace, self._own.fileno(), link, mac, self._index, self._name

    @property
    def _own(self) -> Netlink:
        assert self._netlink
        return self._netlink

    def attach(self, wanted: Wanted, address: str, address6: str = "") -> Attached:
        """Join a network with addresses that nobody else has. Raises SandboxError."""
        try:
            if self.link and self._index == _LOOPBACK:
                self._link_up(self.link, bytes.fromhex(wanted.mac.replace(":", "")))
            found = Attached(wanted, "", self._index, self._name, self._index, address, address6)
            self._own.send([links.address(self._index, each, 8 * len(each)) for each in _packed(found)])
            if self.link:
                self._lead_beside(found)
                self._lead_out([*self.attached, found])
        except OSError as error:
            raise SandboxError(f"failed to set up container networking: {error.strerror}") from None
        self._became([*self.attached, found])
        return found

    def _link_up(self, link: PacketLink, mac: bytes) -> None:
        """Programs find it from now on."""
        link.mac = mac
        self._index, self._name = links.index(self._own, _INNER), _INNER
        self._own.send([links.without_generated_address(self._index), links.physical(self._index, mac)])
        self._own.send([links.up_alone(self._index)])

    def _linked(self) -> PacketLink:
        """In the other namespace, which lives as long as this: the end at which all packets come out."""
        with Netlink(ROUTE) as netlink:
            netlink.send([links.pair(NAME, _INNER, self.namespace, mtu=LARGEST)])
            index = links.index(netlink, NAME)
            netlink.send([links.without_generated_address(index), links.up_alone(index)])
        return PacketLink.open()

    def _lead_beside(self, found: Attached) -> None:
        """To the neighbours with the address that they know."""
        wanted = found.wanted
        pairs = (wanted.subnet, found.address), (wanted.subnet6, found.address6)
        for subnet, address in pairs:
            if subnet and address:
                there, own = packed(subnet.at(0)), packed(address)
                self._make(links.route(self._index, there, subnet.prefix, source=own))

    def _lead_out(self, attached: list[Attached]) -> None:
        """Elsewhere by the first way out, with the address that it has there."""
        way = first_way_out(attached)
        for own in _packed(way) if way else ():
            self._make(links.route(self._index, bytes(len(own)), 0, source=own))

    def _make(self, message: Message) -> None:
        """What is there already is what was wanted. Raises OSError."""
        try:
            self._own.send([message])
        except NetlinkError as error:
            if error.errno != EEXIST:
                raise

    def detach(self, network: str) -> None:
        """Leave a network, if it is in it. Raises SandboxError."""
        for found in [each for each in self.attached if each.wanted.network == network]:
            gone = [links.no_address(self._index, each, 8 * len(each)) for each in _packed(found)]
            if self.link and (six := found.wanted.subnet6):  # the kernel removes those of IPv4 by itself
                gone.append(links.no_route(self._index, packed(six.at(0)), six.prefix))
                if found is self.way_out:
                    gone.append(links.no_route(self._index, bytes(16), 0))
            try:
                self._own.send(gone)
                if self.link:
                    self._lead_out([each for each in self.attached if each is not found])
            except OSError as error:
                raise SandboxError(f"cannot leave network {network}: {error.strerror}") from None
            self._became([each for each in self.attached if each is not found])

    def _became(self, attached: list[Attached]) -> None:
        self.attached = attached
        self.addresses = frozenset(address for each in attached for address in _packed(each))

    def admit(self, address: bytes) -> None:
        """Let sockets of TCP have a neighbour's address, so that servers see who asks. Raises OSError."""
        self._make(links.local(_LOOPBACK, address, self._table(links.family(address))))

    def _table(self, family: int) -> int:
        """Where such an address stands: with all others where the kernel has no tables of protocols."""
        if family not in self._tables:
            try:
                self._make(links.by_table(family, _TCP, _ADMITTED))
                self._tables[family] = _ADMITTED
            except NetlinkError as error:
                if error.errno not in _ABSENT:
                    raise
                self._tables[family] = links.LOCAL
        return self._tables[family]

    def close(self) -> None:
        """Let go of the namespace and of its names. Idempotent."""
        if self.names:
            self.names.close()
        if self._netlink:
            self._netlink.close()
        if link := self.link:
            self.link = None
            link.close()
        namespace, self.namespace = self.namespace, -1
        if namespace >= 0:
            os.close(namespace)


def _packed(found: Attached) -> list[bytes]:
    return [packed(address) for address in (found.address, found.address6) if address]
