"""Who asks: the address by which limits are counted."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ...grammars.wire.errors import Code, refusal

if TYPE_CHECKING:
    from starlette.requests import Request

_HOST = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_SITE = 64
"""Bits of an IPv6 address that one customer gets (RFC 6177): whoever has one has 2^64."""


def client_of(request: Request) -> str:
    """Whoever the limits of this request count for, "" if the server does not know."""
    return group_of(request.client.host) if request.client else ""


def check_namespace(request: Request) -> None:
    """`?ns=` is the registry for which containerd takes this one as a mirror. Raises RegistryError (400).

    What is here answers for each, under its name alone: there is no other registry behind this one.
    """
    if b"ns=" in request.scope["query_string"]:
        for host in request.query_params.getlist("ns"):
            if not _HOST.fullmatch(host):
                raise refusal(Code.NAME_INVALID, f"ns must be a registry like docker.io, not {host[:100]!r}")


def check_origin(request: Request) -> None:
    """Raises RegistryError (403) for what a page of another site makes a browser send."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin", "")
    here = urlsplit(origin).netloc == request.headers.get("host", "")
    if site not in ("same-origin", "none") or (origin and not here):
        raise refusal(Code.DENIED, "this was sent from another site", status=403)


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
