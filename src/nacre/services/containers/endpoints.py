"""What a container wants of networks: which ones, as whom, and which of its ports are published.

Source: docker/cli opts/network.go; moby daemon/container_operations.go and api/types/network/endpoint.go, the
errors.
"""

from __future__ import annotations

import os

from ...grammars.endpoint import NetworkEndpoint
from ...ground.files import os_errors
from ...stores.containers import CONTAINER
from ...stores.networks import BRIDGE, HOST, NONE, Networks, is_name, is_program
from ...words.addresses import Subnet
from ...words.errors import Conflict, Unsupported, UsageError
from ...words.quickjson import loads
from . import keeper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...grammars.ports import Publish
    from ...images.model.runtime import RunOptions
    from ...stores.networks import Network
    from ...stores.store import Store
    from .service import Containers, CreateRequest

_DRIVER = "com.docker.network.driver."
MTU = f"{_DRIVER}mtu"


def networks_of(store: Store) -> Networks:
    """All networks of a store."""
    return Networks(store.root, lambda number: keeper.is_kept(store.containers.folder(number)))


def with_networks(containers: Containers, request: CreateRequest) -> CreateRequest:
    """With the network that is meant, and proved to make sense. Raises UsageError, NotFound, Unsupported."""
    options = request.options
    if options.network.startswith(CONTAINER):
        return request.replace(options=_of_container(containers, request))
    endpoints = request.endpoints or (NetworkEndpoint(options.network),)
    if len(endpoints) > 1 and any(each.network in (HOST, NONE) for each in endpoints):
        raise UsageError(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
        )
    if options.network in (HOST, NONE):
        _refuse_addresses(endpoints[0])
        return request.replace(endpoints=())
    _check_rights(containers.store)
    if any(is_program(each.network) for each in endpoints):
        return _of_program(request, endpoints)
    networks = networks_of(containers.store)
    checked = tuple(check(networks, each) for each in endpoints)
    names = [each.network for each in checked]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise UsageError(f"network {twice!r} is specified multiple times")
    return request.replace(endpoints=checked, options=options.replace(network=checked[0].network))


def _of_program(request: CreateRequest, endpoints: tuple[NetworkEndpoint, ...]) -> CreateRequest:
    """That of another program, which is the only one. Raises UsageError, Unsupported."""
    from .networkprogram import check as check_program

    first = next(each for each in endpoints if is_program(each.network))
    if len(endpoints) > 1:
        raise UsageError(f"conflicting options: {first.network.partition(':')[0]} and another network")
    _refuse_addresses(first)
    check_program(first.network)
    return request.replace(endpoints=(first,), options=request.options.replace(network=first.network))


def are_possible(store: Store) -> bool:
    """Whether containers can have a network of their own here at all."""
    if store.driver.mounts_roots:
        return True
    from ...ground.sandbox import permitted

    return permitted.way() == "mounts"


def obstacle(store: Store) -> str:
    """Why a container can have no network of its own here, "" when it can; looked for once in each boot."""
    from ...stores.database import boot_id

    where, networks = f"{boot_id()}.{os.stat('/proc/self/ns/net').st_ino}", networks_of(store)
    if networks.is_probed(where):
        return ""
    from ...ground.network import probe

    found = probe.obstacle()
    if not found:
        with os_errors("note that networks are possible"):
            networks.note_probed(where)
    return found


def _check_rights(store: Store) -> None:
    """Raises Unsupported where a container can have no network of its own."""
    if not are_possible(store):
        raise Unsupported(
            "networks of containers need namespaces, which are not permitted here", hint="--network host"
        )


def _of_container(containers: Containers, request: CreateRequest) -> RunOptions:
    options, name = request.options, request.options.network.removeprefix(CONTAINER)
    conflicts = (
        (options.hostname, "hostname"),
        (request.publish or request.publish_all, "port publishing"),
        (request.ports, "port exposing"),
        (request.dns, "dns"),
        (request.hosts, "custom host-to-IP mapping"),
    )
    for given, what in conflicts:
        if given:
            raise UsageError(f"conflicting options: {what} and the container type network mode")
    _refuse_addresses(NetworkEndpoint(options.network) if not request.endpoints else request.endpoints[0])
    other = containers.get(name)
    hostname = loads(other.config_json)["config"].get("hostname", "")
    return options.replace(network=CONTAINER + other.id, hostname=hostname)


def _refuse_addresses(endpoint: NetworkEndpoint) -> None:
    if endpoint.address or endpoint.address6:
        raise UsageError("user specified IP address is supported on user defined networks only")
    if endpoint.aliases:
        raise UsageError("network-scoped alias is supported only for containers in user defined networks")
    if endpoint.mac:
        raise UsageError("conflicting options: mac-address and the network mode")


def check(networks: Networks, endpoint: NetworkEndpoint) -> NetworkEndpoint:
    """With the name of its network. Raises NotFound, UsageError, Conflict."""
    if endpoint.network == BRIDGE:
        _refuse_addresses(endpoint.replace(mac=""))
        return endpoint
    if endpoint.network in (HOST, NONE):
        raise Conflict(f"cannot attach to the network {endpoint.network}")
    network = networks.get(endpoint.network)
    for asked, subnet in ((endpoint.address, network.subnet), (endpoint.address6, network.subnet6)):
        _check_address(network, asked, subnet)
    for alias in endpoint.aliases:
        if not is_name(alias):
            raise UsageError(f"invalid network alias {alias!r}")
    return endpoint.replace(network=network.name)


def _check_address(network: Network, asked: str, subnet: str) -> None:
    if not asked:
        return
    if not network.chosen:
        raise UsageError(
            "user specified IP address is supported only when connecting to networks with user configured "
            "subnets",
            hint=f"network {network.name} was made without --subnet",
        )
    if not subnet or asked not in Subnet.parse(subnet):
        raise UsageError(f"no configured subnet or ip-range contains the IP address {asked}")
    if asked in (network.gateway, network.gateway6, *network.reserved):
        raise Conflict(f"Address already in use: {asked}")


def record(request: CreateRequest) -> dict[str, Any]:
    """What the row of a container keeps of it."""
    if not request.endpoints:
        return {}
    return {
        "endpoints": [written(each) for each in request.endpoints],
        "publish": [list(each._astuple()) for each in request.publish],
        "publish_all": request.publish_all,
    }


def written(endpoint: NetworkEndpoint) -> dict[str, Any]:
    """As a record keeps it."""
    fields = dict(zip(endpoint._fields, endpoint._astuple(), strict=True))
    return {**fields, "aliases": list(endpoint.aliases)}


def read(fields: dict[str, Any]) -> NetworkEndpoint:
    """An endpoint as a record keeps it."""
    return NetworkEndpoint(**{**fields, "aliases": tuple(fields["aliases"])})


def published(kept: dict[str, Any]) -> list[Publish]:
    """All ports to be published: those that were named, and with `-P` the rest of what is exposed."""
    if not kept.get("publish") and not kept.get("publish_all"):
        return []
    from ...grammars.ports import Publish, single_ports

    named = [Publish(*fields) for fields in kept.get("publish", ())]
    if not kept.get("publish_all"):
        return named
    exposed = [port for text in kept.get("ports", ()) for port in single_ports(text)]
    taken = {each.inside for each in named}
    return named + [
        Publish(int(port), protocol)
        for port, _, protocol in (text.partition("/") for text in dict.fromkeys(exposed) if text not in taken)
    ]
