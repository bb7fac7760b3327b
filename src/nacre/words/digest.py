"""Digests: names for content. Source: OCI image-spec, descriptor.md, "Digests"."""

from __future__ import annotations

from .errors import DigestMismatch, InvalidName, TooLarge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol, Self

    class State(Protocol):
        """A hash of `hashlib`."""

        def update(self, data: bytes | memoryview, /) -> None:
            """Take the next bytes."""


_SMALL = 1 << 16
_LARGE = 1 << 14
_LENGTHS = {"sha256": 64, "sha512": 128}
_HEX = frozenset("0123456789abcdef")


class Digest(str):
    """`algorithm:hex`, checked on construction, so that it can be used as a path at once.

    Only the registered algorithms sha256 and sha512 are accepted, in lower case.
    Raises InvalidName for anything else.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:  # noqa: D102
        algorithm, colon, encoded = text.partition(":")
        if not colon or len(encoded) != _LENGTHS.get(algorithm) or not _HEX.issuperset(encoded):
            raise InvalidName(f"invalid digest {text[:150]!r}: expected sha256:<64 hex digits>")
        return super().__new__(cls, text)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Self:
        """The digest of `data`."""
        return cls(f"{algorithm}:{_hasher(algorithm, data).hexdigest()}")

    @property
    def algorithm(self) -> str:
        """`sha256` or `sha512`."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """The encoded part, lower-case hexadecimal."""
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """The first 12 hexadecimal digits, as docker shows ids."""
        return self.hex[:12]


def take(state: State, data: bytes | memoryview) -> None:
    """`state.update(data)`, at the full speed of the processor.

    Code that has used the wide vector registers and did not clear them, as ISA-L's inflate and CRC, leaves
    the thread in a state in which the SHA instructions, which have an older encoding, take a third longer:
    1.34 instead of 1.81 GB/s. OpenSSL's SHA-512 clears them at its end (VZEROUPPER); of nothing it takes half
    a microsecond. Source: Intel 64 and IA-32 Optimization Reference Manual, "Mixing AVX Code with SSE Code".
    """
    if len(data) >= _LARGE:
        from hashlib import sha512

        sha512().digest()
    state.update(data)


class Verifier:
    """Counts and hashes bytes that pass, and says at the end whether they were the right ones.

    `update` raises TooLarge as soon as more than `size` bytes have passed (size None: no limit);
    `verify` raises DigestMismatch, or TooLarge's counterpart for short content, and returns the
    actual digest. `expected` None only computes.
    """

    def __init__(
        self, expected: Digest | None = None, size: int | None = None, what: str = "content"
    ) -> None:
        self.expected, self.size, self.what = expected, size, what
        self.count = 0
        import hashlib

        self._hash = hashlib.new(expected.algorithm if expected else "sha256")

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes."""
        self.count += len(data)
        if self.size is not None and self.count > self.size:
            raise TooLarge(f"{self.what} is longer than the {self.size} bytes announced")
        take(self._hash, data)

    def verify(self) -> Digest:
        """The digest of what passed; raises DigestMismatch when it is not the expected one."""
        actual = Digest(f"{self._hash.name}:{self._hash.hexdigest()}")
        if self.size is not None and self.count != self.size:
            raise DigestMismatch(
                self.expected or "unknown", actual, what=f"{self.what} ({self.count} of {self.size} bytes)"
            )
        if self.expected is not None and actual != self.expected:
            raise DigestMismatch(self.expected, actual, what=self.what)
        return actual


def _hasher(algorithm: str, data: bytes) -> Any:
    """A hash of `data`. For documents the one built in: `hashlib` would load OpenSSL, 4 ms."""
    if algorithm == "sha256" and len(data) <= _SMALL:
        try:
            from _sha256 import sha256  # type: ignore[import-not-found]  # Python 3.11
        except ImportError:
            try:
                from _sha2 import sha256  # type: ignore[import-not-found]  # from 3.12
            except ImportError:
                from hashlib import sha256
        return sha256(data)
    import hashlib

    return hashlib.new(algorithm, data)
