"""Passwords, as argon2id keeps them (RFC 9106), with the least that OWASP recommends: 19 MiB, 2 passes."""

from __future__ import annotations

from ....words.errors import Unsupported

try:
    from argon2 import PasswordHasher
    from argon2.exceptions import Argon2Error, InvalidHashError
except ModuleNotFoundError:
    raise Unsupported(
        "passwords of a registry need argon2-cffi", hint="pip install nacre-oci[registry]"
    ) from None

_HASHER = PasswordHasher(time_cost=2, memory_cost=19 << 10, parallelism=1)
NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5bm9ib2$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
"""What no password matches."""


def encoded(password: str) -> str:
    """What is kept of a password."""
    return _HASHER.hash(password)


def matches(stored: str, password: str) -> bool:
    """Is it the one? 20 ms."""
    try:
        return _HASHER.verify(stored, password)
    except (Argon2Error, InvalidHashError):
        return False
