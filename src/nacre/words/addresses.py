"""IP addresses and subnets. `ipaddress` costs 5 ms of imports, so addresses are packed bytes here."""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from .errors import UsageError
from .value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_BITS = {4: 32, 6: 128}


def packed(text: str) -> bytes:
    """4 or 16 bytes in network order. Raises ValueError for what is no address."""
    if "\0" in text or "%" in text:
        raise ValueError(f"{text!r} is no IP address")
    try:
        return inet_pton(family(text), text)
    except OSError:
        raise ValueError(f"{text!r} is no IP address") from None


def shown(address: bytes) -> str:
    """A packed address as text."""
    return inet_ntop(AF_INET if len(address) == 4 else AF_INET6, address)


def version(text: str) -> int:
    """4 or 6, of an address."""
    return 6 if ":" in text else 4


def family(text: str) -> int:
    """That of sockets, and of the kernel's messages about networks, of an address."""
    return AF_INET6 if version(text) == 6 else AF_INET


def in_brackets(text: str) -> str:
    """An address or host as it stands before `:PORT`."""
    return f"[{text}]" if version(text) == 6 else text


def extra_host(text: str) -> tuple[str, str]:
    """Name and address of `NAME:ADDRESS`, `NAME=ADDRESS` or `NAME:[ADDRESS]`. Raises ValueError.

    `host-gateway` stands for an address. Source: docker's --add-host.
    """
    name, separator, address = text.partition("=" if "=" in text else ":")
    if not separator or not name or ":" in name or not address:
        raise ValueError(f'bad format for add-host: "{text}": expected NAME:ADDRESS')
    address = address[1:-1] if address[0] + address[-1] == "[]" else address
    if address != "host-gateway":
        try:
            packed(address)
        except ValueError:
            raise ValueError(f'invalid IP address in add-host: "{address}"') from None
    return name, address


class Subnet(Value):
    """All addresses of `version` 4 or 6 whose first `prefix` bits are those of the number `base`."""

    version: int
    base: int
    prefix: int

    @classmethod
    def parse(cls, text: str) -> Subnet:
        """`10.1.0.0/16`, `fd00:1::/64`. Raises UsageError, also for bits after the prefix."""
        address, slash, prefix = text.partition("/")
        try:
            data = packed(address)
        except ValueError:
            raise UsageError(f"invalid subnet {text}: expected ADDRESS/PREFIX") from None
        bits = 8 * len(data)
        if not (slash and prefix.isascii() and prefix.isdigit() and len(prefix) < 4 and int(prefix) <= bits):
            raise UsageError(f"invalid subnet {text}: expected ADDRESS/PREFIX")
        found = cls(4 if bits == 32 else 6, int.from_bytes(data, "big"), int(prefix))
        proper = found.replace(base=found.base & ~(found.size - 1))
        if proper != found:
            raise UsageError(f"invalid subnet {text}: it should be {proper}")
        return found

    @property
    def size(self) -> int:
        """How many addresses it has."""
        return 1 << (_BITS[self.version] - self.prefix)

    def __contains__(self, text: str) -> bool:
        return version(text) == self.version and 0 <= self._number(text) - self.base < self.size

    def _number(self, text: str) -> int:
        return int.from_bytes(packed(text), "big")

    def overlaps(self, other: Subnet) -> bool:
        """Whether any address is in both."""
        if self.version != other.version:
            return False
        return self.base < other.base + other.size and other.base < self.base + self.size

    def within(self, other: Subnet) -> bool:
        """Whether all its addresses are in `other`."""
        return self.overlaps(other) and self.prefix >= other.prefix

    def at(self, number: int) -> str:
        """The address with a number, 0 the first. Raises IndexError."""
        if not 0 <= number < self.size:
            raise IndexError(number)
        return shown((self.base + number).to_bytes(_BITS[self.version] // 8, "big"))

    def hosts(self) -> Iterator[str]:
        """All but the first and, of IPv4, the last: those mean the subnet itself."""
        end = self.size - 1 if self.version == 4 else self.size
        return (self.at(number) for number in range(1, end))

    def __str__(self) -> str:
        return f"{self.at(0)}/{self.prefix}"
