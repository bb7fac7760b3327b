"""Where the name server of a container listens: at 127.0.0.11 in its network namespace, as docker has it.

A rule leads port 53 to ports that were free, so that a program of the container may have port 53 itself. What
answers there (`resolver`) need not be loaded before the first question.
"""

from __future__ import annotations

import _socket

from ...words.addresses import packed
from . import nftables as nft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from .netlink import Message

ADDRESS, PORT = "127.0.0.11", 53
CONNECTIONS = 32
_PROTOCOLS = 17, 6
_TABLE = "nacre-names"


class NameSockets:
    """One for UDP and one for TCP, and the rules that lead to them if there are any."""

    address = ADDRESS

    def __init__(self, udp: _socket.socket, tcp: _socket.socket, rules: nft.Firewall | None) -> None:
        self.udp, self.tcp, self._rules = udp, tcp, rules

    @classmethod
    def open(cls) -> Self:
        """In the network namespace of the calling thread, whose loopback is up. Raises OSError.

        Where the kernel has no rules for us, port 53 itself is taken, which no program has then.
        """
        udp, tcp = _bound(0)
        rules = None
        try:
            rules = nft.Firewall()
            rules.change(_redirections(udp.getsockname()[1], tcp.getsockname()[1]))
        except OSError:
            cls(udp, tcp, None).close()
            if rules:
                rules.close()
            return cls(*_bound(PORT), None)
        return cls(udp, tcp, rules)

    @classmethod
    def adopt(cls, udp: int, tcp: int, rules: int = -1) -> Self:
        """Those that `held` tells of, in another program of this process."""
        return cls(
            _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM, 0, udp),
            _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, tcp),
            nft.Firewall(rules) if rules >= 0 else None,
        )

    @property
    def held(self) -> list[int]:
        """Their descriptors, for `adopt`."""
        return [each.fileno() for each in (self.udp, self.tcp, self._rules) if each]

    def close(self) -> None:
        """Let go of the address. Idempotent."""
        rules, self._rules = self._rules, None
        if rules:
            rules.leave(_TABLE)
        self.udp.close()
        self.tcp.close()


def _bound(port: int) -> tuple[_socket.socket, _socket.socket]:
    """Port 0 is one that is free."""
    udp = _bind(_socket.SOCK_DGRAM, port)
    try:
        return udp, _bind(_socket.SOCK_STREAM, port)
    except BaseException:
        udp.close()
        raise


def _bind(kind: int, port: int) -> _socket.socket:
    socket = _socket.socket(_socket.AF_INET, kind | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
    try:
        socket.bind((ADDRESS, port))
        if kind == _socket.SOCK_STREAM:
            socket.listen(CONNECTIONS)
    except BaseException:
        socket.close()
        raise
    return socket


def _redirections(*ports: int) -> list[Message]:
    messages = [nft.table(_TABLE), nft.chain(_TABLE, nft.Chain("out", "nat", nft.OUTPUT, -100))]
    for protocol, port in zip(_PROTOCOLS, ports, strict=True):
        meant = [
            *nft.of_family(nft.IPV4),
            nft.destination(nft.IPV4),
            nft.compare(packed(ADDRESS)),
            nft.meta(nft.L4PROTO),
            nft.compare(bytes([protocol])),
            nft.payload(2, 2, 2),
            nft.compare(PORT.to_bytes(2, "big")),
        ]
        messages.append(nft.rule(_TABLE, "out", [*meant, *nft.redirected(packed(ADDRESS), port)]))
    return messages
