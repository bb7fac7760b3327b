"""How pasta and slirp4netns are called for one container.

Source: pasta(1), slirp4netns(1); containers/common libnetwork/pasta and libnetwork/slirp4netns.
"""

from __future__ import annotations

import os

from ...grammars.networkprogram import PASTA, parse_program
from ...ground.network.claims import ANY, ANY6
from ...ground.network.external import API, NAMESPACE, Launch, find
from ...words.addresses import in_brackets, version
from ...words.errors import SandboxError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...grammars.networkprogram import NetworkProgram

    Port = tuple[str, int, str, int]

_PACKAGES = {"pasta": "passt", "slirp4netns": "slirp4netns"}
FORWARDER = "169.254.1.1"
"""Where pasta answers questions for a name server that only this machine reaches; as podman has it."""
_LETTERS = {"-t": "tcp", "-u": "udp", "-T": "", "-U": ""}
_LONG = {"-t": "--tcp-ports", "-u": "--udp-ports", "-T": "--tcp-ns", "-U": "--udp-ns"}
SERVER, MACHINE, _OWN = 3, 2, 100
"""Which addresses of its network slirp4netns uses for what. Source: slirp4netns(1)."""


def check(network: str) -> None:
    """Raises UsageError for options that make no sense, Unsupported when the program is not installed."""
    _path(parsed(network))


def parsed(network: str) -> NetworkProgram:
    """As `parse_program`. Raises UsageError."""
    try:
        return parse_program(network)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _path(asked: NetworkProgram) -> str:
    return find(asked.name, _PACKAGES[asked.name])


def launch(asked: NetworkProgram, ports: list[Port], servers: list[str]) -> Launch:
    """How it is started; `servers` are the name servers that a container can ask by itself.

    Raises Unsupported, SandboxError.
    """
    path = _path(asked)
    return _pasta(path, asked, ports, servers) if asked.name == PASTA else _slirp(path, asked, ports)


def published(asked: NetworkProgram, ports: Iterable[Port]) -> list[Port]:
    """Those that are published: slirp4netns has none of IPv6."""
    return [port for port in ports if asked.name == PASTA or version(port[0]) == 4]


def _pasta(path: str, asked: NetworkProgram, ports: list[Port], servers: list[str]) -> Launch:
    """As podman has it: what is not asked for stays closed. Source: containers/common libnetwork/pasta."""
    words = [path, "--quiet", "--config-net", *(each for each in asked.arguments if each != "--map-gw")]
    if not asked.has("--map-gw", "--no-map-gw"):
        words.append("--no-map-gw")
    if not servers and not asked.has("--dns-forward"):
        words += ["--dns-forward", FORWARDER]
    for letter, protocol in _LETTERS.items():
        found = _places([port for port in ports if port[2] == protocol])
        for place in found:
            words += [letter, place]
        if not found and not asked.has(letter, _LONG[letter]):
            words += [letter, "none"]
    if os.geteuid() == 0:
        words += ["--runas", "0"]  # as "nobody" it could not enter the namespace
    return Launch((*words, "--netns-only", "--netns", f"./{NAMESPACE}"))


def _places(ports: list[Port]) -> list[str]:
    """`[ADDRESS/]PORT:PORT`; without an address it is all of both versions."""
    everywhere = {port[1:] for port in ports if port[0] == ANY6}
    found = []
    for host, port, protocol, inside in ports:
        both = (port, protocol, inside) in everywhere and (ANY, port, protocol, inside) in ports
        if both and host == ANY6:
            continue
        found.append(f"{'' if both and host == ANY else f'{host}/'}{port}:{inside}")
    return found


def _slirp(path: str, asked: NetworkProgram, ports: list[Port]) -> Launch:
    assert asked.subnet
    words = [
        path, "--configure", "--ready-fd=3", "--enable-sandbox", "--enable-seccomp", *asked.arguments,
        f"--api-socket={API}", "--netns-type=path", NAMESPACE, "tap0",
    ]  # fmt: skip
    for host, port, _, _ in ports:
        if version(host) == 6 and (host != ANY6 or not any(p[:2] == (ANY, port) for p in ports)):
            raise SandboxError(f"slirp4netns publishes no ports of IPv6: {in_brackets(host)}:{port}")
    requests = [
        {
            "execute": "add_hostfwd",
            "arguments": {
                "proto": protocol, "host_addr": host, "host_port": port,
                "guest_addr": asked.subnet.at(_OWN), "guest_port": inside,
            },
        }
        for host, port, protocol, inside in published(asked, ports)
    ]  # fmt: skip
    return Launch(tuple(words), tuple(requests), stays=True)
