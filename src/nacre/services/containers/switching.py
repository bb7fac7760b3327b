"""The network of a container of an ordinary user: as that of root, but its sockets are switched.

The keeper makes them, and asks the keepers of other containers for those that lead there, by their
`network.sock`: `{"socket": FAMILY, "from": ADDRESS}` is answered by a descriptor. `{"exec": true}` asks for
one more program of the container: the connection goes on to the zygote (`ground.sandbox.switched`).
"""

from __future__ import annotations

import _socket
from errno import EHOSTUNREACH, ENETUNREACH

from ...ground.network import namespaces, sockets
from ...ground.network.descriptors import hand, received
from ...ground.network.loopback import LoopbackNetwork
from ...ground.network.switching import Routes, Switch
from ...ground.sandbox import join
from ...ground.sandbox.switched import Zygote
from ...words.addresses import Subnet, packed, shown, version
from . import networking
from .networking import Networking
from .networksocket import asked, unanswered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...grammars.endpoint import NetworkEndpoint
    from ...ground.network.attachments import Attached
    from ...ground.sandbox import Attachment
    from ...stores.networks import Member, Network

_NOWHERE6, _LOOPBACK6 = bytes(16), bytes(15) + b"\1"
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
        system = self._record["config"]["linux"]
        kinds = [each for each in system["namespaces"] if each["type"] != "network"]
        return {**self._record["config"], "linux": {**system, "namespaces": kinds}}

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
        self._zygote: Zygote | None = None

    def before(self, attached: Attachment) -> Attachment:
        """With the channel by which the container gets its namespace and gives its listener."""
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        self._closing += [ours.close, theirs.close]
        hand(ours, self._loopback.namespace)
        started = attached.on_start

        def forked(pid: int) -> None:
            self._born(ours)
            theirs.close()
            if started:
                started(pid)
            self._serving.begin()  # the set-up of the program is filtered as it will be

        return attached.replace(
            channel=theirs.fileno(), further=join.serve, on_start=forked, leave=self.leaving(attached.leave)
        )

    def _born(self, channel: _socket.socket) -> None:
        """What the container gives: its listener, and the zygote."""
        for fd in received(channel):
            self._switch.take(fd)
        self._zygote = Zygote(channel)
        self._closing.append(self._zygote.close)

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
        elif "exec" in request and self._zygote:
            self._zygote.pass_on(client)
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

    def leads_out(self) -> bool:
        """Whether anything but its own networks is reached."""
        return self._loopback.way_out is not None


class _Routes(Routes):
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
        if not self._network.leads_out() or _is_of_a_link(address) or self._network.is_anothers(address):
            raise OSError(ENETUNREACH, "no way out")
        return sockets.new(family)


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
