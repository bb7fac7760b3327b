"""Ports as docker writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from nacre.grammars.ports import Publish, parse_expose, parse_publish, single_ports

PORTS, INSIDE = some.integers(0, 65535), some.integers(1, 65535)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("80", [Publish(80)]),
        ("80/udp", [Publish(80, "udp")]),
        ("8080:80", [Publish(80, "tcp", "", 8080, 8080)]),
        ("8080:80/TCP", [Publish(80, "tcp", "", 8080, 8080)]),
        (":80", [Publish(80)]),
        ("127.0.0.1:8080:80", [Publish(80, "tcp", "127.0.0.1", 8080, 8080)]),
        ("127.0.0.1::80", [Publish(80, "tcp", "127.0.0.1")]),
        ("[::1]:8080:80", [Publish(80, "tcp", "::1", 8080, 8080)]),
        ("::1:8080:80", [Publish(80, "tcp", "::1", 8080, 8080)]),
        ("[::]::80", [Publish(80, "tcp", "::")]),
        ("8000-8010:80", [Publish(80, "tcp", "", 8000, 8010)]),
        ("8000-8001:80-81/udp", [Publish(80, "udp", "", 8000, 8000), Publish(81, "udp", "", 8001, 8001)]),
        ("80-81", [Publish(80), Publish(81)]),
        ("target=80,published=8080", [Publish(80, "tcp", "", 8080, 8080)]),
        ("target=80,published=8080,protocol=udp,mode=host", [Publish(80, "udp", "", 8080, 8080)]),
        ("target=80", [Publish(80)]),
        ("::80", [Publish(80)]),
        (":8080:80", [Publish(80, "tcp", "", 8080, 8080)]),
        ("[127.0.0.1]:80:80", [Publish(80, "tcp", "127.0.0.1", 80, 80)]),
        ("127.0.0.1:8080-8090:80", [Publish(80, "tcp", "127.0.0.1", 8080, 8090)]),
        ("08080:080/", [Publish(80, "tcp", "", 8080, 8080)]),
        ("0:80/sctp", [Publish(80, "sctp")]),
        (
            "target=80-81,published=9-10,mode=ingress",
            [Publish(80, "tcp", "", 9, 9), Publish(81, "tcp", "", 10, 10)],
        ),
    ],
)
def test_publish(text: str, found: list[Publish]) -> None:
    assert list(parse_publish(text)) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no port specified"), ("8080:", "no port specified"), ("a", "invalid containerPort: a"),
        ("x:80", "invalid hostPort: x"), ("80/x", "invalid proto: x"), ("65536", "invalid containerPort"),
        ("-1", "invalid containerPort"), ("2-1", "invalid containerPort"), ("²", "invalid containerPort"),
        ("nope:80:80", "invalid IP address: nope"), ("[::1:80:80", "invalid IP address"),
        ("1.2.3:80:80", "invalid IP address"), ("8000-8001:80-82", "invalid ranges specified"),
        ("target=80,published", "invalid publish opts format"), ("published=80", "no port specified"),
        ("fe80::1%eth0:80:80", "invalid IP address"), ("8080:0", "port 0"), ("0", "port 0"),
        ("target=80,host_ip=127.0.0.1", "invalid publish key 'host_ip'"),
        ("target=80, published=8080", "invalid publish key ' published'"),
        ("target=80,mode=other", "invalid publish mode 'other'"), ("+80", "invalid containerPort"),
        ("0.0.0.0:80", "invalid hostPort: 0.0.0.0"), ("8080:80/tcp/udp", "invalid proto"),
        ("8080/udp:80/udp", "invalid hostPort: 8080/udp"), ("8080:80-81", "invalid ranges specified"),
        ("localhost:80:80", "invalid IP address: localhost"), (" 80", "invalid containerPort"),
    ],
)  # fmt: skip
def test_no_publish(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("[", r"\[")):
        parse_publish(text)


@given(INSIDE, PORTS, some.sampled_from(("tcp", "udp", "sctp")))
def test_every_pair(inside: int, outside: int, protocol: str) -> None:
    (found,) = parse_publish(f"10.0.0.1:{outside}:{inside}/{protocol}")
    assert found == Publish(inside, protocol, "10.0.0.1", outside, outside)


@given(some.text(max_size=30))
def test_nothing_else_is_raised(text: str) -> None:
    try:
        assert parse_publish(text)
    except ValueError:
        return


def test_expose() -> None:
    assert parse_expose("80") == ("80/tcp",)
    assert parse_expose("80-82/UDP") == ("80/udp", "81/udp", "82/udp")
    for text in ("", "x", "80/x", "82-80"):
        with pytest.raises(ValueError, match=r"port|proto"):
            parse_expose(text)


def test_what_an_image_exposes_may_be_no_port() -> None:
    assert single_ports("80-81/udp") == ("80/udp", "81/udp")
    assert [single_ports(text) for text in ("$PORT/tcp", "", "80/x", "9-8")] == [(), (), (), ()]
