"""What the options of a container say about networks."""

from __future__ import annotations

from ..grammars.endpoint import NetworkEndpoint, parse_endpoint
from ..stores.containers import CONTAINER
from ..stores.networks import BRIDGE, HOST, NONE
from ..words.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..grammars.ports import Publish
    from ..stores.store import Store
    from .options import ContainerOptions

DEFAULT = "default"
_SHARED = (HOST, NONE)


def mode(options: ContainerOptions) -> str:
    """The network that is named first."""
    return _endpoints(options)[0].network


def fields(options: ContainerOptions, warn: Callable[[str], object]) -> dict[str, Any]:
    """Those of a request. Raises UsageError, Unsupported; `warn` hears of ports that cannot be published."""
    endpoints = _endpoints(options)
    published = _published(options.publish)
    first = endpoints[0]
    plain = len(endpoints) == 1 and first == NetworkEndpoint(first.network)
    shared = plain and first.network in _SHARED
    if shared and (published or options.publish_all):
        warn(f"WARNING: Published ports are discarded when using {first.network} network mode")
    elif published:
        from ..ground.network import claims

        claims.check(published)
    return {
        "ports": (*options.ports, *(each.inside for each in published)),
        "endpoints": () if shared or (plain and first.network.startswith(CONTAINER)) else endpoints,
        "publish": tuple(dict.fromkeys(published)),
        "publish_all": options.publish_all,
    }


def fitting(options: ContainerOptions, store: Store, warn: Callable[[str], object]) -> ContainerOptions:
    """With the network of this machine in place of `bridge` where no other can be had, which is said."""
    from ..services.containers.endpoints import are_possible

    if options.network == DEFAULT:
        options = options.replace(network=_usual(store, warn))
    if [each.network for each in _endpoints(options)] != [BRIDGE] or are_possible(store):
        return options
    warn("WARNING: no namespaces are permitted here: the container shares the network of this machine")
    return options.replace(network=HOST)


def _usual(store: Store, warn: Callable[[str], object]) -> str:
    """The network that `default` is here."""
    from ..services.containers.endpoints import are_possible, obstacle

    if not are_possible(store):
        return HOST
    if why := obstacle(store):
        warn(f"WARNING: the container shares the network of this machine: {why}")
        return HOST
    return BRIDGE


def _endpoints(options: ContainerOptions) -> tuple[NetworkEndpoint, ...]:
    """Each network with what was asked for it; options of their own count for the first."""
    first, *others = (
        each.replace(network=BRIDGE) if each.network == DEFAULT else each
        for each in (_read(parse_endpoint, text) for text in (options.network, *options.networks))
    )
    asked = {"address": options.ip, "address6": options.ip6, "mac": options.mac_address}
    for field, given in asked.items():
        if given and getattr(first, field):
            raise UsageError(f"conflicting options: {given} and that of the network {first.network}")
    changes = {field: given for field, given in asked.items() if given}
    return first.replace(aliases=(*first.aliases, *options.network_aliases), **changes), *others


def _published(texts: Sequence[str]) -> list[Publish]:
    if not texts:
        return []
    from ..grammars.ports import parse_publish

    return [each for text in texts for each in _read(parse_publish, text)]


def _read(read: Callable[[str], Any], text: str) -> Any:
    try:
        return read(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


def prepare(warn: Callable[[str], object]) -> None:
    """Have this machine forward packets, which containers with a network of their own need, and say so."""
    from ..ground import userns

    if not userns.is_first():
        return
    from ..ground.network import forwarding

    if not forwarding.enabled():
        forwarding.enable()
        warn("WARNING: this machine forwards packets from now on (net.ipv4.ip_forward = 1)")
