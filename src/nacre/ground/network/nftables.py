"""Tables, chains and rules of nf_tables, as messages. Pure, but for `Firewall`.

A batch is one transaction: one refused message takes all of them back. Integers are big endian but for what
goes into a register, which is in the byte order of the machine or, of a packet, as it stands there.
Source: linux include/uapi/linux/netfilter/nf_tables.h, nfnetlink.h; nft(8).
"""

from __future__ import annotations

import sys
from struct import Struct

from ...words.value import Value
from .netlink import APPEND, CREATE, DUMP, NETFILTER, Message, Netlink, attribute, attributes, nested, text
from .serving import abandon

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

INET = 1
IPV4, IPV6 = 2, 10
"""The family of tables for both, and those of packets (NFPROTO_*)."""

PREROUTING, FORWARD, OUTPUT, POSTROUTING = 0, 2, 3, 4
DROP, ACCEPT = 0, 1
EQUAL, UNLIKE = 0, 1
IIFNAME, OIFNAME, NFPROTO, L4PROTO, IIFGROUP, OIFGROUP = 6, 7, 15, 16, 21, 22
"""What `meta` loads."""
CT_STATE, CT_STATUS = 0, 2
ESTABLISHED = 2 | 4
DNATED = 0x20
"""Bits of `ct state` (established, related) and of `ct status`."""

_SUBSYSTEM, _BEGIN, _END = 10 << 8, 16, 17
_NEWTABLE, _NEWCHAIN, _GETCHAIN, _NEWRULE, _GETRULE, _DELTABLE, _NEWSET, _NEWELEM = 0, 3, 4, 6, 7, 2, 9, 12
_OWNER, _MAP = 2, 8
_HEAD, _BE32 = Struct(">BBH"), Struct(">I")
_LOCAL = 2
_JUMP = -3
_ELEMENTS_AT_ONCE = 400

PORT_KEY, PORT_DATA, PORT_DATA6 = 12 << 6 | 13, 7 << 6 | 13, 8 << 6 | 13
"""How `nft` calls such values: protocol . port, address . port."""


class Chain(Value):
    """A chain. `kind` filter or nat and `hook` for one that the kernel calls, by `priority`."""

    name: str
    kind: str = ""
    hook: int = 0
    priority: int = 0


class BaseChain(Value):
    """A chain that was found at a hook, its table, and whether it drops by default."""

    family: int
    table: str
    name: str
    hook: int
    drops: bool


def number(value: int) -> bytes:
    """A big-endian u32, as attributes have it."""
    return _BE32.pack(value)


def word(value: int) -> bytes:
    """A u32 as registers have it."""
    return value.to_bytes(4, sys.byteorder)


def _expression(name: str, *data: bytes) -> bytes:
    return nested(1, text(1, name), nested(2, *data))


def meta(key: int, register: int = 1) -> bytes:
    """Load something about the packet."""
    return _expression("meta", attribute(1, number(register)), attribute(2, number(key)))


def compare(data: bytes, operator: int = EQUAL) -> bytes:
    """Go on with the rule if the register is, or begins with, `data`; or is not."""
    value = nested(3, attribute(1, data))
    return _expression("cmp", attribute(1, number(1)), attribute(2, number(operator)), value)


def masked(mask: bytes) -> bytes:
    """Keep some bits of the register."""
    return _expression(
        "bitwise", attribute(1, number(1)), attribute(2, number(1)), attribute(3, number(len(mask))),
        nested(4, attribute(1, mask)), nested(5, attribute(1, bytes(len(mask)))),
    )  # fmt: skip


def payload(base: int, offset: int, length: int, register: int = 1) -> bytes:
    """Load bytes of the network header (base 1) or the transport header (base 2)."""
    return _expression(
        "payload", attribute(1, number(register)), attribute(2, number(base)), attribute(3, number(offset)),
        attribute(4, number(length)),
    )  # fmt: skip


def source(family: int) -> bytes:
    """Load the source address."""
    return payload(1, 12, 4) if family == IPV4 else payload(1, 8, 16)


def destination(family: int) -> bytes:
    """Load the destination address."""
    return payload(1, 16, 4) if family == IPV4 else payload(1, 24, 16)


def icmp6(kind: int) -> tuple[bytes, ...]:
    """Whether it is a message of ICMPv6 of that type."""
    return meta(L4PROTO), compare(b"\x3a"), payload(2, 0, 1), compare(bytes([kind]))


def tracked(key: int, bits: int, operator: int) -> tuple[bytes, ...]:
    """Whether any of `bits` is set in the state or status of the connection (UNLIKE), or none (EQUAL)."""
    load = _expression("ct", attribute(1, number(1)), attribute(2, number(key)))
    return load, masked(word(bits)), compare(word(0), operator)


def to_this_machine() -> tuple[bytes, ...]:
    """Whether the destination is an address of this machine."""
    fib = _expression("fib", attribute(1, number(1)), attribute(2, number(3)), attribute(3, number(2)))
    return fib, compare(word(_LOCAL))


def translated(family: int, table: str) -> tuple[bytes, ...]:
    """Send the packet where the map `table` says for its protocol and port, if it says anything."""
    look = _expression("lookup", text(1, table), attribute(2, number(1)), attribute(3, number(1)))
    port = 9 if family == IPV4 else 12  # the 32-bit register after the address
    nat = _expression(
        "nat", attribute(1, number(1)), attribute(2, number(family)), attribute(3, number(1)),
        attribute(5, number(port)),
    )  # fmt: skip
    return meta(L4PROTO), payload(2, 2, 2, 9), look, nat


def redirected(address: bytes, port: int) -> tuple[bytes, ...]:
    """Send the packet to an IPv4 address and port."""
    nat = _expression(
        "nat", attribute(1, number(1)), attribute(2, number(IPV4)), attribute(3, number(1)),
        attribute(5, number(9)),
    )  # fmt: skip
    return _loaded(1, address), _loaded(9, port.to_bytes(2, "big")), nat


def _loaded(register: int, data: bytes) -> bytes:
    return _expression("immediate", attribute(1, number(register)), nested(2, attribute(1, data)))


def masquerade() -> bytes:
    """Replace the source by the address of the link that the packet leaves through."""
    return _expression("masq")


def counter() -> bytes:
    """Count; iptables wants it in each rule."""
    return _expression("counter")


def verdict(code: int) -> bytes:
    """The end of the rule: DROP or ACCEPT."""
    return _expression("immediate", attribute(1, number(0)), nested(2, nested(2, attribute(1, number(code)))))


def jump(name: str) -> bytes:
    """Go through another chain of the table, and come back."""
    where = nested(2, attribute(1, number(_JUMP & 0xFFFFFFFF)), text(2, name))
    return _expression("immediate", attribute(1, number(0)), nested(2, where))


def link(key: int, name: str, operator: int = EQUAL) -> tuple[bytes, ...]:
    """Whether the packet comes in (IIFNAME) or leaves (OIFNAME) by a link; `nv*` is any that begins so."""
    data = name[:-1].encode() if name.endswith("*") else name.encode().ljust(16, b"\0")
    return meta(key), compare(data, operator)


def group(key: int, value: int, operator: int = EQUAL) -> tuple[bytes, ...]:
    """The same by the group of links (IIFGROUP, OIFGROUP)."""
    return meta(key), compare(word(value), operator)


def of_family(family: int) -> tuple[bytes, ...]:
    """Whether it is an IPv4 or an IPv6 packet."""
    return meta(NFPROTO), compare(bytes([family]))


def _message(kind: int, family: int, flags: int, what: str, *data: bytes) -> Message:
    return Message(_SUBSYSTEM | kind, flags, _HEAD.pack(family, 0, 0) + b"".join(data), what)


def table(name: str, family: int = INET, *, owned: bool = True) -> Message:
    """A table that belongs to the socket that makes it, and goes with it; or is anybody's, and stays."""
    return _message(
        _NEWTABLE,
        family,
        CREATE,
        f"make table {name}",
        text(1, name),
        attribute(2, number(_OWNER if owned else 0)),
    )


def no_table(name: str, family: int = INET) -> Message:
    """Remove a table with all that is in it."""
    return _message(_DELTABLE, family, 0, f"remove table {name}", text(1, name))


def chain(owner: str, wanted: Chain, family: int = INET, *, drops: bool = False) -> Message:
    """A chain of a table; `drops` what no rule accepts."""
    hook: tuple[bytes, ...] = ()
    if wanted.kind:
        place = nested(
            4, attribute(1, number(wanted.hook)), attribute(2, number(wanted.priority & 0xFFFFFFFF))
        )
        hook = place, attribute(5, number(DROP if drops else ACCEPT)), text(7, wanted.kind)
    return _message(
        _NEWCHAIN, family, CREATE, f"make chain {wanted.name}", text(1, owner), text(3, wanted.name), *hook
    )


def rule(
    owner: str, name: str, expressions: Iterable[bytes], *, family: int = INET, first: bool = False,
    note: bytes = b"",
) -> Message:  # fmt: skip
    """A rule at the end of a chain, or as its `first`; `note` is kept with it."""
    flags = CREATE | (0 if first else APPEND)
    rest = nested(4, *expressions) + (attribute(7, note) if note else b"")
    return _message(_NEWRULE, family, flags, f"add a rule to {name}", text(1, owner), text(2, name), rest)


def ports(
    owner: str, name: str, number_: int, family: int, entries: Sequence[tuple[int, int, bytes, int]]
) -> Iterator[Message]:
    """A map for `translated`: (protocol, port) to (address, port). `number_` is its own in the batch."""
    data, kind = (8, PORT_DATA) if family == IPV4 else (20, PORT_DATA6)
    yield _message(
        _NEWSET, INET, CREATE, f"make map {name}", text(1, owner), text(2, name),
        attribute(3, number(_MAP)), attribute(4, number(PORT_KEY)), attribute(5, number(8)),
        attribute(6, number(kind)), attribute(7, number(data)), attribute(10, number(number_)),
    )  # fmt: skip
    for begin in range(0, len(entries), _ELEMENTS_AT_ONCE):
        some = nested(3, *map(_element, entries[begin : begin + _ELEMENTS_AT_ONCE]))
        yield _message(_NEWELEM, INET, CREATE, f"fill map {name}", text(1, owner), text(2, name), some)


def _element(entry: tuple[int, int, bytes, int]) -> bytes:
    protocol, port, address, target = entry
    key = bytes([protocol, 0, 0, 0]) + port.to_bytes(2, "big") + b"\0\0"
    data = address + target.to_bytes(2, "big") + b"\0\0"
    return nested(1, nested(1, attribute(1, key)), nested(2, attribute(1, data)))


class Firewall:
    """A socket that owns the tables which it makes: they are gone when it is closed or its holder dies."""

    def __init__(self, fd: int = -1) -> None:
        """In the network namespace of the calling thread; `fd` is a socket of before. Raises OSError."""
        self._netlink = Netlink(NETFILTER, fd)

    def fileno(self) -> int:
        """The descriptor of the socket."""
        return self._netlink.fileno()

    def change(self, messages: Iterable[Message]) -> None:
        """All or nothing. Raises NetlinkError."""
        begin = Message(_BEGIN, 0, _HEAD.pack(0, 0, 10), "change the rules of the firewall", False)
        self._netlink.send([begin, *messages, begin.replace(kind=_END)])

    def bases(self, hook: int) -> list[BaseChain]:
        """The chains that the kernel calls at a hook, of all tables that see IPv4 or IPv6."""
        question = Message(_SUBSYSTEM | _GETCHAIN, DUMP, _HEAD.pack(0, 0, 0), "list chains", False)
        found = (_base(payload) for _, payload in self._netlink.ask(question))
        return [base for base in found if base and base.hook == hook and base.family in (INET, IPV4, IPV6)]

    def chains(self, family: int, table: str) -> list[str]:
        """Names of the chains of a table."""
        question = Message(_SUBSYSTEM | _GETCHAIN, DUMP, _HEAD.pack(family, 0, 0), "list chains", False)
        found = (attributes(payload[_HEAD.size :]) for _, payload in self._netlink.ask(question))
        return [_text(each[3]) for each in found if _text(each.get(1, b"")) == table and 3 in each]

    def notes(self, family: int, owner: str, name: str) -> list[bytes]:
        """What is kept with the rules of a chain."""
        body = _HEAD.pack(family, 0, 0) + text(1, owner) + text(2, name)
        question = Message(_SUBSYSTEM | _GETRULE, DUMP, body, "list rules", False)
        return [attributes(payload[_HEAD.size :]).get(7, b"") for _, payload in self._netlink.ask(question)]

    def leave(self, name: str) -> None:
        """Remove a table of its own now, and let go of the socket without waiting for its end.

        Closing it waits until no processor uses the rules any more, 5 to 20 ms, and so would the end of this
        process.
        """
        try:
            self.change([no_table(name)])
        except OSError:
            self.close()
        else:
            abandon(self)

    def close(self) -> None:
        """Let go of all its tables. Idempotent."""
        self._netlink.close()


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")


def _base(payload: bytes) -> BaseChain | None:
    found = attributes(payload[_HEAD.size :])
    if 4 not in found:
        return None
    place = attributes(found[4])
    drops = _BE32.unpack(found[5])[0] == DROP if 5 in found else False
    return BaseChain(payload[0], _text(found[1]), _text(found[3]), _BE32.unpack(place[1])[0], drops)
