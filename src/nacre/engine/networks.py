"""Networks of containers: made, listed, joined, left and removed."""

from __future__ import annotations

from ..grammars.endpoint import NetworkEndpoint
from ..services.containers.endpoints import MTU, networks_of
from ..stores.networks import BRIDGE, HOST, NONE, Network, generated6, new_id
from ..words.errors import Conflict, NotFound, Unsupported, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from ..services.containers.service import Containers
    from ..stores.containers import ContainerRow
    from ..stores.networks import Member, Networks
    from ..stores.store import Store
    from .wiring import Wiring

    T = TypeVar("T")
    Found = list[Network]
    Members = list[Member]

_MTUS = range(68, 65536)


class NetworkCollection:
    """The networks of an engine's store. `name` is a name, an id or the beginning of one."""

    def __init__(self, engine: Wiring) -> None:
        self._engine = engine

    def create(
        self, name: str, *, subnets: Sequence[str] = (), gateways: Sequence[str] = (), ip_range: str = "",
        reserved: Sequence[str] = (), internal: bool = False, ipv6: bool = False,
        labels: Sequence[tuple[str, str]] = (), options: Sequence[tuple[str, str]] = (),
    ) -> Network:  # fmt: skip
        """Make a network; a subnet is chosen if none is given. Raises UsageError, Conflict, Unsupported."""
        import time

        from ..services.containers.subnets import used

        _check_options(options)
        subnet, subnet6 = _by_version(subnets, "subnet")
        gateway, gateway6 = _by_version(gateways, "gateway")
        network = Network(
            id=new_id(), name=name, created=time.time(), subnet=subnet, gateway=gateway,
            subnet6=subnet6 or (str(generated6()) if ipv6 else ""), gateway6=gateway6, range=ip_range,
            reserved=tuple(reserved), internal=internal, chosen=bool(subnets), labels=tuple(labels),
            options=tuple(options),
        )  # fmt: skip
        made = self._inside(lambda networks: networks.create(network, used()))
        self._engine.tell("network", "create", made.id, made.name, type="bridge")
        return made

    def list(self) -> Found:
        """All networks by name, with those that are always there."""
        there = self._inside(lambda networks: networks.every())
        missing = {BRIDGE, HOST, NONE}.difference(one.name for one in there)
        return sorted([*there, *map(_builtin, missing)], key=lambda one: one.name)

    def get(self, name: str) -> Network:
        """One network. Raises NotFound, Conflict where a beginning fits several."""
        found = [one for one in self.list() if name in (one.name, one.id)]
        return found[0] if found else self._inside(lambda networks: networks.get(name))

    def members(self, name: str) -> Members:
        """The containers that run and are in a network, by its full name."""
        return self._inside(lambda networks: networks.members(name))

    def connect(
        self, name: str, container: str, *, aliases: Sequence[str] = (), ip: str = "", ip6: str = ""
    ) -> ContainerRow:
        """Have a container join a network, whether it runs or not. Raises NotFound, Conflict, UsageError."""
        from ..services.containers.connecting import connect

        endpoint = NetworkEndpoint(name, tuple(aliases), ip, ip6)
        return self._containers(lambda found: connect(found, container, endpoint))

    def disconnect(self, name: str, container: str, *, force: bool = False) -> ContainerRow:
        """Have a container leave a network; with `force` also one that is gone. Raises as `connect`."""
        from ..services.containers.connecting import disconnect

        return self._containers(lambda found: disconnect(found, container, name, force=force))

    def remove(self, name: str) -> Network:
        """Remove a network. Raises NotFound, Conflict while a running container is in it."""
        network = self._inside(lambda networks: networks.remove(name))
        self._engine.tell("network", "destroy", network.id, network.name, type="bridge")
        return network

    def prune(self, wanted: Callable[[Network], bool] = lambda _network: True) -> Found:
        """Remove the networks that are `wanted` and that no running container is in; those that were."""
        gone = [one for one in self.list() if wanted(one) and self._is_removed(one)]
        self._engine.tell("network", "prune", "", reclaimed="0")
        return gone

    def _is_removed(self, network: Network) -> bool:
        """Whether it could be: somebody may have joined it, or removed it."""
        try:
            self.remove(network.name)
        except (Conflict, NotFound):
            return False
        return True

    def _inside(self, work: Callable[[Networks], T]) -> T:
        return self._engine.inside(lambda store: work(networks_of(store)))

    def _containers(self, work: Callable[[Containers], T]) -> T:
        from ..services.containers.service import Containers

        def inside(store: Store) -> T:
            return work(Containers(store))

        return self._engine.inside(inside)


def _builtin(name: str) -> Network:
    """One that is always there, as long as no file says more of it."""
    import hashlib

    return Network(hashlib.sha256(f"nacre network {name}".encode()).hexdigest(), name, 0.0, "", "")


def _by_version(given: Sequence[str], what: str) -> tuple[str, str]:
    """Of IPv4 and of IPv6, one at most."""
    four, six = [text for text in given if ":" not in text], [text for text in given if ":" in text]
    if len(four) > 1 or len(six) > 1:
        raise UsageError(f"a network has one {what} of each version of IP")
    return "".join(four), "".join(six)


def _check_options(options: Sequence[tuple[str, str]]) -> None:
    """Raise Unsupported for any but the size of packets."""
    for name, value in options:
        good = name == MTU and value.isascii() and value.isdigit() and len(value) < 6 and int(value) in _MTUS
        if not good:
            raise Unsupported(
                f"the option {name}={value} of networks is not supported", hint=f"known is {MTU}"
            )
