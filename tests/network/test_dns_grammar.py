"""Questions and answers of a name server."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as some

from nacre.grammars import dns


def query(name: str, kind: int = dns.A, number: bytes = b"\x12\x34", flags: bytes = b"\x01\x00") -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return number + flags + b"\0\1" + bytes(6) + labels + b"\0" + kind.to_bytes(2, "big") + b"\0\1"


def test_question() -> None:
    found = dns.read_question(query("Web.Local", dns.AAAA))
    assert (found.number, found.name, found.kind) == (0x1234, "web.local", dns.AAAA)


def test_answer() -> None:
    """Every byte, from RFC 1035."""
    asked = query("web")
    reply = dns.answer(asked, dns.read_question(asked), [socket.inet_aton("10.1.2.3")])
    assert reply == (
        b"\x12\x34\x85\x80\0\1\0\1\0\0\0\0\3web\0\0\1\0\1\xc0\x0c\0\1\0\1\0\0\x02\x58\0\4\x0a\1\2\3"
    )


def test_no_address_is_no_error() -> None:
    """Else musl takes the name for one that does not exist at all."""
    asked = query("web", dns.AAAA)
    assert dns.answer(asked, dns.read_question(asked), [])[:8] == b"\x12\x34\x81\x80\0\1\0\0"


def test_too_many_addresses_are_cut() -> None:
    asked = query("web")
    reply = dns.answer(asked, dns.read_question(asked), [bytes([10, 0, 0, n]) for n in range(200)], most=512)
    assert len(reply) <= 512
    assert reply[2] & 0x02
    assert int.from_bytes(reply[6:8], "big") == (len(reply) - len(asked)) // 16


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("4.3.2.10.in-addr.arpa", "10.2.3.4"), ("3.2.10.in-addr.arpa", ""), ("x.3.2.10.in-addr.arpa", ""),
        ("1" + ".0" * 30 + ".f.ip6.arpa", "f000::1"), ("1.ip6.arpa", ""), ("web", ""),
    ],
)  # fmt: skip
def test_reversed(name: str, address: str) -> None:
    assert dns.reversed_address(name) == address


@pytest.mark.parametrize(
    "data",
    [
        b"", bytes(11), query("a")[:-1], query("a")[:12], query("a", flags=b"\x81\x80"),
        query("a", flags=b"\x09\0"), query("a")[:-1] + b"\3", query(".".join(["a" * 60] * 5)),
        query("a").replace(b"\0\1\0\0\0\0\0\0", b"\0\2\0\0\0\0\0\0", 1),
        query("a")[:12] + b"\xc0\x0c\0\1\0\1", query("a")[:12] + b"\x3f" + b"a" * 20,
    ],
)  # fmt: skip
def test_no_question(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"too short|no query|no question|bad name|internet"):
        dns.read_question(data)


@given(some.binary(max_size=80))
def test_nothing_else_is_raised(data: bytes) -> None:
    for text in (data, b"\x12\x34\x01\x00\0\1" + bytes(6) + data):
        try:
            question = dns.read_question(text)
        except ValueError:
            continue
        assert dns.answer(text, question, [b"\1\2\3\4"])[:2] == text[:2]
