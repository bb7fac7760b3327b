"""Addresses and subnets, against Python's own."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as some

from nacre.words.addresses import Subnet, packed, shown
from nacre.words.errors import UsageError

NETWORKS = some.one_of(
    some.builds(
        lambda n, p: ipaddress.ip_network((n, p), strict=False),
        some.integers(0, 2**32 - 1), some.integers(0, 32),
    ),
    some.builds(
        lambda n, p: ipaddress.ip_network((n.to_bytes(16, "big"), p), strict=False),
        some.integers(0, 2**128 - 1), some.integers(0, 128),
    ),
)  # fmt: skip


@given(NETWORKS)
def test_a_subnet_is_what_python_says(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> None:
    subnet = Subnet.parse(f"{network.network_address}/{network.prefixlen}")
    assert ipaddress.ip_network(str(subnet)) == network
    assert subnet.size == network.num_addresses
    assert shown(packed(subnet.at(subnet.size - 1))) == subnet.at(subnet.size - 1)
    assert ipaddress.ip_address(subnet.at(subnet.size - 1)) == network.broadcast_address


@given(NETWORKS, NETWORKS)
def test_overlaps(one: ipaddress.IPv4Network, two: ipaddress.IPv4Network) -> None:
    mine, others = Subnet.parse(str(one)), Subnet.parse(str(two))
    same = one.version == two.version
    assert mine.overlaps(others) == (same and one.overlaps(two))
    assert mine.within(others) == (same and one.subnet_of(two))
    assert (str(two.network_address) in mine) == (two.network_address in one)


def test_hosts() -> None:
    assert list(Subnet.parse("10.0.0.8/29").hosts()) == [f"10.0.0.{n}" for n in range(9, 15)]
    assert list(Subnet.parse("fd00::/126").hosts()) == ["fd00::1", "fd00::2", "fd00::3"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("10.0.0.1/24", "it should be 10.0.0.0/24"), ("10.0.0.0", "expected ADDRESS/PREFIX"),
        ("10.0.0.0/33", "expected"), ("10.0.0.0/-1", "expected"), ("10.0.0/8", "expected"),
        ("nope/8", "expected"), ("fd00::/129", "expected"), ("fe80::1%eth0/64", "expected"),
        ("10.0.0.0/8/8", "expected"), ("10.0.0.0\0/8", "expected"), ("10.0.0.0/²", "expected"),
    ],
)  # fmt: skip
def test_no_subnet(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Subnet.parse(text)
    assert said in caught.value.message
