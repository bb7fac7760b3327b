"""Networks as `docker network inspect` shows them, and a container's part in `docker inspect`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ...grammars.gotemplate import Struct
from ...stores.containers import CONTAINER, ContainerRow
from ...words.addresses import Subnet
from ..columns import ports
from ..context import Context
from ..output import rfc3339
from .shapes import SHAPES

if TYPE_CHECKING:
    from ...stores.networks import Member, Network

_DRIVERS = {"host": "host", "none": "null"}


def driver_of(name: str) -> str:
    """What docker calls the driver of a network."""
    return _DRIVERS.get(name, "bridge")


def endpoint_id(container: str, network: str) -> str:
    """The id of an endpoint, which nothing but `inspect` has a use for."""
    import hashlib

    return hashlib.sha256(f"{container} {network}".encode()).hexdigest()


def network_document(network: Network, members: Iterable[Member]) -> Struct:
    """All that is known of it, and docker's zero for the rest."""
    pools = [(network.subnet, network.gateway, network.range), (network.subnet6, network.gateway6, "")]
    known = {
        "Name": network.name,
        "Id": network.id,
        "Created": rfc3339(network.created),
        "Scope": "local",
        "Driver": driver_of(network.name),
        "EnableIPv4": True,
        "EnableIPv6": bool(network.subnet6),
        "IPAM": {"Driver": "default", "Options": {}, "Config": [_pool(*pool) for pool in pools if pool[0]]},
        "Internal": network.internal,
        "Containers": {member.container: _member(network, member) for member in members},
        "Options": dict(network.options),
        "Labels": dict(network.labels),
    }
    return SHAPES.fill("Network", known)


def _pool(subnet: str, gateway: str, part: str) -> dict[str, str]:
    found = {"Subnet": subnet, "Gateway": gateway}
    return found | {"IPRange": part} if part else found


def _member(network: Network, member: Member) -> dict[str, str]:
    return {
        "Name": member.names[0],
        "EndpointID": endpoint_id(member.container, network.name),
        "MacAddress": member.mac,
        "IPv4Address": f"{member.address}/{Subnet.parse(network.subnet).prefix}",
        "IPv6Address": f"{member.address6}/{Subnet.parse(network.subnet6).prefix}" if member.address6 else "",
    }


def settings(context: Context, row: ContainerRow, kept: Mapping[str, Any]) -> dict[str, Any]:
    """NetworkSettings of a container."""
    if "endpoints" not in kept:
        mode = kept.get("network") or "none"
        return {
            "Ports": {},
            "Networks": {} if mode.startswith(CONTAINER) else {mode: _shared(context, row, mode)},
        }
    got = context.engine.containers.reached(row)
    found = {
        name: _endpoint(context, row, each, got.get("endpoints", {}).get(name, {}))
        for name, each in ((_name(each["network"]), each) for each in kept["endpoints"])
    }
    first = found.get("bridge", {})
    top = ("EndpointID", "Gateway", "IPAddress", "IPPrefixLen", "MacAddress", "GlobalIPv6Address")
    shown = {name: first[name] for name in top if name in first}
    return {"Ports": ports(kept, got) if got else {}, "Networks": found, **shown}


def _name(network: str) -> str:
    """Without the options of a program that is a network."""
    return network.partition(":")[0]


def _shared(context: Context, row: ContainerRow, mode: str) -> dict[str, str]:
    """That of this machine, or none."""
    if row.state != "running":
        return {}
    return {"NetworkID": network_id(context, mode), "EndpointID": endpoint_id(row.id, mode)}


def _endpoint(
    context: Context, row: ContainerRow, asked: Mapping[str, Any], got: Mapping[str, Any]
) -> dict[str, Any]:
    given = {"IPv4Address": asked["address"], "IPv6Address": asked["address6"]}
    given = {name: address for name, address in given.items() if address}
    known: dict[str, Any] = {
        "IPAMConfig": given or None,
        "Aliases": list(asked["aliases"]) or None,
        "DNSNames": [row.name, *asked["aliases"], row.id[:12]],
        "NetworkID": network_id(context, asked["network"]),
        "MacAddress": asked["mac"],
    }
    if not got:
        return known
    return known | {
        "EndpointID": endpoint_id(row.id, asked["network"]),
        "Gateway": got["gateway"],
        "IPAddress": got["address"],
        "IPPrefixLen": got["prefix"],
        "IPv6Gateway": got["gateway6"],
        "GlobalIPv6Address": got["address6"],
        "GlobalIPv6PrefixLen": got["prefix6"],
        "MacAddress": got["mac"],
    }


def network_id(context: Context, name: str) -> str:
    """The id of a network, "" when it is gone."""
    from ...words.errors import NacreError

    try:
        return context.engine.networks.get(name).id
    except NacreError:
        return ""


def bindings(kept: Mapping[str, Any]) -> dict[str, list[dict[str, str]]]:
    """PortBindings: what was asked for."""
    found: dict[str, list[dict[str, str]]] = {}
    for port, protocol, address, first, last in kept.get("publish") or ():
        wanted = f"{first}-{last}" if last != first else str(first or "")
        found.setdefault(f"{port}/{protocol}", []).append({"HostIp": address, "HostPort": wanted})
    return found
