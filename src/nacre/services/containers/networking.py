"""The network of a container that runs: made before its program starts, served meanwhile, gone afterwards.

Beside the container's other files stands `network`, what it got, for `inspect`; and `network.sock`, by which
it is told to join or leave a network.
"""

from __future__ import annotations

import os

from ...ground.files import unlink, write_atomic
from ...ground.network.attachments import Attached, Wanted
from ...ground.network.serving import Serving
from ...stores.containers import NETWORK
from ...stores.networks import BRIDGE, Member
from ...words.addresses import Subnet, version
from ...words.errors import NacreError, SandboxError
from ...words.quickjson import dumps, loads
from . import endpoints, etc
from .networksocket import SOCKET, adopted, listener, meet

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, Self

    from ...grammars.endpoint import NetworkEndpoint
    from ...grammars.ports import Publish
    from ...ground.network.claims import Claim
    from ...ground.network.firewalld import FirewalldWatch
    from ...ground.network.nameserver import NameSockets
    from ...ground.network.proxy import Proxy
    from ...ground.network.resolver import Resolver
    from ...ground.network.rules import Forward
    from ...ground.network.veth import ContainerNetwork
    from ...ground.sandbox import Attachment
    from ...stores.containers import ContainerRow
    from ...stores.networks import Network
    from ...stores.store import Store

PLACE = f"{__package__}.networkshim", "wake"


class Networking:
    """`with Networking(store, row, record) as network:` the container is to be run with `network.config`."""

    _inside = -1
    """The namespace in which connections to the container begin; -1: the one of this process."""

    def __init__(self, store: Store, row: ContainerRow, record: dict[str, Any]) -> None:
        """`record` is what the row keeps."""
        self._store = store
        self._row, self._record = row, record
        self._folder = store.containers.folder(row.id)
        self._state = store.containers.file(row.id, NETWORK)
        self._networks = endpoints.networks_of(store)
        self._claims: list[Claim] = []
        self._network: ContainerNetwork | None = None
        self._names: dict[str, NetworkEndpoint] = {}
        self._closing: list[Callable[[], object]] = []
        self._listening: NameSockets | None = None
        self._resolver: Resolver | None = None
        self._proxy: Proxy | None = None
        self._others: FirewalldWatch | None = None

    def __enter__(self) -> Networking:
        try:
            self._claim(endpoints.published(self._record))
            self._network = self._made()
            for fields in self._record["endpoints"]:
                self._join(endpoints.read(fields))
            self._serve()
            self._watch_others()
            self._refresh()
            self.config = self._configured()
        except OSError as error:
            self.close()
            raise SandboxError(f"cannot set up the network of the container: {error.strerror}") from None
        except BaseException:
            self.close()
            raise
        return self

    def _claim(self, wanted: list[Publish]) -> None:
        if wanted:
            from ...ground.network import claims

            self._claims = claims.claim(wanted)

    def before(self, attached: Attachment) -> Attachment:
        """The same, and what serves the network begins once the program runs and nothing forks any more."""
        running = attached.on_running

        def begin() -> None:
            self._serving.begin()
            if running:
                running()

        return attached.replace(on_running=begin, leave=self.leaving(attached.leave))

    def leaving(self, leave: Callable[[dict[str, Any]], object] | None) -> Any:
        """Has the shim take over, unless something is being passed on: see `networkshim`."""
        if not leave:
            return None

        def leaving(told: dict[str, Any]) -> None:
            self._serving.pause()
            try:
                if self._is_idle():
                    held = self.describe()
                    descriptors = [*told.get("descriptors", ()), *held["descriptors"]]
                    leave({**told, "descriptors": descriptors, "network": held})
            finally:
                self._serving.begin()

        return leaving

    def _is_idle(self) -> bool:
        """Whether nobody waits for anything."""
        return all(each.is_idle for each in (self._proxy, self._resolver) if each)

    def _descriptors(self) -> list[int]:
        """What is held beside that which is watched."""
        return [*self._own.held, *(self._listening.held if self._listening else ())]

    def describe(self) -> dict[str, Any]:
        """What `adopt` takes, as plain values."""
        return {
            "place": PLACE,
            "watched": self._serving.descriptors,
            "descriptors": [*dict.fromkeys((*self._descriptors(), *self._serving.descriptors))],
            "control": self._control.fileno(),
            "held": self._own.held,
            "others": self._others.fileno() if self._others else -1,
            "resolver": self._listening.held if self._listening else [],
            "claims": [claim.describe() for claim in self._claims],
            "names": {name: endpoints.written(each) for name, each in self._names.items()},
            "attached": [_plain(each) for each in self._own.attached],
        }

    @classmethod
    def adopt(cls, store: Store, row: ContainerRow, told: dict[str, Any]) -> Self:
        """What another program of this process has left; nothing is served yet. Raises OSError."""
        found = cls(store, row, loads(row.config_json))
        if told["claims"]:
            from ...ground.network.claims import Claim

            found._claims = [Claim.adopt(*each) for each in told["claims"]]
        found._names = {name: endpoints.read(fields) for name, fields in told["names"].items()}
        found._network = found._taken_over(told, [found._attached(each) for each in told["attached"]])
        found._serve(adopted(told["control"]))
        found._watch_others(told.get("others", -1))
        if told["resolver"]:
            found._resolve(told["resolver"])
        return found

    def _taken_over(self, told: dict[str, Any], attached: list[Attached]) -> Any:
        """The network that is there already."""
        from ...ground.network.veth import ContainerNetwork

        network = ContainerNetwork(self._row.id[:12], tuple(told["held"]))
        network.take_over(attached)
        return network

    def _attached(self, told: Sequence[Any]) -> Attached:
        name, mac, *rest = told
        plan = wanted(self._found(name), self._names[name])
        return Attached(plan.replace(mac=mac), *rest)

    def moved(self) -> bool:
        """Whether it has served anybody since the last call."""
        moved, self._serving.moved = self._serving.moved, False
        return moved

    def begin(self) -> None:
        """Serve it. Raises SandboxError."""
        self._serving.begin()

    @property
    def _own(self) -> ContainerNetwork:
        assert self._network
        return self._network

    def _made(self) -> ContainerNetwork:
        from ...ground.network.veth import ContainerNetwork

        return ContainerNetwork(self._row.id[:12])

    def _configured(self) -> dict[str, Any]:
        """What the container is run with."""
        return _in_namespace(self._record["config"], self._own.path)

    def _join(self, endpoint: NetworkEndpoint) -> str:
        name = self._attach(self._found(endpoint.network), endpoint)
        self._names[name] = endpoint
        return name

    def _attach(self, network: Network, endpoint: NetworkEndpoint) -> str:
        attached = self._own.attach(wanted(network, endpoint))
        member = self._member(attached.wanted, endpoint, attached.address, attached.address6)
        try:
            self._networks.join(network.name, member)
        except BaseException:
            self._own.detach(network.name)
            raise
        return network.name

    def _member(self, wanted: Wanted, endpoint: NetworkEndpoint, address: str, address6: str) -> Member:
        name = self._store.containers.get(self._row.id).name  # it may have been renamed
        names = (name, *endpoint.aliases, self._row.id[:12])
        return Member(self._row.id, address, address6, wanted.mac, names)

    def _join_running(self, endpoint: NetworkEndpoint) -> None:
        name = self._join(endpoint)
        try:
            self._refresh()
        except BaseException:
            self._leave(name)
            raise

    def _found(self, name: str) -> Network:
        return self._networks.bridge(_used) if name == BRIDGE else self._networks.get(name)

    def _leave(self, name: str) -> None:
        self._own.detach(name)
        self._networks.leave(name, self._row.id)
        self._names.pop(name, None)

    def _refresh(self) -> None:
        """What follows from the networks that it is in: rules, and files."""
        if self._is_named() and self._listening is None:
            self._resolve()
        self._set_rules()
        self._write_files()
        write_atomic(self._state, dumps(self._described()).encode())

    def _resolve(self, held: Sequence[int] = ()) -> None:
        """Listen; the first question loads what answers."""
        self._listening = sockets = self._name_sockets(held)
        self._closing.append(sockets.close)
        for each in (sockets.udp, sockets.tcp):
            self._serving.watch(each.fileno(), self._answer)

    def _name_sockets(self, held: Sequence[int]) -> NameSockets:
        """`held` as another program of this process had them."""
        from ...ground.network import namespaces
        from ...ground.network.nameserver import NameSockets

        if held:
            return NameSockets.adopt(*held)
        return namespaces.inside(self._own.namespace, NameSockets.open)

    def _answer(self) -> None:
        from ...ground.network.resolver import Resolver
        from .members import NetworkMembers

        assert self._listening
        known = NetworkMembers(self._networks, lambda: [name for name in self._names if name != BRIDGE])
        self._resolver = Resolver(self._serving, self._listening, known, self._servers)
        self._closing.append(self._resolver.close)

    def _set_rules(self) -> None:
        self._own.forwards = list(self._forwards())
        self._own.set_rules()

    def _forwards(self) -> Iterable[Forward]:
        """By the firewall, as far as it can; what is left is the proxy's."""
        from ...ground.network.rules import Forward

        target = self._own.way_out
        for claim in self._claims if target else ():
            address = target.address6 if version(claim.host) == 6 else target.address  # type: ignore[union-attr]
            if address and claim.host != "::1":
                yield Forward(claim.host, claim.port, claim.protocol, address, claim.inside)

    def _target(self) -> str:
        """Where the proxy leads to. Raises ValueError when there is no way in."""
        found = self._own.way_out
        if found is None:
            raise ValueError("no way in")
        return found.address

    def _serve(self, control: _socket.socket | None = None) -> None:
        self._serving = Serving()
        self._closing.append(self._serving.end)
        if self._claims:
            self._pass_on()
        self._control = control or listener(self._folder)
        self._closing.append(self._control.close)
        self._serving.watch(self._control.fileno(), lambda: meet(self._control, self._met))

    def _watch_others(self, fd: int = -1) -> None:
        """Another firewall may take away the rules that let containers pass."""
        from ...ground.network.firewalld import FirewalldWatch

        watch = self._others = FirewalldWatch.adopt(fd) if fd >= 0 else FirewalldWatch()
        self._closing.append(watch.close)
        self._serving.watch(watch.fileno(), lambda: self._own.let_pass(watch))

    def _pass_on(self) -> None:
        from ...ground.network.proxy import Proxy

        proxy = self._proxy = Proxy(self._serving, self._target, self._inside)
        self._closing.append(proxy.close)
        for claim in self._claims:
            proxy.take(claim)

    def _is_named(self) -> bool:
        """Whether names are ours to resolve: in networks that users have made, and where the servers of this
        machine are on its loopback, which a container does not reach.
        """
        return any(name != BRIDGE for name in self._names) or not _reachable(self._all_servers())

    def _all_servers(self) -> list[str]:
        own = self._record["asked"].get("Dns")
        return list(own) if own else etc.name_servers()

    def _servers(self) -> list[str]:
        """Whom names are asked of that are not ours; nobody for a container that has no way out."""
        return self._all_servers() if self._own.way_out else []

    def _write_files(self) -> None:
        asked = self._record["asked"]
        servers: list[str] = asked.get("Dns") or []
        options: list[str] = asked.get("DnsOptions") or []
        if self._listening and self._is_named():
            servers, options = [self._listening.address], options or ["ndots:0"]
        elif not servers:
            servers = _reachable(self._all_servers())
        addresses = [a for each in self._own.attached for a in (each.address, each.address6) if a]
        self._put_files(addresses, self._gateway(), servers, options)

    def _put_files(
        self, addresses: Iterable[str], gateway: str, servers: Iterable[str], options: Iterable[str]
    ) -> None:
        """`addresses` are those of the container, `gateway` is this machine as it reaches it."""
        asked, hostname = self._record["asked"], self._record["config"].get("hostname", "")
        added, domain = tuple(asked.get("ExtraHosts") or ()), asked.get("Domainname") or ""
        hosts = etc.HostsFile(False, added, tuple(addresses), gateway, domain)
        search = tuple(asked.get("DnsSearch") or ())
        etc.write(self._folder, hostname, hosts, etc.ResolvConf(tuple(servers), search, tuple(options)))

    def _gateway(self) -> str:
        """This machine, as the container reaches it."""
        way = self._own.way_out or next(iter(self._own.attached), None)
        return way.wanted.gateway if way else "127.0.0.1"

    def _described(self) -> dict[str, Any]:
        ports: dict[str, list[list[object]]] = {}
        for claim in self._claims if self._own.way_out else ():
            ports.setdefault(f"{claim.inside}/{claim.protocol}", []).append([claim.host, claim.port])
        return {"ports": ports, "endpoints": {e.wanted.network: _shown(e) for e in self._own.attached}}

    def _met(self, client: _socket.socket, request: dict[str, Any]) -> None:
        client.sendall(dumps(self._done(request)).encode() + b"\n")

    def _done(self, request: dict[str, Any]) -> dict[str, str]:
        try:
            if "join" in request:
                self._join_running(endpoints.read(request["join"]))
            else:
                self._leave(request["leave"])
                self._refresh()
        except NacreError as error:
            return {"error": error.message, "hint": error.hint}
        except OSError as error:
            return {"error": f"cannot change the networks of the container: {error.strerror}", "hint": ""}
        return {}

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is left of it."""
        for close in self._closing:
            close()
        self._closing.clear()
        for name in list(self._names):
            self._networks.leave(name, self._row.id)
        if self._network:
            self._network.close()
        for claim in self._claims:
            claim.close()
        for name in (NETWORK, SOCKET):
            unlink(f"{self._folder}/{name}")


def _used() -> list[Subnet]:
    """The subnets of this machine; a network is made but once."""
    from .subnets import used

    return used()


def wanted(network: Network, endpoint: NetworkEndpoint) -> Wanted:
    """What an endpoint is to be, as the kernel hears it."""
    options = dict(network.options)
    mac = endpoint.mac or ":".join(f"{byte:02x}" for byte in (2, *os.urandom(5)))
    six = Subnet.parse(network.subnet6) if network.subnet6 else None
    return Wanted(
        network.name, network.group, Subnet.parse(network.subnet), network.gateway,
        (endpoint.address,) if endpoint.address else network.addresses(), six, network.gateway6,
        (endpoint.address6,) if endpoint.address6 else network.addresses6(), network.internal, mac,
        int(options.get(endpoints.MTU, "0")),
    )  # fmt: skip


def _plain(attached: Attached) -> list[object]:
    """The network, the address of the link, and the other fields."""
    name, mac = attached.wanted.network, attached.wanted.mac
    return [name, mac, *attached._astuple()[1:]]


def _shown(attached: Attached) -> dict[str, Any]:
    wanted = attached.wanted
    six = wanted.subnet6
    return {
        "address": attached.address, "prefix": wanted.subnet.prefix, "gateway": wanted.gateway,
        "address6": attached.address6, "prefix6": six.prefix if six else 0, "gateway6": wanted.gateway6,
        "mac": wanted.mac,
    }  # fmt: skip


def _reachable(servers: list[str]) -> list[str]:
    return [server for server in servers if not server.startswith("127.") and server != "::1"]


def _in_namespace(config: dict[str, Any], path: str) -> dict[str, Any]:
    kinds = [
        {**each, "path": path} if each["type"] == "network" else each
        for each in config["linux"]["namespaces"]
    ]
    return {**config, "linux": {**config["linux"], "namespaces": kinds}}
