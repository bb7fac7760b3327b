"""Networks as `docker network inspect` shows them, and a container's part in `docker inspect`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ...grammars.gotemplate import Struct
from ...stores.containers import CONTAINER, ContainerRow
from ...words.addresses import Subnet, in_brackets
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
        each["network"]: _endpoint(context, row, each, got.get("endpoints", {}).get(each["network"], {}))
        for each in kept["endpoints"]
    }
    first = found.get("bridge", {})
    top = ("EndpointID", "Gateway", "IPAddress", "IPPrefixLen", "MacAddress", "GlobalIPv6Address")
    shown = {name: first[name] for name in top if name in first}
    return {"Ports": ports(kept, got) if got else {}, "Networks": found, **shown}


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


def ports(kept: Mapping[str, Any], got: Mapping[str, Any]) -> dict[str, list[dict[str, str]] | None]:
    """Each port that is published or exposed, and where."""
    from ...grammars.ports import single_ports

    found: dict[str, list[dict[str, str]] | None] = {
        port: None for text in kept.get("ports") or () for port in single_ports(text)
    }
    for port, places in got.get("ports", {}).items():
        found[port] = [{"HostIp": host, "HostPort": str(number)} for host, number in places]
    return found


def bindings(kept: Mapping[str, Any]) -> dict[str, list[dict[str, str]]]:
    """PortBindings: what was asked for."""
    found: dict[str, list[dict[str, str]]] = {}
    for port, protocol, address, first, last in kept.get("publish") or ():
        wanted = f"{first}-{last}" if last != first else str(first or "")
        found.setdefault(f"{port}/{protocol}", []).append({"HostIp": address, "HostPort": wanted})
    return found


def networks_column(kept: Mapping[str, Any]) -> str:
    """The names of a container's networks."""
    if "endpoints" in kept:
        return ",".join(each["network"] for each in kept["endpoints"])
    return str(kept.get("network") or "host")


def ports_column(kept: Mapping[str, Any], got: Mapping[str, Any]) -> str:
    """As the column PORTS shows them. Source: docker/cli cli/command/formatter, DisplayablePorts."""
    single: list[tuple[int, str, int, str]] = []
    for text, places in ports(kept, got).items() if got else ():
        number, _, protocol = text.partition("/")
        single += [(int(number), place["HostIp"], int(place["HostPort"]), protocol) for place in places or ()]
        single += [] if places else [(int(number), "", 0, protocol)]
    runs: list[tuple[str, str, list[int]]] = []
    others: list[str] = []
    for inside, host, outside, protocol in sorted(single):
        if host and outside != inside:
            others.append(f"{_joined(host, str(outside))}->{inside}/{protocol}")
            continue
        run = next((run for run in reversed(runs) if run[:2] == (host, protocol)), None)
        if run and run[2][-1] == inside - 1:
            run[2].append(inside)
        else:
            runs.append((host, protocol, [inside]))
    return ", ".join([*(_run(*run) for run in runs), *others])


def _run(host: str, protocol: str, numbers: list[int]) -> str:
    shown = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
    return f"{_joined(host, shown)}->{shown}/{protocol}" if host else f"{shown}/{protocol}"


def _joined(host: str, port: str) -> str:
    return f"{in_brackets(host)}:{port}"
