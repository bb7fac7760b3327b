"""Packets of a container of an ordinary user, whatever they are."""

from __future__ import annotations

import socket
import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nacre.ground.network.serving import Serving
from nacre.ground.network.udp import UdpRelay, checksum

OWN, OTHER = bytes((10, 90, 0, 2)), bytes((192, 0, 2, 7))


class Link:
    """What the container sends is in `packets`; what it gets comes to `said`."""

    def __init__(self, packets: list[bytes]) -> None:
        self._pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.packets = packets
        self.said: list[bytes] = []
        self.fileno = self._pair[0].fileno

    def recv(self, _size: int) -> bytes:
        if not self.packets:
            raise BlockingIOError
        return self.packets.pop(0)

    def sendto(self, packet: bytes, _place: object) -> None:
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
        return address == OWN


def sent(*packets: bytes) -> tuple[list[bytes], list[bytes]]:
    """What was asked for, and what was said."""
    link: Any = Link(list(packets))
    routes, serving = Nowhere(), Serving()
    relay = UdpRelay(serving, link, ("gateway", 0, 0, 0, b""), routes)
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


def test_what_is_dropped() -> None:
    for other in (
        b"", b"\x60" + bytes(60), packet(UDP, source=OTHER), packet(UDP, 6), packet(UDP, fragment=0x2000),
        packet(UDP, fragment=3), packet(UDP[:7]), packet(UDP, length=999), packet(UDP, length=10),
        packet(b"\3" + bytes(7), 1),
    ):  # fmt: skip
        assert sent(other) == ([], [])


@given(st.lists(st.binary(max_size=80), max_size=5), st.sampled_from((1, 6, 17)))
def test_anything(bodies: list[bytes], protocol: int) -> None:
    sent(*bodies, *(packet(body, protocol) for body in bodies))
