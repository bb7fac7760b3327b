"""Who asks: the address by which limits are counted."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request

_SITE = 64
"""Bits of an IPv6 address that one customer gets (RFC 6177): whoever has one has 2^64."""


def client_of(request: Request) -> str:
    """Whoever the limits of this request count for, "" if the server does not know."""
    return group_of(request.client.host) if request.client else ""


def group_of(address: str) -> str:
    """An IPv4 address as it is, of an IPv6 address its network of 64 bits."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return f"{IPv6Address(int(found) >> _SITE << _SITE)}/{_SITE}"
