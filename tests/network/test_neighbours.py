"""Datagrams between containers of ordinary users: who gets them, and from whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from switchlab import IMAGE, SwitchLab

from nacre.grammars import packets
from nacre.ground.network.neighbours import Neighbours

PORT = 9125
TELL = """
import socket, time
made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while made.sendto(b"word", ("{}", {})):
    time.sleep(0.05)
"""
SHOP = "--network", "shop"


def begin(lab: SwitchLab, name: str = "db", *options: str) -> None:
    words = *(options or SHOP), *lab.python, IMAGE, "/inside.py", "answers", str(PORT)
    lab.nacre("run", "-d", "--name", name, *words)
    lab.answers(name, PORT)


def expected(who: str) -> dict[str, object]:
    one = [[who, True, "60000", True]] * 2
    each: dict[str, object] = {"": one, ", called": True, ", connected": "1", ", closed": "ECONNREFUSED"}
    turns = {f"{turn}{what}": value for turn in ("before", "after") for what, value in each.items()}
    return {**turns, "tcp": True}


def address(lab: SwitchLab, container: str, network: str = "shop") -> str:
    return str(lab.nacre("inspect", container).json[0]["NetworkSettings"]["Networks"][network]["IPAddress"])


@pytest.mark.parametrize("options", [(), ("--internal",)])
def test_by_name(user_lab: SwitchLab, options: tuple[str, ...]) -> None:
    """From the very address and port, both ways, before and after a connection of TCP."""
    user_lab.nacre("network", "create", *options, "shop")
    begin(user_lab)
    found = user_lab.inside("beside", "db", PORT, options=SHOP)
    assert found == expected(address(user_lab, "db").replace(".2", ".3"))
    assert user_lab.inside("ping", address(user_lab, "db"), options=SHOP)[1:] == ["data", 0]


def test_by_ipv6(user_lab: SwitchLab) -> None:
    user_lab.nacre("network", "create", "--subnet", "fd00:9::/64", "shop")
    begin(user_lab)
    six = user_lab.nacre("inspect", "db").json[0]["NetworkSettings"]["Networks"]["shop"]["GlobalIPv6Address"]
    own = six.removesuffix("2") + "3"
    assert user_lab.inside("beside", six, PORT, options=SHOP) == expected(own)
    assert user_lab.inside("ping", six, options=SHOP) == [six, "data", 0]


def test_in_two_networks(user_lab: SwitchLab) -> None:
    """Each neighbour sees the address that belongs to its network."""
    for name in ("shop", "mall"):
        user_lab.nacre("network", "create", name)
    begin(user_lab)
    begin(user_lab, "store", "--network", "mall")
    both = (*SHOP, "--network", "mall")
    for name, network in (("db", "shop"), ("store", "mall")):
        own = address(user_lab, name, network).replace(".2", ".3")
        assert user_lab.inside("beside", name, PORT, options=both) == expected(own)


def test_forged_packets(user_lab: SwitchLab) -> None:
    """Neither in the name of another, nor to another network, nor anything but whole datagrams."""
    for name in ("shop", "mall"):
        user_lab.nacre("network", "create", name)
    begin(user_lab)
    begin(user_lab, "other")
    target, other = address(user_lab, "db"), address(user_lab, "other")
    for options in (("--network", "mall"), SHOP):
        assert user_lab.inside("forged_beside", target, other, PORT, options=options) == "sent"
    user_lab.until(lambda: user_lab.nacre("logs", "db").out)
    assert user_lab.nacre("logs", "db").lines == [f"{target.replace('.2', '.4')} end"]


def test_who_leaves_and_who_comes_instead(user_lab: SwitchLab) -> None:
    """After `disconnect`, after a kill, and to another container that gets the address."""
    user_lab.nacre("network", "create", "shop")
    begin(user_lab)
    host = address(user_lab, "db")
    words = "--name", "teller", *SHOP, *user_lab.python, IMAGE, "-c", TELL.format(host, PORT)
    user_lab.nacre("run", "-d", *words)

    def heard() -> int:
        return user_lab.nacre("logs", "db").out.count("word")

    user_lab.until(heard)
    user_lab.nacre("network", "disconnect", "shop", "db")
    before = heard()
    begin(user_lab, "new")
    user_lab.until(lambda: "word" in user_lab.nacre("logs", "new").out)
    assert heard() == before
    user_lab.kill_keeper("new")
    begin(user_lab, "newer")
    user_lab.until(lambda: "word" in user_lab.nacre("logs", "newer").out)


OWN, OTHER, THIRD = (bytes((10, 91, 0, number)) for number in (2, 3, 4))


class Link:
    """What was written; `gone`: it fails."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = self.gone = False

    def write(self, packet: bytes) -> None:
        if self.gone:
            raise OSError(6, "no such device")
        self.written.append(packet)

    def close(self) -> None:
        self.closed = True


class Routes:
    """`who` has the address `OTHER`; `links` are those that were asked for, while `open`."""

    def __init__(self) -> None:
        self.who, self.links, self.now, self.fails = "one", [Link()], 0.0, False
        self.asked: list[str] = []
        self.joined = 0

    def address_beside(self, address: bytes) -> bytes:
        return OWN if address[:3] == OWN[:3] else b""

    def changed(self) -> object:
        return self.joined

    def neighbour(self, address: bytes) -> str:
        return self.who if address == OTHER else ""

    def link_of(self, container: str) -> Any:
        self.asked.append(container)
        if self.fails:
            raise OSError("nobody")
        return self.links[len(self.asked) - 1]


@contextmanager
def known(monkeypatch: pytest.MonkeyPatch, links: int = 1) -> Iterator[tuple[Neighbours, Routes, Any]]:
    """And how to begin the threads that they have wanted."""
    wanted: list[Any] = []
    routes = Routes()
    routes.links = [Link() for _ in range(links)]
    monkeypatch.setattr("nacre.ground.network.neighbours.thread", wanted.append)
    monkeypatch.setattr("nacre.ground.network.neighbours.monotonic", lambda: routes.now)
    made = Neighbours(routes)

    def run() -> None:
        while wanted:
            wanted.pop(0)()

    yield made, routes, run
    made.close()
    assert all(link.closed for link in routes.links[: len(routes.asked)])


def datagram(data: bytes, source: bytes = OWN, target: bytes = OTHER) -> packets.Packet:
    head = (1000).to_bytes(2, "big") + (53).to_bytes(2, "big") + (8 + len(data)).to_bytes(2, "big") + b"??"
    return packets.UDP, source, target, head + data


def said(link: Link) -> Iterable[bytes]:
    return [packet[28:] for packet in link.written]


def test_packets_wait_for_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, and not too many of them."""
    with known(monkeypatch) as (made, routes, run):
        assert all(made.pass_on(datagram(bytes([number]))) for number in range(100))
        assert (made.is_idle, routes.links[0].written) == (False, [])
        run()
        assert made.is_idle
        assert made.pass_on(datagram(b"last"))
        assert said(routes.links[0]) == [*(bytes([number]) for number in range(32)), b"last"]
        assert routes.asked == ["one"]


def test_only_its_own_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    with known(monkeypatch) as (made, routes, run):
        assert made.has(OTHER)
        assert not made.has(bytes((192, 0, 2, 1)))
        assert not made.pass_on(datagram(b"x", target=THIRD))
        assert made.pass_on(datagram(b"x", source=THIRD))
        for kind in (5, 9, 13, 255):
            assert made.pass_on((packets.ICMP, OWN, OTHER, bytes([kind]) + bytes(7)))
        for about in (OWN + OTHER, OTHER + THIRD, b""):
            assert made.pass_on((packets.ICMP, OWN, OTHER, bytes([3, 3, *bytes(18)]) + about))
        assert made.pass_on((packets.UDP, OWN, OTHER, bytes(7)))
        assert made.pass_on((6, OWN, OTHER, bytes(20)))
        run()
        assert routes.links[0].written == []
        made.pass_on((packets.ICMP, OWN, OTHER, bytes([3, 3, *bytes(18)]) + OTHER + OWN))
        assert len(routes.links[0].written) == 1


def test_a_link_that_is_gone_is_asked_for_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A moment later, so that nobody has keepers asked all the time."""
    with known(monkeypatch, 2) as (made, routes, run):
        made.pass_on(datagram(b"a"))
        run()
        routes.links[0].gone = True
        assert not made.pass_on(datagram(b"b"))
        assert not made.pass_on(datagram(b"c"))
        assert routes.asked == ["one"]
        routes.now = 2.0
        assert made.pass_on(datagram(b"d"))
        run()
        assert (said(routes.links[1]), routes.links[0].closed) == ([b"d"], True)


def test_another_has_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with known(monkeypatch, 2) as (made, routes, run):
        made.pass_on(datagram(b"a"))
        run()
        routes.who = "two"
        made.pass_on(datagram(b"still to the first, as it was a moment ago"))
        routes.joined = 1
        made.pass_on(datagram(b"b"))
        run()
        assert [len(said(link)) for link in routes.links] == [2, 1]
        routes.who = ""
        made.expire()
        assert routes.links[1].closed
        assert not made.pass_on(datagram(b"c"))


def test_a_keeper_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that answers when nobody waits any more: its link is let go."""
    with known(monkeypatch) as (made, routes, run):
        made.pass_on(datagram(b"a"))
        made.close()
        run()
        assert routes.links[0].closed
        routes.fails = True
        made.pass_on(datagram(b"b"))
        run()
        assert not made.pass_on(datagram(b"c"))
        routes.asked.clear()


def test_who_is_not_spoken_to_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    with known(monkeypatch) as (made, routes, run):
        made.pass_on(datagram(b"a"))
        run()
        routes.now = 60.0
        made.expire()
        assert not routes.links[0].closed
        routes.now = 100.0
        made.expire()
        assert routes.links[0].closed
