"""The namespace of a container of an ordinary user: which packets leave it, by which link."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest

from nacre.grammars import packets
from nacre.ground.network import links, namespaces, sockets
from nacre.ground.network.attachments import Wanted
from nacre.ground.network.loopback import LoopbackNetwork
from nacre.ground.network.netlink import Message
from nacre.words.addresses import Subnet, packed

OWN, OTHER = {4: "10.91.0.2", 6: "fd00:9::2"}, {4: "10.91.0.3", 6: "fd00:9::3"}
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


def wanted(name: str = "shop", number: int = 91, *, internal: bool = False) -> Wanted:
    subnet, six = Subnet.parse(f"10.{number}.0.0/24"), Subnet.parse(f"fd00:{number - 82}::/64")
    return Wanted(
        name, 1, subnet, subnet.at(1), (), six, six.at(1), (), internal=internal, mac="02:00:00:00:00:02"
    )


@pytest.fixture
def network(namespace: int) -> Iterator[LoopbackNetwork]:
    """In one network, `shop`."""
    made = LoopbackNetwork()
    made.attach(wanted(), OWN[4], OWN[6])
    yield made
    made.close()


def sent(network: LoopbackNetwork, host: str) -> tuple[bytes, bytes] | None:
    """Source and target of the packet that comes out when a datagram is sent; None for none."""
    kind = FAMILIES[6 if ":" in host else 4]

    def send() -> None:
        with socket.socket(kind, socket.SOCK_DGRAM) as made:
            made.sendto(b"x", (host, 53))

    namespaces.inside(network.namespace, send)
    assert network.link
    try:
        found = packets.read(network.link.read())
    except BlockingIOError:
        return None
    assert found
    return found[1:3]


def connected(network: LoopbackNetwork, version: int) -> str:
    """Whom a server sees when the neighbour connects."""

    def connect() -> str:
        family = FAMILIES[version]
        made = socket.socket(fileno=sockets.new(family).detach())
        with socket.create_server((OWN[version], 80), family=family) as server, made as client:
            sockets.let_have_any_address(client)
            client.bind((OTHER[version], 0))
            assert client.connect_ex((OWN[version], 80)) in (0, errno.EINPROGRESS)
            connection, peer = server.accept()
            connection.close()
            return str(peer[0])

    return namespaces.inside(network.namespace, connect)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("rules", [True, False])
def test_the_address_of_a_neighbour(
    network: LoopbackNetwork, version: int, rules: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It means this namespace for TCP; for datagrams as well where the kernel has no rules for routes."""
    by_table = links.by_table

    def refused(_family: int, protocol: int, table: int) -> Message:
        return by_table(77, protocol, table)

    if not rules:
        monkeypatch.setattr(links, "by_table", refused)
    ends = packed(OWN[version]), packed(OTHER[version])
    assert sent(network, OTHER[version]) == ends
    for _ in range(2):
        network.admit(packed(OTHER[version]))
        assert connected(network, version) == OTHER[version]
    assert sent(network, OTHER[version]) == (ends if rules else None)


def test_each_network_has_its_address(network: LoopbackNetwork) -> None:
    """And what leads out goes on, whatever is left and joined meanwhile."""
    network.attach(wanted("mall", 92, internal=True), "10.92.0.7", "fd00:10::7")
    for host, own in (("10.92.0.8", "10.92.0.7"), ("fd00:10::8", "fd00:10::7"), ("10.91.0.9", OWN[4])):
        assert sent(network, host) == (packed(own), packed(host))
    leads_out(network, OWN[4], OWN[6])
    network.attach(wanted("yard", 93), "10.93.0.4", "fd00:11::4")
    leads_out(network, OWN[4], OWN[6])
    network.detach("shop")
    leads_out(network, "10.93.0.4", "fd00:11::4")
    network.detach("yard")
    network.attach(wanted(), "10.91.0.5", "fd00:9::5")
    leads_out(network, "10.91.0.5", "fd00:9::5")
    for host, own in (("10.91.0.9", "10.91.0.5"), ("fd00:9::9", "fd00:9::5")):
        assert sent(network, host) == (packed(own), packed(host))


def leads_out(network: LoopbackNetwork, own: str, own6: str) -> None:
    """With the address of the first network that is not internal."""
    for host, address in (("192.0.2.1", own), ("2001:db8::1", own6)):
        assert sent(network, host) == (packed(address), packed(host))
