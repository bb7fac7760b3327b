"""Whether containers of root can have a network of their own here, by making one that is thrown away."""

from __future__ import annotations

import os

from ...words.errors import NacreError
from . import forwarding, links, namespaces, rules
from .netlink import ROUTE, Netlink
from .nftables import Firewall

_LINK, _ADDRESS = f"{rules.PREFIX}probe", "10.0.0.2"


def obstacle() -> str:
    """What is in the way, "" for nothing. In a namespace of its own: nothing of the machine is touched."""
    try:
        fd = namespaces.new()
    except NacreError as error:
        return error.message
    try:
        with namespaces.InsideNamespace(fd):
            _make(fd)
    except OSError as error:
        return str(error.strerror)
    finally:
        os.close(fd)
    return "" if forwarding.possible() else "it does not forward packets, and that cannot be changed"


def _make(fd: int) -> None:
    """A pair of links and a table with every kind of rule."""
    link = rules.Link(_LINK, 1, _ADDRESS)
    forward = rules.Forward("0.0.0.0", 80, "tcp", _ADDRESS, 80)
    with Netlink(ROUTE) as netlink:
        netlink.send([links.pair(_LINK, "eth0", fd, group=1)])
    firewall = Firewall()
    try:
        firewall.change(rules.table("nacre-probe", [link], [forward]))
    finally:
        firewall.close()
