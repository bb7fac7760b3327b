"""Digests: names for content. Source: OCI image-spec, descriptor.md, "Digests"."""

from __future__ import annotations

from .errors import DigestMismatch, InvalidName, TooLarge, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol, Self

    class Hash(Protocol):
        """A hash of `hashlib`."""

        def update(self, data: bytes | memoryview, /) -> None:
            """Take the next bytes."""

        def digest(self) -> bytes:
            """Of everything so far."""

        def hexdigest(self) -> str:
            """The same as a text."""


_SMALL = 1 << 16
_LARGE = 1 << 14
_LENGTHS = {"sha256": 64, "sha512": 128}
ALGORITHMS = tuple(_LENGTHS)
"""Those that are registered."""
_HEX = frozenset("0123456789abcdef")
_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_ENCODED = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ=_-")
_SEPARATORS = str.maketrans("+._-", "++++")


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
    def named(cls, text: str) -> Digest:
        """As a document names other content: an algorithm that is not registered passes if it is well formed.

        Such a digest is a name only, `is_known` is False: nothing can be verified against it. It is still
        safe as a path. Source: descriptor.md, "Digests". Raises InvalidName.
        """
        algorithm, _, encoded = text.partition(":")
        known = algorithm in _LENGTHS or not _is_well_formed(algorithm, encoded)
        return cls(text) if known else str.__new__(_Unregistered, text)

    @property
    def is_known(self) -> bool:
        """Whether content can be verified against it."""
        return True

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Self:
        """The digest of `data`. Raises Unsupported for an algorithm that is not registered."""
        return cls(f"{algorithm}:{_hasher(algorithm, data).hexdigest()}")

    @property
    def algorithm(self) -> str:
        """The name of the algorithm, `sha256` or `sha512`."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """The encoded part, lower-case hexadecimal."""
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """The first 12 hexadecimal digits, as docker shows ids."""
        return self.hex[:12]


class _Unregistered(Digest):
    """A digest of an algorithm that is not registered; `Digest.named` makes these."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        return str.__new__(cls, text)

    @property
    def is_known(self) -> bool:
        return False


def _is_well_formed(algorithm: str, encoded: str) -> bool:
    """Words of lower case and digits, with one of `+._-` between two of them; both parts fit into a name."""
    words = algorithm.translate(_SEPARATORS).split("+")
    fits = len(algorithm) < 256 and 0 < len(encoded) < 256
    return fits and _ENCODED.issuperset(encoded) and all(w and _LOWER.issuperset(w) for w in words)


def take(state: Hash, data: bytes | memoryview) -> None:
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
    actual digest. `expected` None only computes, by `algorithm`; an unregistered one raises Unsupported.
    """

    def __init__(
        self, expected: Digest | None = None, size: int | None = None, what: str = "content",
        algorithm: str = "sha256",
    ) -> None:  # fmt: skip
        self.expected, self.size, self.what = expected, size, what
        self.count = 0
        import hashlib

        self._hash = hashlib.new(_registered(expected.algorithm if expected else algorithm))

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


def sha256(data: bytes = b"") -> Hash:
    """As that of `hashlib`. For documents it is the one built in: `hashlib` would load OpenSSL, 4 ms."""
    found: Hash = (_built_in if len(data) <= _SMALL else _of_openssl)()(data)
    return found


def _built_in() -> Any:
    try:
        from _sha256 import sha256 as made  # type: ignore[import-not-found]  # Python 3.11
    except ImportError:
        try:
            from _sha2 import sha256 as made  # type: ignore[import-not-found]  # from 3.12
        except ImportError:
            return _of_openssl()
    return made


def _of_openssl() -> Any:
    import hashlib

    return hashlib.sha256


def _hasher(algorithm: str, data: bytes) -> Any:
    if algorithm == "sha256":
        return sha256(data)
    import hashlib

    return hashlib.new(_registered(algorithm), data)


def _registered(algorithm: str) -> str:
    if algorithm not in _LENGTHS:
        raise Unsupported(
            f"digests of the algorithm {algorithm[:100]} cannot be verified: it is not registered"
        )
    return algorithm
