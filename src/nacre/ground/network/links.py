"""Messages about links, their addresses and routes. Source: rtnetlink(7), veth(4)."""

from __future__ import annotations

from struct import Struct

from ...words.value import Value
from .netlink import CREATE, DUMP, EXCL, Message, attribute, attributes, nested, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .netlink import Netlink

LONGEST_NAME = 15
INET, INET6 = 2, 10
"""Families of addresses."""
LOCAL = 255
"""The table of what means this namespace."""

_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _DELADDR = 16, 17, 18, 20, 21
_NEWROUTE, _DELROUTE, _GETROUTE, _NEWRULE = 24, 25, 26, 32
_UP, _NO_ARP = 1, 0x80
_ADDRESS, _IFNAME, _MTU, _LINKINFO, _AF_SPEC, _GROUP, _NET_NS_FD = 1, 3, 4, 18, 26, 27, 28
_MOST_SEGMENTS = 40
_INFO_KIND, _INFO_DATA, _VETH_PEER, _GENERATED = 1, 2, 1, 8
_NO_ADDRESS = 1
_INET_CONF, _ROUTE_LOCALNET = 1, 26
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS, _NO_DETECTION = 1, 2, 8, 0x82
_DST, _OIF, _GATEWAY, _SOURCE = 1, 4, 5, 7
_MAIN, _BY_BOOT, _UNICAST, _ANYWHERE, _ON_LINK = 254, 3, 1, 0, 253
_LOCAL_KIND, _HERE = 2, 254
_TO_TABLE, _RULE_PRIORITY, _RULE_TABLE, _RULE_PROTOCOL = 1, 6, 15, 22
_LINK, _ADDR, _ROUTE, _WORD = Struct("=BxHiII"), Struct("=BBBBI"), Struct("=BBBBBBBBI"), Struct("=I")


class IpRoute(Value):
    """A route of the main table: the family, the packed address and length of what it leads to, its link."""

    family: int
    destination: bytes
    prefix: int
    link: int


def family(address: bytes) -> int:
    """Of a packed address."""
    return INET if len(address) == 4 else INET6


def pair(name: str, peer: str, namespace: int, *, group: int = 0, mac: bytes = b"", mtu: int = 0) -> Message:
    """A new pair of links: `name` here, `peer` born in the network namespace of a descriptor.

    `group` is a number that rules can ask for; `mac` is the peer's. Refused with EEXIST when either is there.
    """
    size = attribute(_MTU, _WORD.pack(mtu)) if mtu else b""
    inside = _LINK.pack(0, 0, 0, 0, 0) + _name(peer) + size
    inside += attribute(_NET_NS_FD, _WORD.pack(namespace)) + (attribute(_ADDRESS, mac) if mac else b"")
    kind = nested(_LINKINFO, text(_INFO_KIND, "veth"), nested(_INFO_DATA, attribute(_VETH_PEER, inside)))
    body = _LINK.pack(0, 0, 0, 0, 0) + _name(name) + size + attribute(_GROUP, _WORD.pack(group)) + kind
    return Message(_NEWLINK, CREATE | EXCL, body, f"make link {name}")


def _name(name: str) -> bytes:
    """Raises ValueError for what the kernel takes for no name of a link."""
    if not 0 < len(name.encode()) <= LONGEST_NAME or name in (".", "..") or set(name) & set("/: \t\n"):
        raise ValueError(f"{name!r} is no name of a link")
    return text(_IFNAME, name)


def up(index: int) -> Message:
    """Bring a link up."""
    return Message(_NEWLINK, 0, _LINK.pack(0, 0, index, _UP, _UP), f"bring up link {index}")


def physical(index: int, mac: bytes) -> Message:
    """Give a link another address of its own, and packets that are one datagram each; before it is up."""
    body = _LINK.pack(0, 0, index, 0, 0) + attribute(_ADDRESS, mac)
    return Message(_NEWLINK, 0, body + attribute(_MOST_SEGMENTS, _WORD.pack(1)), f"set up link {index}")


def up_alone(index: int) -> Message:
    """Bring up a link at whose other end nobody is asked for addresses."""
    flags = _UP | _NO_ARP
    return Message(_NEWLINK, 0, _LINK.pack(0, 0, index, flags, flags), f"bring up link {index}")


def without_generated_address(index: int) -> Message:
    """A link gets no IPv6 address but those that it is given; before it is up."""
    spec = nested(_AF_SPEC, nested(INET6, attribute(_GENERATED, bytes([_NO_ADDRESS]))))
    return Message(_NEWLINK, 0, _LINK.pack(0, 0, index, 0, 0) + spec, f"set up link {index}")


def with_loopback(index: int) -> Message:
    """Packets from 127.0.0.0/8 may leave by a link. So may those to it come in: have rules that drop them."""
    setting = nested(_INET_CONF, attribute(_ROUTE_LOCALNET, _WORD.pack(1)))
    spec = nested(_AF_SPEC, nested(INET, setting))
    return Message(_NEWLINK, 0, _LINK.pack(0, 0, index, 0, 0) + spec, f"set up link {index}")


def delete(index: int) -> Message:
    """Remove a link, with its peer."""
    return Message(_DELLINK, 0, _LINK.pack(0, 0, index, 0, 0), f"remove link {index}")


def address(index: int, packed: bytes, prefix: int) -> Message:
    """Give a link an address. IPv6 has it at once, without the second in which doubles are looked for."""
    flags = attribute(_IFA_FLAGS, _WORD.pack(_NO_DETECTION)) if len(packed) == 16 else b""
    body = _ADDR.pack(family(packed), prefix, 0, 0, index)
    body += attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed) + flags
    return Message(_NEWADDR, CREATE | EXCL, body, f"set an address of link {index}")


def no_address(index: int, packed: bytes, prefix: int) -> Message:
    """Take an address from a link."""
    body = _ADDR.pack(family(packed), prefix, 0, 0, index) + attribute(_IFA_LOCAL, packed)
    return Message(_DELADDR, 0, body, f"remove an address of link {index}")


def local(index: int, packed: bytes, table: int = LOCAL) -> Message:
    """Have one more address mean this namespace, without being an address of a link."""
    body = _ROUTE.pack(family(packed), 8 * len(packed), 0, 0, table, _BY_BOOT, _HERE, _LOCAL_KIND, 0)
    body += attribute(_DST, packed) + attribute(_OIF, _WORD.pack(index))
    return Message(_NEWROUTE, CREATE | EXCL, body, "add a local address")


def by_table(kin: int, protocol: int, table: int) -> Message:
    """A protocol asks one more table, between the local and the main one. Refused with EEXIST if it does.

    Source: ip-rule(8), Linux 4.17.
    """
    body = _ROUTE.pack(kin, 0, 0, 0, table, 0, 0, _TO_TABLE, 0)
    body += attribute(_RULE_PRIORITY, _WORD.pack(table)) + attribute(_RULE_TABLE, _WORD.pack(table))
    return Message(_NEWRULE, CREATE | EXCL, body + attribute(_RULE_PROTOCOL, bytes([protocol])), "add a rule")


def route(index: int, packed: bytes, prefix: int, gateway: bytes = b"", source: bytes = b"") -> Message:
    """A route through a link; prefix 0 is the default. Refused with EEXIST when there is one to the same.

    What goes there has the address `source`, if that is given.
    """
    body = _route(index, packed, prefix, gateway) + (attribute(_SOURCE, source) if source else b"")
    return Message(_NEWROUTE, CREATE | EXCL, body, "add a route")


def no_route(index: int, packed: bytes, prefix: int, gateway: bytes = b"") -> Message:
    """Take a route away."""
    return Message(_DELROUTE, 0, _route(index, packed, prefix, gateway), "remove a route")


def _route(index: int, packed: bytes, prefix: int, gateway: bytes) -> bytes:
    scope = _ANYWHERE if gateway or len(packed) == 16 else _ON_LINK
    body = _ROUTE.pack(family(packed), prefix, 0, 0, _MAIN, _BY_BOOT, scope, _UNICAST, 0)
    body += attribute(_DST, packed) if prefix else b""
    return body + (attribute(_GATEWAY, gateway) if gateway else b"") + attribute(_OIF, _WORD.pack(index))


def index(netlink: Netlink, name: str) -> int:
    """The number of a link. Raises NetlinkError when there is none (ENODEV)."""
    question = Message(_GETLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + _name(name), f"find link {name}")
    found = [_LINK.unpack_from(payload)[2] for kind, payload in netlink.ask(question) if kind == _NEWLINK]
    return int(found[0])


def routes(netlink: Netlink) -> Iterator[IpRoute]:
    """The routes of the main table, default routes as prefix 0."""
    question = Message(_GETROUTE, DUMP, _ROUTE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0), "list routes", False)
    for kind, payload in netlink.ask(question):
        kin, prefix, _, _, table, *_ = _ROUTE.unpack_from(payload)
        if kind != _NEWROUTE or table != _MAIN or kin not in (INET, INET6):
            continue
        found = attributes(payload[_ROUTE.size :])
        out = found.get(_OIF, b"")
        yield IpRoute(kin, found.get(_DST, b""), prefix, _WORD.unpack(out)[0] if out else 0)
