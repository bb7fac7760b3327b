"""Programs that are the network of one container, as podman writes them: `--network pasta` and `slirp4netns`.

    network  = "pasta" [ ":" argument ( "," argument )* ] | "slirp4netns" [ ":" option ( "," option )* ]
    argument = "--map-gw" | one of pasta(1) that is not ours to give, or the value of the one before
    option   = "allow_host_loopback=" bool | "enable_ipv6=" bool | "mtu=" number | "cidr=" IPv4 network
             | "outbound_addr=" where | "outbound_addr6=" where | "port_handler=slirp4netns"

Source: podman-run(1), pasta(1), slirp4netns(1). Errors are ValueError.
"""

from __future__ import annotations

from ..words.addresses import Subnet
from ..words.errors import UsageError
from ..words.value import Value

PASTA, SLIRP = "pasta", "slirp4netns"
_OURS = ("foreground", "pid", "fd", "runas", "userns", "netns", "netns-only", "config-net", "help", "version")
_OUR_LETTERS, _ALONE = "fFPh", "dqefh46"
_LEAST, _MOST, _LONGEST = 68, 65521, 25
"""Bytes of a packet; bits of a prefix, so that there is a .100."""
_USUAL_MTU, _USUAL_SUBNET = "65520", "10.0.2.0/24"
_BOOLS = {"true": True, "false": False}


class NetworkProgram(Value):
    """`name` with the arguments that were asked for; `subnet` is what slirp4netns hands out addresses of."""

    name: str
    arguments: tuple[str, ...] = ()
    subnet: Subnet | None = None

    def has(self, *names: str) -> bool:
        """Whether one of these options is among the arguments."""
        return any(each.partition("=")[0] in names or each[:2] in names for each in self.arguments)


def parse_program(text: str) -> NetworkProgram:
    """What `--network` says of such a program."""
    name, colon, rest = text.partition(":")
    words = tuple(rest.split(",")) if colon else ()
    if not all(words):
        raise ValueError(f"an option of {name} is empty: {text}")
    return _pasta(words) if name == PASTA else _slirp(words)


def _pasta(words: tuple[str, ...]) -> NetworkProgram:
    before = ""
    for word in words:
        if word.startswith("-"):
            _check(word)
        elif not before.startswith("-"):
            raise ValueError(f"{word!r} is not an option of pasta")
        before = word
    return NetworkProgram(PASTA, words)


def _check(word: str) -> None:
    """Options may be shortened (`--net`) and put together (`-4f`). Source: getopt_long(3)."""
    long = word.startswith("--")
    name = word[2:].partition("=")[0]
    ours = any(each.startswith(name) for each in _OURS) if long else word[1:2] in _OUR_LETTERS
    if ours or (not long and word[1:2] in _ALONE and len(word) > 2):
        raise ValueError(f"the option {word} of pasta cannot be given: its process and namespace are nacre's")


def _slirp(words: tuple[str, ...]) -> NetworkProgram:
    given = {"mtu": _USUAL_MTU, "cidr": _USUAL_SUBNET, "enable_ipv6": "true", "allow_host_loopback": "false"}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not value or (name not in given and name not in _MORE):
            raise ValueError(f"invalid option of slirp4netns: {word!r}")
        given[name] = value
    subnet = _subnet(given.pop("cidr"))
    flags = {
        "--disable-host-loopback": not _bool(given, "allow_host_loopback"),
        "--enable-ipv6": _bool(given, "enable_ipv6"),
    }
    if given.pop("port_handler", SLIRP) != SLIRP:
        raise ValueError("port_handler of slirp4netns can only be slirp4netns: there is no other here")
    arguments = [f"--mtu={_mtu(given.pop('mtu'))}", f"--cidr={subnet}", *(f for f, on in flags.items() if on)]
    return NetworkProgram(SLIRP, (*arguments, *(f"{_MORE[n]}={value}" for n, value in given.items())), subnet)


_MORE = {"outbound_addr": "--outbound-addr", "outbound_addr6": "--outbound-addr6", "port_handler": ""}


def _bool(given: dict[str, str], name: str) -> bool:
    value = given.pop(name)
    if value not in _BOOLS:
        raise ValueError(f"{name} of slirp4netns is true or false: {value!r}")
    return _BOOLS[value]


def _mtu(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not _LEAST <= int(text[:9]) <= _MOST:
        raise ValueError(f"mtu of slirp4netns is a number from {_LEAST} to {_MOST}: {text!r}")
    return int(text)


def _subnet(text: str) -> Subnet:
    try:
        found = Subnet.parse(text)
    except UsageError:
        found = None
    if found is None or ":" in text or found.prefix > _LONGEST:
        raise ValueError(f"cidr of slirp4netns is an IPv4 network of at most {_LONGEST} bits: {text!r}")
    return found
