"""A container's part in a network, as docker writes it.

    network = name | "container:" name | program | field [ "," field ]*
    field   = "name=" name | "alias=" name | "ip=" address | "ip6=" address | "mac-address=" mac

Source: docker/cli opts/network.go. Errors are ValueError.
"""

from __future__ import annotations

from ..words.value import Value

_ONES = {"name": "network", "ip": "address", "ip6": "address6", "mac-address": "mac"}
_PROGRAMS = "pasta:", "slirp4netns:"
"""Their options are their own: see `networkprogram`."""
_DIGITS = frozenset("0123456789abcdef")


class NetworkEndpoint(Value):
    """One network of a container. "" for what is left to us.

    `aliases` are more names for it there; `address` and `address6` are asked for.
    """

    network: str
    aliases: tuple[str, ...] = ()
    address: str = ""
    address6: str = ""
    mac: str = ""


def parse_endpoint(text: str) -> NetworkEndpoint:
    """What one `--network` says of it."""
    if "=" not in text or text.startswith(_PROGRAMS):
        if not text:
            raise ValueError("the name of a network is missing")
        return NetworkEndpoint(text)
    aliases, found = [], dict.fromkeys(_ONES.values(), "")
    for field in text.split(","):
        key, equals, value = field.partition("=")
        key, value = key.strip().lower(), value.strip()
        if not equals or not value:
            raise ValueError(f"invalid field {field!r}: expected name=value")
        if key == "alias":
            aliases.append(value)
        elif key in _ONES:
            found[_ONES[key]] = _read(key, value)
        else:
            raise ValueError(f"{key} is not supported")
    if not found["network"]:
        raise ValueError("network name/id is not specified")
    return NetworkEndpoint(aliases=tuple(aliases), **found)


def _read(key: str, value: str) -> str:
    if key == "mac-address":
        return parse_mac(value)
    if key.startswith("ip") and _version(value) != (6 if key == "ip6" else 4):
        raise ValueError(f"{value} is no address of that version")
    return value


def parse_mac(text: str) -> str:
    """Six bytes in hexadecimal digits, of one machine."""
    parts = text.lower().replace("-", ":").split(":")
    good = len(parts) == 6 and all(len(part) == 2 and _DIGITS.issuperset(part) for part in parts)
    if not good or int(parts[0], 16) & 1 or not any(int(part, 16) for part in parts):
        raise ValueError(f"{text} is not a valid mac address")
    return ":".join(parts)


def _version(address: str) -> int:
    from ..words.addresses import packed, version

    packed(address)
    return version(address)
