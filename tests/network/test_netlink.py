"""Messages to the kernel, and its answers."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from waiting import until

from nacre.ground.fork import ChildReport, fork
from nacre.ground.network import links, namespaces, rules
from nacre.ground.network import nftables as nft
from nacre.ground.network.netlink import NETFILTER, ROUTE, Netlink, NetlinkError, attribute, attributes, text

HERE, THERE = bytes([10, 9, 0, 1]), bytes([10, 9, 0, 2])


def test_attributes() -> None:
    data = attribute(3, b"abc") + attribute(0x8002, b"") + attribute(1, b"wxyz")
    assert data[:8] == b"\7\0\3\0abc\0"
    assert attributes(data) == {3: b"abc", 2: b"", 1: b"wxyz"}
    assert attributes(data[:-1]) == {3: b"abc", 2: b"", 1: b"wxy"}
    assert attributes(b"\0\0\1\0") == {}


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "a:b", "x" * 16, "é" * 8, "a\nb"])
def test_no_name_of_a_link(name: str) -> None:
    with pytest.raises(ValueError, match="is no name of a link"):
        links.pair(name, "eth0", 0)
    with pytest.raises(ValueError, match="is no name of a link"):
        links.pair("nv0", name, 0)


def test_no_nul_and_nothing_too_long() -> None:
    with pytest.raises(ValueError, match="null byte"):
        text(1, "a\0b")
    with pytest.raises(ValueError, match="do not fit"):
        attribute(1, bytes(1 << 16))


@pytest.fixture
def wired(namespace: int) -> Iterator[tuple[Netlink, int]]:
    """A netlink socket of a namespace, with a pair of links that leads to another."""
    other = namespaces.new()
    with namespaces.InsideNamespace(namespace), Netlink(ROUTE) as netlink:
        netlink.send([links.pair("nv0", "eth7", other, group=4242, mac=b"\2\0\0\0\0\7", mtu=1400)])
        yield netlink, other
    os.close(other)


def test_a_pair_is_what_ip_shows(wired: tuple[Netlink, int], peer: Callable[..., None]) -> None:
    peer("ip")
    netlink, other = wired
    index = links.index(netlink, "nv0")
    netlink.send([links.without_generated_address(index), links.up(index), links.address(index, HERE, 32)])
    netlink.send([links.route(index, THERE, 32), links.address(index, b"\xfd" + bytes(14) + b"\1", 64)])
    (shown,) = json.loads(said("ip", "-j", "-d", "addr", "show", "dev", "nv0"))
    (link,) = json.loads(said("ip", "-j", "-d", "link", "show", "dev", "nv0"))
    assert (shown["mtu"], shown["group"], link["inet6_addr_gen_mode"]) == (1400, "4242", "none")
    assert shown["linkinfo"]["info_kind"] == "veth"
    assert "UP" in shown["flags"]
    assert [(a["local"], a["prefixlen"]) for a in shown["addr_info"]] == [("10.9.0.1", 32), ("fd00::1", 64)]
    (route,) = json.loads(said("ip", "-j", "route"))
    assert (route["dst"], route["dev"], route["scope"]) == ("10.9.0.2", "nv0", "link")
    with namespaces.InsideNamespace(other):
        (inner,) = json.loads(said("ip", "-j", "link", "show", "dev", "eth7"))
    assert (inner["address"], inner["mtu"]) == ("02:00:00:00:00:07", 1400)


def said(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_what_is_taken_is_refused(wired: tuple[Netlink, int]) -> None:
    netlink, other = wired
    index = links.index(netlink, "nv0")
    netlink.send([links.up(index), links.address(index, HERE, 32), links.route(index, THERE, 32)])
    for message in (
        links.pair("nv0", "eth8", other), links.pair("nv1", "eth7", other), links.route(index, THERE, 32),
        links.address(index, HERE, 32),
    ):  # fmt: skip
        with pytest.raises(NetlinkError) as caught:
            netlink.send([links.up(index), message])
        assert (caught.value.errno, caught.value.number) == (errno.EEXIST, 1)
    assert [route.destination for route in links.routes(netlink)] == [THERE]


def test_the_kernels_words(wired: tuple[Netlink, int]) -> None:
    netlink, _ = wired
    with pytest.raises(NetlinkError, match="find link nope: No such device"):
        links.index(netlink, "nope")
    with pytest.raises(
        NetlinkError, match=r"add a route: Network is unreachable \(Nexthop has invalid gateway\)"
    ):
        netlink.send([links.up(1), links.route(1, bytes(4), 0, THERE)])


def test_a_link_goes_with_its_peer(wired: tuple[Netlink, int]) -> None:
    netlink, other = wired
    netlink.send([links.delete(links.index(netlink, "nv0"))])
    with namespaces.InsideNamespace(other):
        assert [name for _, name in socket.if_nameindex()] == ["lo"]


TABLE = rules.table(
    "t",
    [rules.Link("nv1", 7, "10.9.0.2", "fd00::2"), rules.Link("nv2", 8, "10.9.1.2", internal=True)],
    [
        rules.Forward("0.0.0.0", 8080, "tcp", "10.9.0.2", 80),
        rules.Forward("0.0.0.0", 53, "udp", "10.9.0.2", 5353),
        rules.Forward("192.0.2.1", 443, "tcp", "10.9.0.2", 8443),
        rules.Forward("::", 8080, "tcp", "fd00::2", 80),
    ],
)  # fmt: skip
SHOWN = """
table inet t {
map ports0 {
type inet_proto . inet_service : ipv4_addr . inet_service
elements = { tcp . 443 : 10.9.0.2 . 8443 }
}
map ports1 {
type inet_proto . inet_service : ipv4_addr . inet_service
elements = { tcp . 8080 : 10.9.0.2 . 80, udp . 53 : 10.9.0.2 . 5353 }
}
map ports2 {
type inet_proto . inet_service : ipv6_addr . inet_service
elements = { tcp . 8080 : fd00::2 . 80 }
}
chain raw {
type filter hook prerouting priority raw; policy accept;
iifname "nv1" ip saddr != 10.9.0.2 drop
iifname "nv1" ip daddr 127.0.0.0/8 drop
iifname "nv1" icmpv6 type nd-router-advert drop
iifname "nv1" icmpv6 type nd-redirect drop
iifname "nv1" ip6 saddr fe80::/16 accept
iifname "nv1" ip6 saddr :: accept
iifname "nv1" ip6 saddr fd00::2 accept
iifname "nv1" meta nfproto ipv6 drop
iifname "nv2" ip saddr != 10.9.1.2 drop
iifname "nv2" ip daddr 127.0.0.0/8 drop
iifname "nv2" meta nfproto ipv6 drop
}
chain fwd {
type filter hook forward priority filter; policy accept;
oifname "nv1" ct state established,related accept
oifname "nv1" iifgroup 7 accept
oifname "nv1" ct status dnat accept
oifname "nv1" drop
oifname "nv2" ct state established,related accept
oifname "nv2" iifgroup 8 accept
iifname "nv2" oifgroup != 8 drop
oifname "nv2" drop
}
chain pre {
type nat hook prerouting priority dstnat; policy accept;
ip daddr 192.0.2.1 dnat ip to meta l4proto . th dport map @ports0
meta nfproto ipv4 fib daddr type local dnat ip to meta l4proto . th dport map @ports1
meta nfproto ipv6 fib daddr type local dnat ip6 to meta l4proto . th dport map @ports2
}
chain out {
type nat hook output priority -100; policy accept;
ip daddr 192.0.2.1 dnat ip to meta l4proto . th dport map @ports0
meta nfproto ipv4 fib daddr type local dnat ip to meta l4proto . th dport map @ports1
meta nfproto ipv6 fib daddr type local ip6 daddr != ::1 dnat ip6 to meta l4proto . th dport map @ports2
}
chain post {
type nat hook postrouting priority srcnat; policy accept;
oifname "nv1" ip saddr 127.0.0.0/8 masquerade
ip saddr 10.9.0.2 oifname != "nv*" masquerade
ip saddr 10.9.0.2 ip daddr 10.9.0.2 masquerade
ip6 saddr fd00::2 oifname != "nv*" masquerade
ip6 saddr fd00::2 ip6 daddr fd00::2 masquerade
}
}
"""


def plain(listing: str) -> list[list[str]]:
    """Maps and chains by name, without what differs between versions, as the order of elements and tabs."""
    text = re.sub(r"meta nfproto ipv[46] (?!drop)", "", listing)
    text = re.sub(r" # progname \S+", "", re.sub(r",\s+", ", ", text))
    lines = [line.strip() for line in text.replace("{ ", "{\n").replace(" }", "\n}").split("\n")]
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line.startswith(("map ", "chain ")):
            blocks.append([])
        if line not in ("", "}", "flags owner"):
            blocks[-1].append(", ".join(sorted(line.split(", "))))
    return sorted(blocks)


def test_rules_are_what_nft_shows(namespace: int, peer: Callable[..., None]) -> None:
    peer("nft")
    with namespaces.InsideNamespace(namespace):
        firewall = nft.Firewall()
        firewall.change(TABLE)
        shown = said("nft", "list", "ruleset")
        firewall.close()
        assert said("nft", "list", "ruleset") == ""
    assert plain(shown) == plain(SHOWN)


def test_a_batch_is_all_or_nothing(namespace: int) -> None:
    with namespaces.InsideNamespace(namespace):
        firewall = nft.Firewall()
        with pytest.raises(NetlinkError, match="add a rule to nope: No such file or directory"):
            firewall.change([*TABLE, nft.rule("t", "nope", [nft.verdict(nft.DROP)])])
        assert firewall.bases(nft.FORWARD) == []
        firewall.change(TABLE)
        assert [(base.table, base.name) for base in firewall.bases(nft.FORWARD)] == [("t", "fwd")]
        firewall.change([nft.no_table("t"), *TABLE])
        firewall.close()


def test_nobody_else_changes_an_owned_table(namespace: int) -> None:
    with namespaces.InsideNamespace(namespace):
        owner, other = nft.Firewall(), nft.Firewall()
        owner.change(TABLE)
        with pytest.raises(NetlinkError, match="Operation not permitted"):
            other.change([nft.no_table("t")])
        owner.close()
        assert other.bases(nft.FORWARD) == []
        other.close()


def test_a_thousand_ports(namespace: int) -> None:
    forwards = [rules.Forward("0.0.0.0", n, p, "10.9.0.2", n) for n in range(1, 2001) for p in ("tcp", "udp")]
    with namespaces.InsideNamespace(namespace):
        firewall = nft.Firewall()
        firewall.change(rules.table("t", [], forwards))
        firewall.close()


def test_an_owner_that_leaves_holds_nothing(namespace: int) -> None:
    """Its table is gone at once, its socket as soon as the kernel comes to it."""
    with namespaces.InsideNamespace(namespace):
        before = sorted(os.listdir("/proc/self/fd"))
        owner, watching = nft.Firewall(), nft.Firewall()
        owner.change(TABLE)
        assert len(_sockets()) == 2
        owner.leave("t")
        assert watching.bases(nft.FORWARD) == []
        until(lambda: len(_sockets()) == 1)
        watching.close()
        until(lambda: sorted(os.listdir("/proc/self/fd")) == before)


def _sockets() -> list[str]:
    """Of the firewall, in the namespace of this thread."""
    rows = Path("/proc/thread-self/net/netlink").read_text().split("\n")[1:]
    return [row for row in rows if row.split()[1:2] == [str(NETFILTER)] and row.split()[2] != "0"]


def test_a_killed_owner_leaves_nothing(namespace: int) -> None:
    def work(report: ChildReport) -> None:
        owner = nft.Firewall()
        owner.change(TABLE)
        report.tell(True)
        os.read(reader, 1)

    reader, writer = os.pipe()
    with namespaces.InsideNamespace(namespace):
        child = fork(work, what="the owner", keep=[reader])
        child.answer()
        watching = nft.Firewall()
        assert watching.bases(nft.FORWARD)
        child.end()
        child.close()
        assert watching.bases(nft.FORWARD) == []
        watching.close()
    os.close(reader)
    os.close(writer)


def test_a_socket_stays_in_its_namespace(namespace: int) -> None:
    with namespaces.InsideNamespace(namespace):
        netlink = Netlink(NETFILTER)
    assert netlink.fileno() > 2
    netlink.close()
