"""The network of a container that an ordinary user makes: a namespace with nothing but loopback.

The loopback interface has its addresses, so that programs find and bind them. What goes elsewhere is switched
(`switching`).
"""

from __future__ import annotations

import os
from errno import EEXIST

from ...words.addresses import packed
from ...words.errors import SandboxError
from . import links, namespaces
from .attachments import Attached, NetworkAttachments, Wanted
from .netlink import ROUTE, Netlink, NetlinkError

_LOOPBACK, _DEVICE = 1, "lo"


class LoopbackNetwork(NetworkAttachments):
    """The network of one container, as long as this process or a process of the container lives.

    Raises SandboxError.
    """

    def __init__(self) -> None:
        self.namespace = namespaces.new()
        self.attached = []
        self.addresses: frozenset[bytes] = frozenset()
        try:
            self._netlink = namespaces.inside(self.namespace, lambda: Netlink(ROUTE))
            self._netlink.send([links.up(_LOOPBACK)])
        except OSError as error:
            os.close(self.namespace)
            raise SandboxError(f"cannot set up the network of the container: {error.strerror}") from None

    def attach(self, wanted: Wanted, address: str, address6: str = "") -> Attached:
        """Join a network with addresses that nobody else has. Raises SandboxError."""
        found = Attached(wanted, "", _LOOPBACK, _DEVICE, _LOOPBACK, address, address6)
        try:
            for each in _packed(found):
                self._netlink.send([links.address(_LOOPBACK, each, 8 * len(each))])
        except OSError as error:
            raise SandboxError(f"failed to set up container networking: {error.strerror}") from None
        self._became([*self.attached, found])
        return found

    def detach(self, network: str) -> None:
        """Leave a network, if it is in it. Raises SandboxError."""
        for found in [each for each in self.attached if each.wanted.network == network]:
            try:
                self._netlink.send(
                    [links.no_address(_LOOPBACK, each, 8 * len(each)) for each in _packed(found)]
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
        namespace, self.namespace = self.namespace, -1
        if namespace >= 0:
            os.close(namespace)


def _packed(found: Attached) -> list[bytes]:
    return [packed(address) for address in (found.address, found.address6) if address]
