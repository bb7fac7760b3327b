"""What a container must not reach, whatever it tries; and what a kill must not leave."""

from __future__ import annotations

import os
import signal
import socket
import struct
from typing import Any

import pytest
from lab import MACHINE, OUTSIDE, Lab, ask, make, reaches, server
from waiting import until

from nacre.ground.network import links, namespaces
from nacre.ground.network.netlink import ROUTE, Netlink
from nacre.words.addresses import packed

IMAGE = "busybox:test"


def test_neighbours_of_another_network(lab: Lab) -> None:
    """By their addresses; a published port by this machine's, as docker has it."""
    for name in ("one", "two"):
        lab("network", "create", name)
        lab.run("--name", f"in-{name}", "--network", name)
    lab.run("--name", "same", "--network", "one")
    with lab.serving("in-one", 80), lab.serving("in-one", 80, "udp"):
        address = lab.address("in-one", "one")
        with lab.namespace("same") as inside:
            assert (
                ask(inside, address, 80)
                == ask(inside, address, 80, "udp")
                == f"in-one {lab.address('same', 'one')}"
            )
        with lab.namespace("in-two") as inside:
            assert not reaches(inside, address, 80)
            assert not reaches(inside, address, 80, "udp")


def test_from_outside_by_a_route(lab: Lab) -> None:
    """Who shares a wire with this machine can send packets to addresses of containers."""
    lab.run("--name", "c1", "--network", "bridge", "-p", "127.0.0.1:8080:80")
    with namespaces.InsideNamespace(lab.outside), Netlink(ROUTE) as netlink:
        index = links.index(netlink, "up0")
        netlink.send([links.route(index, packed("10.90.0.0"), 24, packed(MACHINE))])
        netlink.send([links.route(index, packed("127.0.0.0"), 8, packed(MACHINE))])
    with lab.serving("c1", 80):
        assert ask(lab.machine, "10.90.0.2", 80) == "c1 10.90.0.1"
        assert not reaches(lab.outside, "10.90.0.2", 80)
        assert not reaches(lab.outside, MACHINE, 8080)


def test_loopback_of_this_machine(lab: Lab) -> None:
    """Not by any address, nor with a route to it of the container's own making."""
    lab.run("--name", "c1", "--network", "bridge", "--cap-add", "NET_ADMIN")
    with server(lab.machine, "127.0.0.1", 0) as port, lab.namespace("c1") as inside:
        for host in ("127.0.0.1", "10.90.0.1", MACHINE):
            assert not reaches(inside, host, port)
        with namespaces.InsideNamespace(inside), Netlink(ROUTE) as netlink:
            index = links.index(netlink, "eth0")
            netlink.send([links.route(index, packed("127.0.0.9"), 32, packed("10.90.0.1"))])
        assert not reaches(inside, "127.0.0.9", port)


@pytest.mark.parametrize("source", ["10.90.0.2", "127.0.0.1"])
def test_loopback_by_a_published_port(lab: Lab, source: str) -> None:
    """Packets made by hand do not get there through the link that loopback speaks to."""
    lab.run("--name", "c1", "--network", "bridge", "-p", "8080:80", "-p", "127.0.0.1:8081:81")
    with lab.serving("c1", 81):
        assert ask(lab.machine, "127.0.0.1", 8081) == "c1 10.90.0.1"
    own = source == "10.90.0.2"
    assert hears(lab, source, "10.90.0.1", 30 if own else 0.3) is own
    assert not hears(lab, source, "127.0.0.1", 0.3)
    assert not hears(lab, source, "127.0.0.9", 0.3)


def hears(lab: Lab, source: str, host: str, seconds: float) -> bool:
    """Whether a datagram of the container, written to its link as it is, comes to the machine in time."""
    with (
        make(lab.machine, host, "udp") as listening, lab.namespace("c1") as inside,
        namespaces.InsideNamespace(inside), socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as link,
    ):  # fmt: skip
        listening.bind((host, 0))
        listening.settimeout(seconds)
        data = struct.pack(">HHHH", 9, listening.getsockname()[1], 9, 0) + b"x"
        head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 29, 1, 0, 9, 17, 0, packed(source), packed(host))
        total = sum(struct.unpack(">10H", head))
        check = ~(total + (total >> 16)) & 0xFFFF
        packet = head[:10] + struct.pack(">H", check) + head[12:] + data
        link.sendto(packet, ("eth0", 0x0800, 0, 0, b"\xff" * 6))
        try:
            return listening.recv(1) == b"x"
        except TimeoutError:
            return False


def test_a_source_of_its_own_making(lab: Lab) -> None:
    """Nothing with another source than its own address leaves a container, not even to this machine."""
    lab.run("--name", "c1", "--network", "bridge", "--cap-add", "NET_ADMIN")
    lab.run("--name", "c2", "--network", "bridge")
    with lab.namespace("c1") as inside, Netlink_inside(inside) as netlink:
        index = links.index(netlink, "eth0")
        netlink.send([links.address(index, packed("10.90.0.77"), 32)])
    heard = []
    for where, host in ((lab.outside, OUTSIDE), (lab.machine, "10.90.0.1")):
        with make(where, host, "udp") as listening:
            listening.bind((host, 0))
            listening.settimeout(0.3)
            port = listening.getsockname()[1]
            with lab.namespace("c1") as inside, make(inside, host, "udp") as client:
                client.bind(("10.90.0.77", 0))
                client.sendto(b"x", (host, port))
            with pytest.raises(TimeoutError):
                heard.append(listening.recv(1))
    assert heard == []


class Netlink_inside:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> Netlink:
        with namespaces.InsideNamespace(self._fd):
            self._netlink = Netlink(ROUTE)
        return self._netlink

    def __exit__(self, *_exc: object) -> None:
        self._netlink.close()


def test_no_ipv6_where_none_is_wanted(lab: Lab) -> None:
    """Not even by addresses of the link."""
    lab.run("--name", "c1", "--network", "bridge", "--cap-add", "NET_ADMIN")
    (link,) = lab.links()
    with lab.namespace("c1") as inside, Netlink_inside(inside) as netlink:
        index = links.index(netlink, "eth0")
        netlink.send([links.address(index, packed("fe80::7"), 64)])
        with namespaces.InsideNamespace(lab.machine), Netlink(ROUTE) as here:
            here.send([links.address(links.index(here, link), packed("fe80::1"), 64)])
        with server(lab.machine, "::", 0) as port, make(inside, "::", "tcp") as client:
            client.settimeout(0.5)
            with pytest.raises(OSError, match=r"timed out|unreachable|No route"):
                client.connect(("fe80::1", port, 0, index))


def test_a_container_is_no_router(lab: Lab) -> None:
    """This machine takes no way out from one, not even where it listens to routers."""
    lab.forward(True, "ipv6/conf/all/forwarding")
    lab("network", "create", "--ipv6", "--subnet", "fd00:77::/64", "six")
    lab.run("--name", "c1", "--network", "six")
    (link,) = lab.links()
    lab.forward(2, f"ipv6/conf/{link}/accept_ra")
    lab.forward(False, f"ipv6/conf/{link}/forwarding")
    advertisement = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    with lab.namespace("c1") as inside, server(lab.machine, "::", 0, "udp") as port:
        with namespaces.InsideNamespace(inside):
            raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            index = socket.if_nametoindex("eth0")
            with Netlink(ROUTE) as netlink:
                netlink.send([links.address(index, packed("fe80::77"), 64)])
        until(lambda: reaches(inside, "fd00:77::1", port, "udp"))
        with raw:
            raw.bind(("fe80::77", 0, 0, index))
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            for _ in range(3):
                raw.sendto(advertisement, ("ff02::1", 0, 0, index))
        assert ask(inside, "fd00:77::1", port, "udp")
    with namespaces.InsideNamespace(lab.machine), Netlink(ROUTE) as netlink:
        assert not [route for route in links.routes(netlink) if route.family == 10 and not route.prefix]


def test_an_internal_network(lab: Lab) -> None:
    lab("network", "create", "--internal", "priv")
    lab.run("--name", "aa", "--network", "priv", "-p", "8080:80")
    lab.run("--name", "bb", "--network", "priv", "--cap-add", "NET_ADMIN")
    with namespaces.InsideNamespace(lab.machine), Netlink(ROUTE) as netlink:
        assert netlink.fileno() >= 0
    with lab.serving("aa", 80), lab.namespace("bb") as inside, server(lab.outside, OUTSIDE, 0) as port:
        assert ask(inside, lab.address("aa", "priv"), 80) == f"aa {lab.address('bb', 'priv')}"
        assert not reaches(inside, OUTSIDE, port)
        with Netlink_inside(inside) as netlink:
            index = links.index(netlink, "eth0")
            gateway = packed(lab.address("bb", "priv", "Gateway"))
            netlink.send([links.route(index, bytes(4), 0, gateway)])
        assert not reaches(inside, OUTSIDE, port)
        assert not reaches(lab.outside, MACHINE, 8080)
        assert lab("port", "aa").out == ""


def test_the_rules_are_not_the_containers(lab: Lab) -> None:
    """Root of a container, even with every right over its network, changes nothing of what is outside."""
    lab("network", "create", "web")
    lab.run("--name", "aa", "--network", "web", "--cap-add", "NET_ADMIN")
    from nacre.ground.network import nftables as nft
    from nacre.ground.network.netlink import NetlinkError

    with lab.namespace("aa") as inside, namespaces.InsideNamespace(inside):
        firewall = nft.Firewall()
        assert [base.table for base in firewall.bases(nft.OUTPUT)] == ["nacre-names"]
        with pytest.raises(NetlinkError, match="Operation not permitted"):
            firewall.change([nft.no_table("nacre-names")])
        firewall.close()


@pytest.mark.parametrize("network", ["bridge", "web"])
def test_a_killed_keeper_leaves_nothing(lab: Lab, network: str) -> None:
    """No link, address, route, rule or port; and the next start has them all again."""
    lab("network", "create", "web")
    words = ["--network", network, "-p", "8080:80", "-p", "127.0.0.1:8081:81", "-p", "8082:82/udp"]
    lab.run("--name", "c1", *words)
    assert not lab.is_empty()
    with make(lab.machine, "0.0.0.0", "tcp") as other:
        with pytest.raises(OSError, match="Address already in use"):
            other.bind(("0.0.0.0", 8080))
        os.kill(lab.keeper("c1"), signal.SIGKILL)
        until(lab.is_empty)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("0.0.0.0", 8080))
        other.listen()
    assert lab("ps", "-a", "--format", "{{.State}} {{.Ports}}").out.strip() == "exited"
    assert lab("port", "c1").out == ""
    lab("start", "c1")
    with lab.serving("c1", 80):
        assert ask(lab.outside, MACHINE, 8080) == f"c1 {OUTSIDE}"


def test_what_is_left_when_all_are_killed_at_once(lab: Lab, nacre: Any) -> None:
    lab("network", "create", "web")
    names = [f"c{n}" for n in range(4)]
    for name in names:
        lab.run("--name", name, "--network", "web")
    assert len(lab.links()) == 4
    for keeper in [lab.keeper(name) for name in names]:
        os.kill(keeper, signal.SIGKILL)
    until(lab.is_empty)
    lab("rm", "-f", *names)
    lab.run("--name", "last", "--network", "web")
    members = nacre.root / "networks" / "web" / "members"
    assert [path.name[:12] for path in members.iterdir()] == [lab("ps", "-q").out.strip()]
    lab("rm", "-f", "last")
    lab("network", "rm", "web")
    (members.parent.parent / "bad").mkdir()
    (members.parent.parent / "bad" / "network").write_text("[]")
    code, said = lab.fails("network", "ls")
    assert (code, "networks/bad/network is damaged" in said) == (1, True)


def test_a_failed_start_leaves_nothing(lab: Lab, nacre: Any) -> None:
    for words in (["nosuch"], ["/etc/passwd"]):
        assert lab.fails("run", "--network", "bridge", "-p", "8080:80", IMAGE, *words)[0] in (126, 127)
        until(lab.is_empty)
    assert (
        lab.fails("run", "--network", "bridge", "-p", "8080:80", "-v", "/proc/nope/x:/y", IMAGE, "true")[0]
        != 0
    )
    until(lab.is_empty)
    lab.run("--name", "c1", "--network", "bridge", "-p", "8080:80")
