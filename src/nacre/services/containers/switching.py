"""The network of a container of an ordinary user: as that of root, but its sockets are switched.

The keeper makes them, and asks the keepers of other containers for those that lead there, by their
`network.sock`: `{"socket": FAMILY, "from": ADDRESS}` is answered by a descriptor. `{"exec": true}` asks for
one more program of the container: the connection goes on to the zygote (`ground.sandbox.switched`).
`{"switch": true}` is answered by the namespace; then the listener of a container comes that shares it.
"""

from __future__ import annotations

import _socket
import os
from errno import EHOSTUNREACH, ENETUNREACH

from ...ground.network import namespaces, sockets
from ...ground.network.descriptors import hand, received
from ...ground.network.loopback import LoopbackNetwork
from ...ground.network.switching import Routes, Switch
from ...words.addresses import Subnet, packed, shown, version
from . import networking
from .launch import ProgramLaunch, without_network
from .networking import Networking
from .networksocket import adopted, asked, unanswered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...grammars.endpoint import NetworkEndpoint
    from ...ground.network.attachments import Attached
    from ...ground.sandbox import Attachment
    from ...stores.networks import Member, Network

_NOWHERE6, _LOOPBACK6 = bytes(16), bytes(15) + b"\1"
_MULTICAST = 224
_PRIVATE = {4: (10, 172, 192), 16: (0xFC, 0xFD)}
"""How addresses begin that networks of containers have, by length."""


class SwitchedNetworking(Networking):
    """As `Networking`, for a process that is not root of the machine."""

    def _made(self) -> Any:
        self._loopback = LoopbackNetwork()
        self._inside = self._loopback.namespace
        return self._loopback

    def _configured(self) -> dict[str, Any]:
        """The child gets its namespace by the channel."""
        return without_network(self._record["config"])

    def _attach(self, network: Network, endpoint: NetworkEndpoint) -> str:
        """An address is claimed in the store: no other namespace has to respect it."""
        wanted = networking.wanted(network, endpoint)

        def member(address: str, address6: str) -> Member:
            return self._member(wanted, endpoint, address, address6)

        found = self._networks.admit(network, endpoint.address, endpoint.address6, member)
        try:
            self._loopback.attach(wanted, found.address, found.address6)
        except BaseException:
            self._networks.leave(network.name, self._row.id)
            raise
        return network.name

    def _set_rules(self) -> None:
        """Nothing comes in that they would have to keep out."""

    def leaving(self, leave: Any) -> Any:
        """Nobody takes over: connections are made by this process, and it has the only listener."""

    def _serve(self, control: _socket.socket | None = None) -> None:
        super()._serve(control)
        self._switch = Switch(self._serving, self._loopback.namespace, _Routes(self))
        self._closing.append(self._switch.close)
        if link := self._loopback.link:
            self._serving.watch(link.fileno(), lambda: self._relay(link))
        self._launch = ProgramLaunch(self._loopback.namespace, self._switch.take)
        self._closing.append(self._launch.close)

    def _relay(self, link: _socket.socket) -> None:
        """The first packet that comes out, which most containers never send."""
        from ...ground.network.udp import UdpRelay

        relay = UdpRelay(self._serving, link, self._loopback.place, _Routes(self))
        self._closing.append(relay.close)
        relay.read()

    def before(self, attached: Attachment) -> Attachment:
        """With the channel by which the container gets its namespace and gives its listener."""
        attached = attached.replace(leave=self.leaving(attached.leave))
        return self._launch.before(attached, self._serving.begin)

    def _is_named(self) -> bool:
        """Questions go by UDP, which is not switched."""
        return True

    def _described(self) -> dict[str, Any]:
        return super()._described() | {"switched": True}

    def _gateway(self) -> str:
        """How this machine is reached: by the address that it has on its way out, if it has one."""
        socket = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        try:
            socket.connect(("192.0.2.1", 9))  # nothing is sent
            address: str = socket.getsockname()[0]
        except OSError:
            return "127.0.0.1"
        finally:
            socket.close()
        return address

    def _met(self, client: _socket.socket, request: dict[str, Any]) -> None:
        if "socket" in request:
            self._give_socket(client, request)
        elif "exec" in request:
            self._launch.further(client)
        elif "switch" in request:
            self._share(client)
        else:
            super()._met(client, request)

    def _give_socket(self, client: _socket.socket, request: dict[str, Any]) -> None:
        """One of this container's own, which has the address of the neighbour that asks for it."""
        source = str(request["from"])
        self._loopback.admit(packed(source))

        def make() -> _socket.socket:
            socket = sockets.new(request["socket"])
            socket.bind((source, 0))
            return socket

        socket = namespaces.inside(self._loopback.namespace, make)
        try:
            hand(client, socket.fileno())
        finally:
            socket.close()

    def _share(self, client: _socket.socket) -> None:
        """Another container gets this network; what its programs ask is answered here too."""
        hand(client, self._loopback.namespace)
        channel = adopted(os.dup(client.fileno()))

        def arrived() -> None:
            self._serving.forget(channel.fileno())
            try:
                for fd in received(channel):
                    self._switch.take(fd)
            finally:
                channel.close()

        self._serving.watch(channel.fileno(), arrived)

    def addresses(self) -> frozenset[bytes]:
        """Those of the container."""
        return self._loopback.addresses

    def beside(self, address: str) -> Attached | None:
        """By which of its networks an address is a neighbour's."""
        for each in self._loopback.attached:
            six = each.wanted.subnet6
            if address in each.wanted.subnet or (six and address in six):
                return each
        return None

    def neighbour(self, family: int, address: str, way: Attached) -> _socket.socket:
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

    def is_anothers(self, address: bytes) -> bool:
        """Whether it belongs to a network that the container is not in. Files say so: ask for few."""
        if address[0] not in _PRIVATE[len(address)]:
            return False
        text = shown(address)
        subnets = (each for network in self._networks.every() for each in (network.subnet, network.subnet6))
        return any(text in Subnet.parse(subnet) for subnet in subnets if subnet)

    def has_way_out(self) -> bool:
        """Whether anything but its own networks is reached."""
        return self._loopback.way_out is not None


class _Routes(Routes):
    """Those of `ground.network.udp` as well."""

    def __init__(self, network: SwitchedNetworking) -> None:
        self._network = network

    def is_own(self, address: bytes) -> bool:
        if len(address) == 4:
            return address[0] in (0, 127) or address in self._network.addresses()
        return address in (_NOWHERE6, _LOOPBACK6) or address in self._network.addresses()

    def is_slow(self, address: bytes) -> bool:
        return self._network.beside(shown(address)) is not None

    def open(self, family: int, address: bytes) -> _socket.socket:
        way = self._network.beside(shown(address))
        if way:
            return self._network.neighbour(family, shown(address), way)
        if not self._network.has_way_out() or _is_of_a_link(address) or self._network.is_anothers(address):
            raise OSError(ENETUNREACH, "no way out")
        return sockets.new(family)

    def has(self, address: bytes) -> bool:
        return address in self._network.addresses()

    def leads_out(self, address: bytes) -> bool:
        meant_for_many = address[0] >= _MULTICAST
        if meant_for_many or self.is_own(address) or self.is_slow(address):
            return False
        return self._network.has_way_out() and not self._network.is_anothers(address)


def _is_of_a_link(address: bytes) -> bool:
    """fe80::/10 means nothing without a link, and those of this machine are not the container's."""
    return len(address) == 16 and address[0] == 0xFE and address[1] & 0xC0 == 0x80


def channel(folder: str) -> _socket.socket:
    """By which one more program of a running container is begun. Raises SandboxError."""
    try:
        connection = asked(folder, {"exec": True})
        connection.setblocking(True)
        return connection
    except OSError:
        raise unanswered() from None
