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
from .netlink import ROUTE, Netlink, NetlinkError

_LOOPBACK, _DEVICE = 1, "lo"
_OUTER, _INNER = "gateway", "eth0"
_IP = 0x0800
LARGEST = 65535
"""Bytes of a packet."""


class LoopbackNetwork(NetworkAttachments):
    """The network of one container, as long as this process or a process of the container lives.

    Raises SandboxError.
    """

    def __init__(self) -> None:
        self.namespace = -1
        self.attached = []
        self.addresses: frozenset[bytes] = frozenset()
        self.link: _socket.socket | None = None
        self.place: tuple[str, int, int, int, bytes] = (_OUTER, _IP, 0, 0, b"")
        self._index, self._name = _LOOPBACK, _DEVICE
        try:
            namespaces.apart(self._begin)
            self._netlink.send([links.up(_LOOPBACK)])
        except OSError as error:
            if self.namespace >= 0:
                os.close(self.namespace)
            raise SandboxError(f"cannot set up the network of the container: {error.strerror}") from None

    def _begin(self) -> None:
        """In a thread of its own, which is in the new namespace, and leaves it for the other."""
        self.namespace = namespaces.entered()
        self._netlink = Netlink(ROUTE)
        try:
            linux.unshare(linux.CLONE_NEWNET)
            self.link = self._linked()
        except OSError:  # the kernel has no such links, or no more namespaces
            return

    def attach(self, wanted: Wanted, address: str, address6: str = "") -> Attached:
        """Join a network with addresses that nobody else has. Raises SandboxError."""
        try:
            if self.link and self._index == _LOOPBACK:
                self._link_up(bytes.fromhex(wanted.mac.replace(":", "")))
            found = Attached(wanted, "", self._index, self._name, self._index, address, address6)
            self._netlink.send([links.address(self._index, each, 8 * len(each)) for each in _packed(found)])
            if not (wanted.internal or self.way_out or self.link is None):
                self._netlink.send([links.route(self._index, bytes(4), 0)])
        except OSError as error:
            raise SandboxError(f"failed to set up container networking: {error.strerror}") from None
        self._became([*self.attached, found])
        return found

    def _link_up(self, mac: bytes) -> None:
        """Programs find it from now on."""
        self.place = _OUTER, _IP, 0, 0, mac
        self._index, self._name = links.index(self._netlink, _INNER), _INNER
        self._netlink.send([links.without_generated_address(self._index), links.physical(self._index, mac)])
        self._netlink.send([links.up_alone(self._index)])

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
                self._netlink.send(
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
            self._netlink.send([links.local(_LOOPBACK, address)])
        except NetlinkError as error:
            if error.errno != EEXIST:
                raise

    def close(self) -> None:
        """Let go of the namespace. Idempotent."""
        self._netlink.close()
        if self.link:
            self.link.close()
        namespace, self.namespace = self.namespace, -1
        if namespace >= 0:
            os.close(namespace)


def _packed(found: Attached) -> list[bytes]:
    return [packed(address) for address in (found.address, found.address6) if address]
