"""The network of a container that an ordinary user makes: a namespace with no way out.

    the container                      another namespace of ours, which forwards nothing
    eth0  10.90.0.7/32, default  ════  gateway

What TCP sends elsewhere is switched (`switching`). All else goes to `gateway`, and is read there (`udp`).
Where the kernel has no such links the loopback interface has the addresses.
"""

from __future__ import annotations

import _socket
import os
from errno import EEXIST

from ...words.addresses import packed
from ...words.errors import SandboxError
from .. import linux
from . import links, namespaces
from .attachments import Attached, NetworkAttachments, Wanted
from .nameserver import NameSockets
from .netlink import ROUTE, Netlink, NetlinkError
from .serving import abandon

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    Held = tuple[int, int, int, str, int, str]

_LOOPBACK, _DEVICE = 1, "lo"
_OUTER, _INNER = "gateway", "eth0"
_IP = 0x0800
LARGEST = 65535
"""Bytes of a packet."""


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
        self.link: _socket.socket | None = None
        self._netlink: Netlink | None = None
        self.names: NameSockets | None = None
        self._mac, self._index, self._name = b"", _LOOPBACK, _DEVICE

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
        self._netlink, self.names, self._mac = Netlink(ROUTE, netlink), names, bytes.fromhex(mac)
        self.link = _socket.socket(_socket.AF_PACKET, _socket.SOCK_DGRAM, 0, link) if link >= 0 else None
        self._became(list(attached))
        return self

    @property
    def held(self) -> Held:
        """What it lives by: three descriptors come first."""
        link = self.link.fileno() if self.link else -1
        return self.namespace, self._own.fileno(), link, self._mac.hex(), self._index, self._name

    @property
    def place(self) -> tuple[str, int, int, int, bytes]:
        """Where packets are sent to that shall come in by `link`."""
        return _OUTER, _IP, 0, 0, self._mac

    @property
    def _own(self) -> Netlink:
        assert self._netlink
        return self._netlink

    def attach(self, wanted: Wanted, address: str, address6: str = "") -> Attached:
        """Join a network with addresses that nobody else has. Raises SandboxError."""
        try:
            if self.link and self._index == _LOOPBACK:
                self._link_up(bytes.fromhex(wanted.mac.replace(":", "")))
            found = Attached(wanted, "", self._index, self._name, self._index, address, address6)
            self._own.send([links.address(self._index, each, 8 * len(each)) for each in _packed(found)])
            if not (wanted.internal or self.way_out or self.link is None):
                self._own.send([links.route(self._index, bytes(4), 0)])
        except OSError as error:
            raise SandboxError(f"failed to set up container networking: {error.strerror}") from None
        self._became([*self.attached, found])
        return found

    def _link_up(self, mac: bytes) -> None:
        """Programs find it from now on."""
        self._mac = mac
        self._index, self._name = links.index(self._own, _INNER), _INNER
        self._own.send([links.without_generated_address(self._index), links.physical(self._index, mac)])
        self._own.send([links.up_alone(self._index)])

    def _linked(self) -> _socket.socket:
        """In the other namespace, which lives as long as this: a socket for all packets that come out."""
        with Netlink(ROUTE) as netlink:
            netlink.send([links.pair(_OUTER, _INNER, self.namespace, mtu=LARGEST)])
            index = links.index(netlink, _OUTER)
            netlink.send([links.without_generated_address(index), links.up_alone(index)])
        kind = _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
        link = _socket.socket(_socket.AF_PACKET, kind, 0)
        link.bind((_OUTER, _IP))
        return link

    def detach(self, network: str) -> None:
        """Leave a network, if it is in it. Raises SandboxError."""
        for found in [each for each in self.attached if each.wanted.network == network]:
            try:
                self._own.send(
                    [links.no_address(self._index, each, 8 * len(each)) for each in _packed(found)]
                )
            except OSError as error:
                raise SandboxError(f"cannot leave network {network}: {error.strerror}") from None
            self._became([each for each in self.attached if each is not found])

    def _became(self, attached: list[Attached]) -> None:
        self.attached = attached
        self.addresses = frozenset(address for each in attached for address in _packed(each))

    def admit(self, address: bytes) -> None:
        """Let sockets here have the address of a neighbour, so that servers see who asks. Raises OSError."""
        try:
            self._own.send([links.local(_LOOPBACK, address)])
        except NetlinkError as error:
            if error.errno != EEXIST:
                raise

    def close(self) -> None:
        """Let go of the namespace and of its names. Idempotent."""
        if self.names:
            self.names.close()
        if self._netlink:
            self._netlink.close()
        if link := self.link:
            self.link = None
            abandon(link)
        namespace, self.namespace = self.namespace, -1
        if namespace >= 0:
            os.close(namespace)


def _packed(found: Attached) -> list[bytes]:
    return [packed(address) for address in (found.address, found.address6) if address]
