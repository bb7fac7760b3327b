"""The network of a container of an ordinary user: as that of root, but its sockets are switched.

The keeper makes them, and asks the keepers of other containers for those that lead there, by their
`network.sock`: `{"socket": FAMILY, "from": ADDRESS}` is answered by a descriptor, and so is `{"link": true}`,
by which packets come in (`ground.network.neighbours`). `{"exec": true}` asks for one more program of the
container: the connection goes on to the zygote (`ground.sandbox.switched`).
`{"switch": true}` is answered by the namespace; then the listener of a container comes that shares it.
"""

from __future__ import annotations

import _socket
import os
import select

from ...ground.network import namespaces
from ...ground.network.descriptors import hand, hand_all, received
from ...ground.network.loopback import LoopbackNetwork
from ...ground.sandbox.switched import PLAIN, PUBLISHED
from ...words.addresses import packed
from . import networking
from .launch import ProgramLaunch, without_network
from .networking import Networking
from .networksocket import adopted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ...grammars.endpoint import NetworkEndpoint
    from ...ground.network.acceptor import Acceptor
    from ...ground.network.attachments import Attached
    from ...ground.network.nameserver import NameSockets
    from ...ground.network.packetlink import PacketLink
    from ...ground.network.proxy import Proxy
    from ...ground.network.switching import Switch
    from ...ground.network.udp import UdpRelay
    from ...ground.sandbox import Attachment
    from ...stores.networks import Member, Network
    from .routes import ContainerRoutes


class SwitchedNetworking(Networking):
    """As `Networking`, for a process that is not root of the machine."""

    _left: dict[str, Any]
    """What another program of this process has left; {} for the first."""
    _switch: Switch | None = None
    _relay: UdpRelay | None = None
    _acceptor: Acceptor | None = None
    _joining = 0
    """Containers that have been given this network, and have not sent their listener yet."""

    def _made(self) -> Any:
        self._left = {}
        return self._with(LoopbackNetwork())

    def _with(self, network: LoopbackNetwork) -> LoopbackNetwork:
        self._loopback, self._inside = network, network.namespace
        self._listeners: list[int] = []
        return network

    def _taken_over(self, told: dict[str, Any], attached: list[Attached]) -> Any:
        from ...ground.network.nameserver import NameSockets

        self._left = told
        names = NameSockets.adopt(*told["resolver"])
        return self._with(LoopbackNetwork.adopt(tuple(told["held"]), names, attached))

    def _name_sockets(self, held: Sequence[int]) -> NameSockets:
        assert self._loopback.names
        return self._loopback.names

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

    def _serve(self, control: _socket.socket | None = None) -> None:
        super()._serve(control)
        if link := self._loopback.link:
            self._serving.watch(link.fileno(), self._pass_packets)
        if self._left:
            pid, requests = self._left["zygote"]
            self._launch = ProgramLaunch.adopt(pid, requests, self._take)
            for fd in self._left["listeners"]:
                self._take(fd)
        else:
            self._launch = ProgramLaunch(self._loopback.namespace, self._take, self._kind())
        self._closing += [self._launch.close, self._close_listeners]

    def _routes(self) -> ContainerRoutes:
        from .routes import ContainerRoutes

        return ContainerRoutes(self._loopback, self._networks, self._store)

    def _pass_packets(self) -> None:
        """The first packet that comes out, which most containers never send."""
        if self._relay is None and (link := self._loopback.link):
            self._passes_on(link).read()

    def _passes_on(self, link: PacketLink) -> UdpRelay:
        """What passes packets on, from now on."""
        from ...ground.network.udp import UdpRelay

        if self._relay is None:
            self._relay = UdpRelay(self._serving, link, self._routes())
            self._closing.append(self._relay.close)
        return self._relay

    def _kind(self) -> bytes:
        return PUBLISHED if any(claim.protocol == "tcp" for claim in self._claims) else PLAIN

    def _watch_others(self, fd: int = -1) -> None:
        """No rules of a firewall are in its way."""

    def _pass_on(self) -> None:
        """The first who comes loads what lets in."""
        for claim in self._claims:
            self._serving.watch(claim.socket.fileno(), self._let_in)

    def _let_in(self) -> None:
        from ...ground.network.acceptor import Acceptor
        from ...ground.network.proxy import Proxy

        self._proxy = Proxy(self._serving, self._target, self._inside)
        self._acceptor = Acceptor(self._serving, self._inside, self._target, self._proxy)
        self._acceptor.remember(self._left.get("accepting") or [])
        self._closing += [self._proxy.close, self._acceptor.close]
        for claim in self._claims:
            self._lets_in(claim.protocol, self._acceptor, self._proxy).take(claim)

    def _lets_in(self, protocol: str, acceptor: Acceptor, proxy: Proxy) -> Acceptor | UdpRelay | Proxy:
        """Where there is no link, datagrams come in by a socket of the container's."""
        if protocol == "tcp":
            return acceptor
        return self._passes_on(link) if (link := self._loopback.link) else proxy

    def _take(self, fd: int) -> None:
        """A listener; the first call that comes by any of them loads what answers."""
        self._listeners.append(fd)
        if self._switch:
            self._switch.take(fd)
        else:
            self._serving.watch(fd, lambda: self._called(fd))

    def _called(self, fd: int) -> None:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not any(events & select.POLLIN for _, events in poll.poll(0)):  # nobody is left who could call
            self._serving.forget(fd)
            self._listeners.remove(fd)
            os.close(fd)
            return
        from ...ground.network.switching import Switch

        if self._claims and not self._acceptor:
            self._let_in()
        self._switch = switch = Switch(self._serving, self._inside, self._routes(), self._acceptor)
        switch.remember(self._left.get("switch"))
        self._closing.append(switch.close)
        for listener in self._listeners:
            switch.take(listener)

    def _close_listeners(self) -> None:
        for fd in () if self._switch else self._listeners:
            os.close(fd)

    def _is_idle(self) -> bool:
        parts = (self._switch, self._relay, self._acceptor)
        return not self._joining and super()._is_idle() and all(each.is_idle for each in parts if each)

    def _descriptors(self) -> list[int]:
        names = self._listening.held if self._listening else []
        return [fd for fd in (*self._loopback.held[:3], self._launch.held[1], *names) if fd >= 0]

    def describe(self) -> dict[str, Any]:  # noqa: D102
        switch = self._switch
        return {
            **super().describe(),
            "zygote": self._launch.held,
            "listeners": switch.listeners if switch else self._listeners,
            "switch": switch.describe() if switch else self._left.get("switch"),
            "accepting": self._acceptor.describe() if self._acceptor else self._left.get("accepting"),
        }

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
        return namespaces.own_address(_socket.AF_INET) or "127.0.0.1"

    def _met(self, client: _socket.socket, request: dict[str, Any]) -> None:
        if "socket" in request:
            self._give_socket(client, request)
        elif "link" in request:
            if link := self._loopback.link:
                hand_all(client, link.mac, (link.fileno(),))
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

        from ...ground.network import sockets

        def make() -> _socket.socket:
            socket = sockets.new(request["socket"])
            sockets.let_have_any_address(socket)
            socket.bind((source, 0))
            return socket

        socket = namespaces.inside(self._loopback.namespace, make)
        try:
            hand(client, socket.fileno())
        finally:
            socket.close()

    def _share(self, client: _socket.socket) -> None:
        """Another container gets this network; what its programs ask is answered here too."""
        hand_all(client, self._kind(), (self._loopback.namespace,))
        channel = adopted(os.dup(client.fileno()))

        def arrived() -> None:
            self._joining -= 1
            self._serving.forget(channel.fileno())
            try:
                for fd in received(channel):
                    self._take(fd)
            finally:
                channel.close()

        self._joining += 1
        self._serving.watch(channel.fileno(), arrived)
