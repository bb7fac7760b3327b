"""The firewall of one container: a table of its own that is made anew whenever something changes.

    raw    what comes from a link has its container's address as its source, and does not go to 127.0.0.0/8
    fwd    what goes to a container: of its own network, of a connection that stands, or to a published port
    pre    from elsewhere to a published port: sent to the container; out the same for this machine's own
    post   what leaves a network gets this machine's address; so does what a container sends to itself

Every table has its say, and one that drops decides: no other one has to know of this.
"""

from __future__ import annotations

from ...words.addresses import family, packed
from ...words.value import Value
from . import nftables as nft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .netlink import Message

PREFIX = "nv"
"""How the links of all containers begin."""

_RAW, _FORWARD, _PRE, _OUT, _POST = "raw", "fwd", "pre", "out", "post"
_CHAINS = (
    nft.Chain(_RAW, "filter", nft.PREROUTING, -300),
    nft.Chain(_FORWARD, "filter", nft.FORWARD, 0),
    nft.Chain(_PRE, "nat", nft.PREROUTING, -100),
    nft.Chain(_OUT, "nat", nft.OUTPUT, -100),
    nft.Chain(_POST, "nat", nft.POSTROUTING, 100),
)
_HOME = b"\x7f"
"""How loopback addresses of IPv4 begin."""
_OF_ROUTERS = (134, 137)
"""Router advertisement and redirect of ICMPv6."""
PROTOCOLS = {"tcp": 6, "udp": 17}


class Link(Value):
    """One link of a container to a network. `group` is the number of the network.

    `address6` "": no IPv6. `internal`: nothing goes out of the network, and nothing comes in.
    """

    name: str
    group: int
    address: str
    address6: str = ""
    internal: bool = False


class Forward(Value):
    """A published port: what comes to `port` of the addresses `host` of this machine goes to `target`.

    `host` is "0.0.0.0", "::" or one address; `address` is the container's.
    """

    host: str
    port: int
    protocol: str
    address: str
    target: int


def table(name: str, links: Sequence[Link], forwards: Sequence[Forward]) -> list[Message]:
    """The messages of the whole table."""
    messages = [nft.table(name), *(nft.chain(name, chain) for chain in _CHAINS)]
    for link in links:
        messages += _of_link(name, link)
    return messages + list(_published(name, forwards))


def _of_link(name: str, link: Link) -> Iterator[Message]:
    comes, goes = nft.link(nft.IIFNAME, link.name), nft.link(nft.OIFNAME, link.name)
    own = nft.group(nft.IIFGROUP, link.group)
    drop, accept = nft.verdict(nft.DROP), nft.verdict(nft.ACCEPT)
    yield from _no_other_source(name, link)
    yield nft.rule(name, _FORWARD, [*goes, *nft.tracked(nft.CT_STATE, nft.ESTABLISHED, nft.UNLIKE), accept])
    yield nft.rule(name, _FORWARD, [*goes, *own, accept])
    if link.internal:
        yield nft.rule(name, _FORWARD, [*comes, *nft.group(nft.OIFGROUP, link.group, nft.UNLIKE), drop])
    else:
        yield nft.rule(name, _FORWARD, [*goes, *nft.tracked(nft.CT_STATUS, nft.DNATED, nft.UNLIKE), accept])
        yield from _masqueraded(name, link)
    yield nft.rule(name, _FORWARD, [*goes, drop])


def _no_other_source(name: str, link: Link) -> Iterator[Message]:
    """Link-local addresses (fe80::/10, and :: before there is one) are how IPv6 finds its neighbours.

    A container is no router: this machine must not take its way out from one (docker CVE-2020-13401).
    """
    comes, drop = nft.link(nft.IIFNAME, link.name), nft.verdict(nft.DROP)
    yield nft.rule(name, _RAW, [*comes, *_source(link.address, nft.UNLIKE), drop])
    home = *nft.of_family(nft.IPV4), nft.destination(nft.IPV4), nft.compare(_HOME)
    yield nft.rule(name, _RAW, [*comes, *home, drop])
    six = [*comes, *nft.of_family(nft.IPV6)]
    if link.address6:
        for kind in _OF_ROUTERS:
            yield nft.rule(name, _RAW, [*comes, *nft.icmp6(kind), drop])
        for known in (packed("fe80::")[:2], bytes(16), packed(link.address6)):
            yield nft.rule(
                name, _RAW, [*six, nft.source(nft.IPV6), nft.compare(known), nft.verdict(nft.ACCEPT)]
            )
    yield nft.rule(name, _RAW, [*six, drop])


def _masqueraded(name: str, link: Link) -> Iterator[Message]:
    out, goes = nft.link(nft.OIFNAME, f"{PREFIX}*", nft.UNLIKE), nft.link(nft.OIFNAME, link.name)
    home = *nft.of_family(nft.IPV4), nft.source(nft.IPV4), nft.compare(_HOME)
    yield nft.rule(name, _POST, [*goes, *home, nft.masquerade()])
    for address in filter(None, (link.address, link.address6)):
        mine = _source(address, nft.EQUAL)
        yield nft.rule(name, _POST, [*mine, *out, nft.masquerade()])
        yield nft.rule(name, _POST, [*mine, *_destination(address), nft.masquerade()])


def _source(address: str, operator: int) -> tuple[bytes, ...]:
    kind = family(address)
    return *nft.of_family(kind), nft.source(kind), nft.compare(packed(address), operator)


def _destination(address: str, operator: int = nft.EQUAL) -> tuple[bytes, ...]:
    kind = family(address)
    return *nft.of_family(kind), nft.destination(kind), nft.compare(packed(address), operator)


def _published(name: str, forwards: Sequence[Forward]) -> Iterator[Message]:
    """A map for each address of this machine. One address comes before all: its map says more."""
    hosts = sorted({each.host for each in forwards}, key=lambda host: (host in ("0.0.0.0", "::"), host))
    for number, host in enumerate(hosts):
        entries = [
            (PROTOCOLS[each.protocol], each.port, packed(each.address), each.target)
            for each in forwards if each.host == host
        ]  # fmt: skip
        kind = family(host)
        yield from nft.ports(name, f"ports{number}", number + 1, kind, entries)
        for chain in (_PRE, _OUT):
            where = _here(host, kind, chain)
            yield nft.rule(name, chain, [*where, *nft.translated(kind, f"ports{number}")])


def _here(host: str, kind: int, chain: str) -> tuple[bytes, ...]:
    """::1 is left alone: a packet of its goes nowhere else."""
    if host not in ("0.0.0.0", "::"):
        return _destination(host)
    local = *nft.of_family(kind), *nft.to_this_machine()
    if chain == _PRE or kind == nft.IPV4:
        return local
    return *local, nft.destination(kind), nft.compare(packed("::1"), nft.UNLIKE)
