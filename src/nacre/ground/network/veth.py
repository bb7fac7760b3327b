"""The network of one container: a namespace, and for each network that it is in a pair of links.

    this machine                              the container
    nv1f03…  10.90.0.1/32, fe80::1/64  ═════  eth0  10.90.0.7/32
    route 10.90.0.7/32 to that link           default route by 10.90.0.1

There is no bridge. Each container is a neighbour of this machine alone, which routes: nothing is shared, and
everything is gone with the namespace. The route is the claim to an address as well: the kernel refuses a
second one to the same. The table of rules belongs to a socket of ours and goes with that.
"""

from __future__ import annotations

import os
from errno import EEXIST

from ...words.addresses import Subnet, packed, shown, version
from ...words.errors import SandboxError
from . import forwarding, links, namespaces, rules
from .attachments import Attached, NetworkAttachments
from .netlink import ROUTE, Netlink, NetlinkError
from .nftables import Firewall, no_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .attachments import Wanted
    from .firewalld import FirewalldWatch
    from .netlink import Message
    from .rules import Forward

_NEIGHBOUR = "fe80::1"
_ATTEMPTS = 4


class ContainerNetwork(NetworkAttachments):
    """The network of the container `name`, until `close` or the death of this process, and the container's.

    Must be made where the container's links shall end. Raises SandboxError.
    """

    def __init__(self, name: str, held: tuple[int, int] = (-1, -1)) -> None:
        """`held` as another program of this process had it, whose networks are told by `take_over`."""
        self._table = f"nacre-{name}"
        namespace, self._owner = held
        self._made = namespace >= 0
        self._default: Attached | None = None
        self.attached = []
        self.forwards: Sequence[Forward] = ()
        self._opened: list[Netlink | Firewall] = []
        self.namespace = namespace if self._made else namespaces.new()
        try:
            self._open()
        except OSError as error:
            self.close()
            raise SandboxError(f"cannot set up the network of the container: {error.strerror}") from None

    def _open(self) -> None:
        with namespaces.InsideNamespace(self.namespace):
            self._inside = Netlink(ROUTE)
        self._opened.append(self._inside)
        self._here = Netlink(ROUTE)
        self._opened.append(self._here)
        self._firewall = Firewall(self._owner)
        self._opened.append(self._firewall)
        if not self._made:
            self._inside.send([links.up(1)])

    @property
    def held(self) -> tuple[int, int]:
        """The descriptors that the network lives by: its namespace, and the owner of its rules."""
        return self.namespace, self._firewall.fileno()

    @property
    def path(self) -> str:
        """The namespace, for whoever shall join it."""
        return f"/proc/{os.getpid()}/fd/{self.namespace}"

    def take_over(self, attached: Iterable[Attached]) -> None:
        """These networks have been joined already."""
        self.attached = list(attached)
        self._default = self.way_out

    def attach(self, wanted: Wanted) -> Attached:
        """Join a network. Nothing passes before `set_rules`. Raises SandboxError, and leaves nothing then."""
        try:
            forwarding.check(4)
            if wanted.subnet6:
                forwarding.check(6)
            return self._attach(wanted)
        except OSError as error:
            raise SandboxError(f"failed to set up container networking: {error.strerror}") from None

    def _attach(self, wanted: Wanted) -> Attached:
        link, device = self._pair(wanted)
        index = links.index(self._here, link)
        try:
            self._here.send(_of_this_machine(index, wanted))
            address = self._claim(index, wanted.subnet, wanted.addresses, wanted.network)
            address6 = ""
            if wanted.subnet6:
                address6 = self._claim(index, wanted.subnet6, wanted.addresses6, wanted.network)
            inner = links.index(self._inside, device)
            found = Attached(wanted, link, index, device, inner, address, address6)
            self._inside.send(_of_container(found))
            self.attached.append(found)
            self._set_default(None)
        except BaseException:
            self.attached = [each for each in self.attached if each.index != index]
            self._here.send([links.delete(index)])
            raise
        return found

    def _pair(self, wanted: Wanted) -> tuple[str, str]:
        taken = {each.device for each in self.attached}
        device = next(name for name in (f"eth{n}" for n in range(len(taken) + 1)) if name not in taken)
        mac = bytes.fromhex(wanted.mac.replace(":", ""))
        for attempt in range(_ATTEMPTS):
            link = f"{rules.PREFIX}{os.urandom(6).hex()}"
            try:
                self._here.send(
                    [links.pair(link, device, self.namespace, group=wanted.group, mac=mac, mtu=wanted.mtu)]
                )
            except NetlinkError as error:
                if error.errno != EEXIST or attempt == _ATTEMPTS - 1:
                    raise
            else:
                break
        return link, device

    def _claim(self, index: int, subnet: Subnet, addresses: Iterable[str], network: str) -> str:
        """The first of the addresses that nobody has."""
        used = {shown(route.destination) for route in links.routes(self._here) if route.prefix in (32, 128)}
        asked = ""
        for address in addresses:
            asked = address
            if address in used:
                continue
            try:
                self._here.send([links.route(index, packed(address), 8 * len(packed(address)))])
            except NetlinkError as error:
                if error.errno != EEXIST:
                    raise
            else:
                return address
        if isinstance(addresses, tuple):
            raise SandboxError(f"failed to set up container networking: Address already in use: {asked}")
        raise SandboxError(f"network {network} has no free addresses left in {subnet}")

    def _set_default(self, gone: Attached | None) -> None:
        """The default route leads to the first network that has a way out; `gone` had it until now."""
        before = self._default
        first = self.way_out
        if first is before:
            return
        if before is not None and before is not gone:
            self._inside.send(_defaults(before, links.no_route))
        if first is not None:
            self._inside.send(_defaults(first, links.route))
        self._default = first

    def detach(self, network: str) -> None:
        """Leave a network, if it is in it. Raises SandboxError."""
        for found in [each for each in self.attached if each.wanted.network == network]:
            self.attached.remove(found)
            try:
                self._here.send([links.delete(found.index)])
                self._set_default(found)
            except OSError as error:
                raise SandboxError(f"cannot leave network {network}: {error.strerror}") from None

    def set_rules(self) -> None:
        """Make the rules those of `attached` and `forwards`, in one step. Raises SandboxError.

        Only then may this machine's loopback speak by a link: the rules keep out what would speak to it.
        """
        own = [
            rules.Link(each.link, each.wanted.group, each.address, each.address6, each.wanted.internal)
            for each in self.attached
        ]
        messages = rules.table(self._table, own, self.forwards)
        try:
            self._firewall.change([no_table(self._table), *messages] if self._made else messages)
            self._made = True
            if self.forwards and self.way_out:
                self._here.send([links.with_loopback(self.way_out.index)])
            forwarding.let_pass(self._firewall)
        except OSError as error:
            raise SandboxError(
                f"cannot set up the firewall of the container: {error.strerror}",
                hint="needed is Linux 5.12 with nf_tables; --network host needs none",
            ) from None

    def let_pass(self, watch: FirewalldWatch) -> None:
        """When firewalld has changed something. Raises OSError."""
        watch.let_pass(self._firewall)

    def close(self) -> None:
        """Everything goes: addresses and rules at once, links as soon as the kernel has the time. Idempotent.

        Removing a link waits for all processors, 20 ms; with its namespace the kernel does that by itself.
        """
        for each in self.attached:
            try:
                self._here.send(_unclaimed(each))
            except OSError:  # gone already
                continue
        self.attached = []
        if self._made:
            self._firewall.leave(self._table)
            self._opened.remove(self._firewall)
            self._made = False
        for opened in self._opened:
            opened.close()
        namespace, self.namespace = self.namespace, -1
        if namespace >= 0:
            os.close(namespace)


def _unclaimed(each: Attached) -> list[Message]:
    addresses = [packed(address) for address in (each.address, each.address6) if address]
    return [links.no_route(each.index, address, 8 * len(address)) for address in addresses]


def _of_this_machine(index: int, wanted: Wanted) -> list[Message]:
    messages = [links.without_generated_address(index), links.up(index)]
    messages.append(links.address(index, packed(wanted.gateway), 32))
    if wanted.subnet6:
        messages.append(links.address(index, packed(_NEIGHBOUR), 64))
        messages.append(links.address(index, packed(wanted.gateway6), 128))
    return messages


def _of_container(found: Attached) -> list[Message]:
    wanted, inner = found.wanted, found.inner
    messages = [] if wanted.subnet6 else [links.without_generated_address(inner)]
    messages += [
        links.up(inner),
        links.address(inner, packed(found.address), 32),
        links.route(inner, packed(wanted.gateway), 32),
        _to_subnet(inner, wanted.subnet, wanted.gateway),
    ]
    if wanted.subnet6:
        messages.append(links.address(inner, packed(found.address6), 128))
        messages.append(_to_subnet(inner, wanted.subnet6, _NEIGHBOUR))
    return messages


def _to_subnet(inner: int, subnet: Subnet, gateway: str) -> Message:
    return links.route(inner, packed(subnet.at(0)), subnet.prefix, packed(gateway))


def _defaults(found: Attached, message: Callable[..., Message]) -> list[Message]:
    ways = [found.wanted.gateway, *([_NEIGHBOUR] if found.wanted.subnet6 else [])]
    return [message(found.inner, bytes(4 if version(way) == 4 else 16), 0, packed(way)) for way in ways]
