"""Who sends datagrams to a published port, as the container sees them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from waiting import until

from nacre.grammars import packets
from nacre.ground.network.claims import Claim
from nacre.ground.network.serving import Serving
from nacre.ground.network.visitors import UdpVisitors

OWN, GATEWAY = bytes((10, 90, 0, 2)), bytes((10, 90, 0, 1))


class Link:
    """What comes in."""

    def __init__(self) -> None:
        self.packets: list[packets.Packet] = []

    def write(self, data: bytes) -> None:
        found = packets.read(data)
        assert found
        self.packets.append(found)


class Routes:
    """Those of a container in one network after the other; `looks` counts what was looked up."""

    def __init__(self) -> None:
        self.own, self.gateway, self.looks = OWN, GATEWAY, 0
        self.attached: object = []

    def move(self, own: bytes, gateway: bytes) -> None:
        self.own, self.gateway, self.attached = own, gateway, []

    def seen_as(self, _address: bytes) -> tuple[bytes, bytes]:
        self.looks += 1
        return self.own, self.gateway


class Port:
    """Published at 127.0.0.1; `visit` is to send something there."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.link, self.serving = Link(), Serving()
        link: Any = self.link
        self.routes = Routes()
        self.visitors = UdpVisitors(self.serving, link, self.routes)
        self.visitors.take(Claim("127.0.0.1", self.socket.getsockname()[1], "udp", 53, self.socket))
        self.serving.begin()

    def visit(self, visitor: socket.socket, data: bytes) -> packets.Key:
        """What the container could answer to."""
        before = len(self.link.packets)
        visitor.sendto(data, self.socket.getsockname())
        until(lambda: len(self.link.packets) > before)
        packet = self.link.packets[-1]
        key = packets.key_of(packet)
        assert key
        assert packets.payload(packet) == data
        protocol, source, ours, target, theirs = key
        return protocol, target, theirs, source, ours

    def close(self) -> None:
        self.serving.end()
        self.socket.close()


@pytest.fixture
def port() -> Iterator[Port]:
    """A published port of UDP, 53 inside."""
    made = Port()
    yield made
    made.close()


@pytest.fixture
def people() -> Iterator[list[socket.socket]]:
    """Three, with the same port at three addresses."""
    made = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    number = 0
    for last, each in enumerate(made, 1):
        each.settimeout(60)
        each.bind((f"127.0.0.{last}", number))
        number = each.getsockname()[1]
    yield made
    for each in made:
        each.close()


def test_each_gets_its_answer(port: Port, people: list[socket.socket]) -> None:
    """One address stands for all of them, so their ports must differ."""
    keys = [port.visit(each, b"%d" % number) for number, each in enumerate(people)]
    assert [port.visit(each, b"again") for each in people] == keys
    assert len(set(keys)) == 3
    assert keys[0][1:] == (OWN, 53, GATEWAY, people[0].getsockname()[1])
    for number, key in enumerate(keys):
        assert port.visitors.answer(key, b"to %d" % number)
    for number, each in enumerate(people):
        assert each.recvfrom(99) == (b"to %d" % number, port.socket.getsockname())
    protocol, own, inside, gateway, _ = keys[0]
    assert not port.visitors.answer((protocol, own, inside, gateway, 1), b"to nobody")
    assert not port.visitors.answer((protocol, own, 54, gateway, keys[0][4]), b"from elsewhere")


def test_who_says_nothing_is_forgotten(
    port: Port, people: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And who was silent for the longest time when there are too many."""
    monkeypatch.setattr("nacre.ground.network.visitors._MOST", 2)
    now = [0.0]
    monkeypatch.setattr("nacre.ground.network.visitors.monotonic", lambda: now[0])
    keys = []
    for each in people:
        now[0] += 1
        keys.append(port.visit(each, b"x"))
    assert not port.visitors.is_idle
    assert len(set(keys)) == 2
    for each, key in ((people[1], keys[1]), (people[2], keys[2])):
        assert port.visitors.answer(key, b"answer")
        assert each.recv(99) == b"answer"
    now[0] += 91
    port.visitors.expire()
    assert port.visitors.is_idle
    assert not any(port.visitors.answer(key, b"") for key in keys)


def test_a_container_that_moves_is_reached_at_its_new_address(
    port: Port, people: list[socket.socket]
) -> None:
    """`network disconnect` and `connect`; nobody answers from the old one any more."""
    old = port.visit(people[0], b"before")
    port.routes.move(bytes((10, 91, 0, 7)), bytes((10, 91, 0, 1)))
    new = port.visit(people[0], b"after")
    assert new[1:4] == (port.routes.own, 53, port.routes.gateway)
    assert port.visit(people[0], b"again") == new
    assert port.routes.looks == 2
    port.routes.move(port.routes.own, port.routes.gateway)  # a network that is not the way in
    assert port.visit(people[0], b"still") == new
    assert port.routes.looks == 3
    assert not port.visitors.answer(old, b"late")
    assert port.visitors.answer(new, b"answer")
    assert people[0].recv(99) == b"answer"
