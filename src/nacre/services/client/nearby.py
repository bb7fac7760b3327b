"""Addresses that nobody far away may lead to: those of the link, and where clouds give out secrets; for some
clients all that are not public.

A registry, a token server or a download can name any URL in a redirect. At link-local addresses the
metadata services of clouds answer whoever asks, with the credentials of the machine.

    169.254.0.0/16, fe80::/10                                  RFC 3927, RFC 4291
    fd00:ec2::254, fd20:ce::254                                the same services over IPv6 (AWS, Google)
    100.100.100.200, 168.63.129.16, 192.0.0.192                the same of Alibaba, Azure and Oracle
"""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_NETWORKS = (IPv4Network("169.254.0.0/16"), IPv6Network("fe80::/10"))
_SERVICES = frozenset(
    map(ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"))
)
_NAMES = frozenset(("metadata", "metadata.google.internal", "metadata.goog", "instance-data.ec2.internal"))
_NAT64, _6TO4 = IPv6Network("64:ff9b::/96"), IPv6Network("2002::/16")


def is_nearby(host: str) -> bool:
    """Does a host, as a URL or a socket has it, mean such an address? Other names are not looked up."""
    host = host.strip("[]").rstrip(".").lower()
    address = _address(host)
    return host in _NAMES if address is None else _is_near(address)


def is_internal(host: str) -> bool:
    """Is a host an address that the internet does not lead to (loopback, private, shared, multicast and the
    like), or the name of this machine? Other names are not looked up.
    """
    host = host.strip("[]").rstrip(".").lower()
    address = _address(host)
    if address is None:
        return host in _NAMES or host == "localhost" or host.endswith(".localhost")
    return _is_near(address) or not _is_public(address)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    inner = _embedded(address) if isinstance(address, IPv6Address) else None
    if inner is not None:
        return _is_public(inner)
    if isinstance(address, IPv6Address) and address.is_site_local:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """As the resolver reads it: `2852039166` and `0xa9fea9fe` are addresses, too."""
    bare = host.partition("%")[0]
    with suppress(ValueError):
        return ip_address(bare)
    try:
        return IPv4Address(socket.inet_aton(bare))
    except (OSError, ValueError):
        return None


def _is_near(address: IPv4Address | IPv6Address) -> bool:
    inner = _embedded(address) if isinstance(address, IPv6Address) else None
    if inner is not None:
        return _is_near(inner)
    return address in _SERVICES or any(address in network for network in _NETWORKS)


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that is reached through this one."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or (address.sixtofour if address in _6TO4 else None)
