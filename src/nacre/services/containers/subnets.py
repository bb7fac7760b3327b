"""Which subnets this machine uses itself."""

from __future__ import annotations

from ...ground.network import links
from ...ground.network.netlink import ROUTE, Netlink
from ...words.addresses import Subnet


def used() -> list[Subnet]:
    """Those that it has routes to, but for default routes; of a container of ours the whole neighbourhood."""
    with Netlink(ROUTE) as netlink:
        routes = [route for route in links.routes(netlink) if route.prefix]
    return [
        Subnet(4 if route.family == links.INET else 6, int.from_bytes(route.destination, "big"), route.prefix)
        for route in routes
    ]
