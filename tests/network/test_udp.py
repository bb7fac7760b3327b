"""Packets of a container of an ordinary user, whatever they are."""

from __future__ import annotations

import socket
import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nacre.grammars import packets
from nacre.grammars.packets import checksum
from nacre.ground.network.serving import Serving
from nacre.ground.network.udp import UdpRelay

OWN, OTHER = bytes((10, 90, 0, 2)), bytes((192, 0, 2, 7))
OWN6, OTHER6 = bytes((0xFD, *bytes(14), 2)), bytes((0x20, 1, *bytes(13), 9))


class Link:
    """What the container sends is in `packets`; what it gets comes to `said`."""

    def __init__(self, packets: list[bytes]) -> None:
        self._pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.packets = packets
        self.said: list[bytes] = []
        self.fileno = self._pair[0].fileno

    def read(self) -> bytes:
        if not self.packets:
            raise BlockingIOError
        return self.packets.pop(0)

    def write(self, packet: bytes) -> None:
        self.said.append(packet)

    def close(self) -> None:
        for each in self._pair:
            each.close()


class Nowhere:
    """Nothing is reached; `asked` is what was asked for."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def leads_out(self, address: bytes) -> bool:
        self.asked.append(address)
        return False

    def has(self, address: bytes) -> bool:
        return address in (OWN, OWN6)

    def address_beside(self, address: bytes) -> bytes:
        return b""

    def neighbour(self, address: bytes) -> str:
        raise AssertionError

    link_of: Any = neighbour
    changed: Any = neighbour
    attached: Any = neighbour
    seen_as: Any = neighbour


def sent(*packets: bytes) -> tuple[list[bytes], list[bytes]]:
    """What was asked for, and what was said."""
    link: Any = Link(list(packets))
    routes, serving = Nowhere(), Serving()
    relay = UdpRelay(serving, link, routes)
    try:
        relay.read()
    finally:
        serving.end()
        relay.close()
        link.close()
    return routes.asked, link.said


def packet(body: bytes, protocol: int = 17, source: bytes = OWN, fragment: int = 0, length: int = 0) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, length or 20 + len(body), 0, fragment, 64, protocol, 0)
    return head + source + OTHER + body


UDP = struct.pack("!HHHH", 7, 53, 8, 0)


def test_what_is_not_reached_is_said() -> None:
    """As a router does: with the beginning of the packet, and checksums that are right."""
    asked, (said,) = sent(packet(UDP))
    assert asked == [OTHER]
    assert (said[12:16], said[16:20], said[9], said[20:22]) == (OTHER, OWN, 1, b"\3\0")
    assert (checksum(said[:20]), checksum(said[20:])) == (0, 0)
    assert said[28:32][:1] == b"E"
    assert said[48:52] == UDP[:4]


def packet6(body: bytes, protocol: int = 17, source: bytes = OWN6) -> bytes:
    return struct.pack("!IHBB", 6 << 28, len(body), protocol, 64) + source + OTHER6 + body


def test_what_is_not_reached_by_ipv6_is_said() -> None:
    asked, (said,) = sent(packet6(UDP))
    assert asked == [OTHER6]
    assert (said[8:24], said[24:40], said[6], said[40:42]) == (OTHER6, OWN6, 58, b"\1\0")
    assert checksum(said[8:40] + struct.pack("!II", len(said) - 40, 58) + said[40:]) == 0
    assert said[48:] == packet6(UDP)


def test_what_is_dropped() -> None:
    for other in (
        b"", b"\x60" + bytes(60), packet6(UDP, source=OTHER6), packet6(UDP, 44), packet6(UDP, 0),
        packet6(UDP[:7]), packet6(UDP)[:-1], packet6(b"\x81" + bytes(7), 58), packet6(b"\x08" + bytes(7), 1),
        packet(UDP, 58), packet(UDP[:4] + b"\0\x09\0\0"), packet(UDP[:4] + b"\0\x07\0\0"),
        packet(UDP, source=OTHER), packet(UDP, 6), packet(UDP, fragment=0x2000), packet(UDP, fragment=3),
        packet(UDP[:7]), packet(UDP, length=999), packet(UDP, length=10), packet(b"\3" + bytes(7), 1),
    ):  # fmt: skip
        assert sent(other) == ([], [])


@given(st.lists(st.binary(max_size=80), max_size=5), st.sampled_from((1, 6, 17)))
def test_anything(bodies: list[bytes], protocol: int) -> None:
    sent(*bodies, *(packet(body, protocol) for body in bodies), *(packet6(body, protocol) for body in bodies))


@given(st.binary(max_size=200))
def test_checksum(data: bytes) -> None:
    """As RFC 1071 has it: words are added, and what they carry."""
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert checksum(data) == ~total & 0xFFFF


@given(st.binary(max_size=200), st.sampled_from([(OWN, OTHER), (OWN6, OTHER6)]))
def test_what_comes_back(data: bytes, ends: tuple[bytes, bytes]) -> None:
    """A datagram and the answer of a ping, as the container sees them."""
    own, other = ends
    found = packets.read(packets.answer((packets.UDP, own, 1000, other, 53), data))
    assert found is not None
    assert packets.key_of(found) == (packets.UDP, other, 53, own, 1000)
    assert packets.payload(found) == data
    kind = packets.icmp_of(own)
    whole = struct.pack("!BBHHH", 0 if kind == 1 else 129, 0, 0, 7, 8) + data
    found = packets.read(packets.answer((kind, own, 77, other, 0), whole))
    assert found is not None
    protocol, source, target, body = found
    before = source + target + struct.pack("!II", len(body), 58) if kind == 58 else b""
    assert (protocol, source, target, checksum(before + body)) == (kind, other, own, 0)
    assert body[4:] == struct.pack("!HH", 77, 8) + data


@given(st.binary(max_size=80), st.sampled_from((1, 6, 17, 58)))
def test_what_neighbours_get_is_read_again(body: bytes, protocol: int) -> None:
    for source, target in ((OWN, OTHER), (OWN6, OTHER6)):
        found = packets.passed((protocol, source, target, body))
        again = packets.read(found) if found else None
        assert again is None or again[:3] == (protocol, source, target)
        assert protocol != 6 or found is None
