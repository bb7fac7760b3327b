"""Ports of this machine, claimed by binding them: nobody else has them until their holder lets go or dies."""

from __future__ import annotations

import _socket
from errno import EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT

from ...words.addresses import family, in_brackets, version
from ...words.errors import SandboxError, Unsupported
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...grammars.ports import Publish

ANY, ANY6 = "0.0.0.0", "::"
_BACKLOG = 128
_ATTEMPTS = 32
_KINDS = {"tcp": _socket.SOCK_STREAM, "udp": _socket.SOCK_DGRAM}
_ABSENT = (EAFNOSUPPORT, EADDRNOTAVAIL)


class Claim(Value):
    """A port of this machine, held by `socket`: of TCP it listens. `inside` is the port of the container."""

    host: str
    port: int
    protocol: str
    inside: int
    socket: _socket.socket

    @classmethod
    def adopt(cls, host: str, port: int, protocol: str, inside: int, fd: int) -> Claim:
        """One whose socket is the descriptor `fd`."""
        return cls(host, port, protocol, inside, _socket.socket(family(host), _KINDS[protocol], 0, fd))

    def describe(self) -> list[object]:
        """What `adopt` takes, as plain values."""
        return [self.host, self.port, self.protocol, self.inside, self.socket.fileno()]

    def close(self) -> None:
        """Let go of the port."""
        self.socket.close()


def check(wanted: Iterable[Publish]) -> None:
    """Raises Unsupported for a protocol that is not passed on."""
    for each in wanted:
        if each.protocol not in _KINDS:
            raise Unsupported(
                f"cannot publish port {each.inside}: only ports of TCP and UDP can be published"
            )


def claim(wanted: Sequence[Publish]) -> list[Claim]:
    """All of them, or none. Raises SandboxError, which names the one that is taken, and as `check`."""
    check(wanted)
    held: list[Claim] = []
    try:
        for publish in wanted:
            held += _claim(publish)
    except BaseException:
        for each in held:
            each.close()
        raise
    return held


def _claim(publish: Publish) -> list[Claim]:
    """One port at all the addresses that are meant."""
    hosts = [publish.address] if publish.address else [ANY, ANY6]
    for port in _candidates(publish):
        try:
            return _at(hosts, port, publish)
        except OSError as error:
            failed = error
            if error.errno != EADDRINUSE:
                break
    port = publish.first or publish.port
    raise SandboxError(
        f"failed to bind host port {in_brackets(hosts[0])}:{port}/{publish.protocol}: "
        f"{(failed.strerror or '').lower()}",
        hint="another program or container has it" if failed.errno == EADDRINUSE else "",
    )


def _candidates(publish: Publish) -> Iterable[int]:
    return range(publish.first, publish.last + 1) if publish.first else [0] * _ATTEMPTS


def _at(hosts: Sequence[str], port: int, publish: Publish) -> list[Claim]:
    """The same port at each. Where all addresses are meant, and there is no IPv6, that is left out."""
    held: list[Claim] = []
    try:
        for host in hosts:
            try:
                held.append(_bound(host, port, publish))
            except OSError as error:
                if host == ANY6 and held and error.errno in _ABSENT:
                    continue
                raise
            port = held[0].port
    except BaseException:
        for each in held:
            each.close()
        raise
    return held


def _bound(host: str, port: int, publish: Publish) -> Claim:
    socket = _socket.socket(
        family(host), _KINDS[publish.protocol] | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
    )
    try:
        if version(host) == 6:
            socket.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
        if publish.protocol == "tcp":  # what ended lately does not count; what listens does
            socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        socket.bind((host, port))
        if publish.protocol == "tcp":
            socket.listen(_BACKLOG)
        return Claim(host, socket.getsockname()[1], publish.protocol, publish.port, socket)
    except BaseException:
        socket.close()
        raise
