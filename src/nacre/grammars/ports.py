"""Ports as docker writes them, of containers and of this machine.

    publish  = [ [ address ":" ] [ range ] ":" ] range [ "/" protocol ]
             | "target=" range [ ",published=" range ] [ ",protocol=" protocol ] [ ",mode=" mode ]
    expose   = range [ "/" protocol ]
    range    = port [ "-" port ]
    protocol = "tcp" | "udp" | "sctp"
    mode     = "host" | "ingress", which say the same without a swarm

Docker ignores other fields of the long form, and publishes `host_ip=127.0.0.1` to everybody; here they are
errors. Source: docker/go-connections nat; docker/cli cli/command/container/opts.go. Errors are ValueError.
"""

from __future__ import annotations

from ..words.addresses import packed
from ..words.value import Value

PROTOCOLS = ("tcp", "udp", "sctp")
_FIELDS, _MODES = ("target", "published", "protocol", "mode"), ("host", "ingress")
_LAST = 65535


class Publish(Value):
    """One port of a container that is reached at a port of this machine.

    `address` "" is all addresses of this machine; `first` to `last` are the ports of which one is taken, 0
    for one that is free.
    """

    port: int
    protocol: str = "tcp"
    address: str = ""
    first: int = 0
    last: int = 0

    @property
    def inside(self) -> str:
        """The port inside, as `80/tcp`."""
        return f"{self.port}/{self.protocol}"


def parse_publish(text: str) -> tuple[Publish, ...]:
    """What `-p` says, a value for each port of the container."""
    address, outside, inside = _split(_standard(text) if "=" in text else text)
    ports, _, protocol = inside.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in PROTOCOLS:
        raise ValueError(f"invalid proto: {protocol}")
    first, last = _named(ports, "containerPort")
    if not first:
        raise ValueError(f"invalid containerPort: {ports} (nothing can listen on port 0)")
    if not outside:
        return tuple(Publish(port, protocol, address) for port in range(first, last + 1))
    low, high = _named(outside, "hostPort")
    if first == last:
        return (Publish(first, protocol, address, low, high),)
    if high - low != last - first:
        raise ValueError(f"invalid ranges specified for container and host Ports: {ports} and {outside}")
    pairs = zip(range(first, last + 1), range(low, high + 1), strict=True)
    return tuple(Publish(port, protocol, address, host, host) for port, host in pairs)


def _standard(text: str) -> str:
    """The long form in the short one."""
    fields = {"protocol": "tcp"}
    for field in text.split(","):
        name, equals, value = field.partition("=")
        if not equals or not name:
            raise ValueError(f"invalid publish opts format (should be name=value but got '{field}')")
        if name not in _FIELDS:
            raise ValueError(f"invalid publish key '{name}': it is one of {', '.join(_FIELDS)}")
        fields[name] = value
    if fields.get("mode", "host") not in _MODES:
        raise ValueError(f"invalid publish mode '{fields['mode']}': it is host or ingress")
    return f"{fields.get('published', '')}:{fields.get('target', '')}/{fields['protocol']}"


def _split(text: str) -> tuple[str, str, str]:
    rest, _, inside = text.rpartition(":")
    address, _, outside = rest.rpartition(":")
    if not address:
        return "", outside, inside
    bare = address[1:-1] if address[0] == "[" and address[-1] == "]" else address
    try:
        packed(bare)
    except ValueError:
        raise ValueError(f"invalid IP address: {address}") from None
    return bare, outside, inside


def _named(text: str, name: str) -> tuple[int, int]:
    try:
        return parse_range(text)
    except ValueError:
        raise ValueError(f"invalid {name}: {text}" if text else "no port specified") from None


def parse_range(text: str) -> tuple[int, int]:
    """`80` or `8000-8010`: first and last."""
    if not text:
        raise ValueError("empty string specified for ports")
    first, dash, last = text.partition("-")
    ends = [_port(first), _port(last if dash else first)]
    if ends[0] > ends[1]:
        raise ValueError(f"invalid range specified for port: {text}")
    return ends[0], ends[1]


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= _LAST):
        raise ValueError(f"{text!r} is not a port")
    return int(text)


def parse_expose(text: str) -> tuple[str, ...]:
    """`80`, `80/udp`, `8000-8010/tcp`, each port as `80/tcp`."""
    ports, _, protocol = text.partition("/")
    if protocol.lower() not in ("", *PROTOCOLS):
        raise ValueError(f"invalid proto: {protocol}")
    first, last = parse_range(ports)
    return tuple(f"{port}/{protocol.lower() or 'tcp'}" for port in range(first, last + 1))


def single_ports(text: str) -> tuple[str, ...]:
    """As `parse_expose`, and nothing for what is no port: the config of an image may have any text."""
    try:
        return parse_expose(text)
    except ValueError:
        return ()
