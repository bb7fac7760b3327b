"""Which proxy a request goes through, and which hosts are asked directly.

    no_proxy   = entry *( "," entry )
    entry      = "*" | host [ ":" port ] | network     host also stands for all names below it
    network    = address "/" prefix                    for hosts that are written as an address

Source: golang.org/x/net/http/httpproxy, which docker uses. A proxy for one host alone wins over both.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from ...grammars.wire.links import origin
from ...words.errors import UsageError
from ...words.reference import is_loopback

DIRECT = "direct"


def proxy_for(url: str, variables: Mapping[str, str], special: str = "") -> str:
    """The URL of the proxy for a request, "" for none; `special` is that of its host. Raises UsageError.

    `variables` are `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`; loopback needs none.
    """
    scheme, host, port = origin(url)
    if special:
        return "" if special == DIRECT else _checked(special)
    proxy = variables.get(f"{scheme}_proxy") or variables.get("all_proxy", "")
    if not proxy or is_loopback(host) or is_direct(host, port, variables.get("no_proxy", "")):
        return ""
    return _checked(proxy)


def is_direct(host: str, port: int, no_proxy: str) -> bool:
    """Whether `no_proxy` names a host."""
    return any(_names(entry.strip(), host, port) for entry in no_proxy.split(","))


def _names(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        return _contains(entry, host)
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdecimal() and (":" not in name or name.startswith("[")):
        if int(wanted) != port:
            return False
        entry = name
    name = entry.strip("[]").lstrip(".").lower()
    return bool(name) and (host == name or host.endswith("." + name))


def _contains(network: str, host: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False


def _checked(proxy: str) -> str:
    url = proxy if "://" in proxy else f"http://{proxy}"
    try:
        scheme, host = urlsplit(url).scheme, origin(url)[1]
    except ValueError:
        scheme = host = ""
    if scheme not in ("http", "https") or not host:
        raise UsageError(f"invalid proxy {_shown(proxy)!r}", hint="expected http://HOST:PORT")
    return url


def _shown(proxy: str) -> str:
    """Without the password that it may have."""
    scheme, mark, rest = proxy.rpartition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"[:200]
