"""`--network pasta[:…]` and `slirp4netns[:…]`: what is passed on, and what is refused."""

from __future__ import annotations

import pytest

from nacre.grammars.endpoint import NetworkEndpoint, parse_endpoint
from nacre.grammars.networkprogram import NetworkProgram, parse_program


def arguments(text: str) -> list[str]:
    return list(parse_program(text).arguments)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pasta", []),
        ("pasta:--mtu,1500", ["--mtu", "1500"]),
        ("pasta:-T,5432,--map-gw", ["-T", "5432", "--map-gw"]),
        ("pasta:--ns-ifname=eth0", ["--ns-ifname=eth0"]),
        ("slirp4netns", ["--mtu=65520", "--cidr=10.0.2.0/24", "--disable-host-loopback", "--enable-ipv6"]),
        (
            "slirp4netns:mtu=1500,cidr=10.5.0.0/24,enable_ipv6=false,allow_host_loopback=true",
            ["--mtu=1500", "--cidr=10.5.0.0/24"],
        ),
        (
            "slirp4netns:port_handler=slirp4netns,outbound_addr=eth0,enable_ipv6=false",
            ["--mtu=65520", "--cidr=10.0.2.0/24", "--disable-host-loopback", "--outbound-addr=eth0"],
        ),
    ],
)
def test_good(text: str, expected: list[str]) -> None:
    assert arguments(text) == expected
    assert parse_endpoint(text) == NetworkEndpoint(text)


@pytest.mark.parametrize(
    "text",
    [
        *["pasta:", "pasta:,", "pasta:eth0", "pasta:-T,80,81", "pasta:--netns=/proc/1/ns/net", "pasta:--net"],
        *["pasta:-f", "pasta:-4f", "pasta:-P,/etc/passwd", "pasta:--runas=0", "pasta:--pid=/x", "pasta:--"],
        *["slirp4netns:", "slirp4netns:mtu", "slirp4netns:mtu=", "slirp4netns:mtu=67", "slirp4netns:mtu=6²"],
        *["slirp4netns:mtu=65522", "slirp4netns:cidr=fd00::/64", "slirp4netns:cidr=10.0.2.0/26"],
        *[
            "slirp4netns:cidr=10.0.2.1/24",
            "slirp4netns:enable_ipv6=1",
            "slirp4netns:port_handler=rootlesskit",
        ],
        *["slirp4netns:--enable-sandbox=x", "slirp4netns:foo=1", "slirp4netns:mtu=1500,"],
    ],
)
def test_bad(text: str) -> None:
    with pytest.raises(ValueError, match=r"pasta|slirp4netns"):
        parse_program(text)


def test_which_options_are_given() -> None:
    asked = NetworkProgram("pasta", ("-t80", "--udp-ports=53"))
    assert asked.has("-t", "--tcp-ports")
    assert asked.has("-u", "--udp-ports")
    assert not asked.has("-T", "--tcp-ns")
