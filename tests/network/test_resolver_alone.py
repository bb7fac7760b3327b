"""The name server of a container where the kernel has no rules for it."""

from __future__ import annotations

import errno
import socket

import pytest

from nacre.ground.network import links, namespaces
from nacre.ground.network import nftables as nft
from nacre.ground.network.nameserver import NameSockets
from nacre.ground.network.netlink import ROUTE, Netlink
from nacre.ground.network.resolver import Known, Resolver
from nacre.ground.network.serving import Serving
from nacre.words.addresses import packed

QUERY = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\2db\0\0\1\0\1"


class Database(Known):
    def addresses(self, name: str) -> list[str] | None:
        return ["10.90.0.7"] if name == "db" else None

    def name(self, address: str) -> str:
        return ""


def test_it_takes_the_port_itself(namespace: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(errno.EOPNOTSUPP, "no rules here")

    monkeypatch.setattr(nft, "Firewall", refuse)
    with namespaces.InsideNamespace(namespace), Netlink(ROUTE) as netlink:
        netlink.send([links.up(1)])
    serving = Serving()
    sockets = namespaces.inside(namespace, NameSockets.open)
    resolver = Resolver(serving, sockets, Database(), list)
    serving.begin()
    try:
        reply = namespaces.inside(namespace, _asked)
    finally:
        serving.end()
        resolver.close()
        sockets.close()
    assert reply[:2] == QUERY[:2]
    assert reply.endswith(packed("10.90.0.7"))


def _asked() -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(60)
        client.sendto(QUERY, (NameSockets.address, 53))
        return client.recv(512)
