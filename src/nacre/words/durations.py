"""Durations as Go writes them, and days."""

from __future__ import annotations

from .errors import UsageError

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DAY = 86400.0
_LONGEST = 1 << 63
"""Nanoseconds, as Go counts them."""
_DIGITS = 6


def nanoseconds(text: str) -> int:
    """Of `1m30s` or `1.5h`. Raises UsageError."""
    total, rest = 0.0, text
    while rest:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        unit = rest[len(number) :]
        unit = unit[: len(unit) - len(unit.lstrip("nuµmsh"))]
        if unit not in _UNITS or number.count(".") > 1 or not number.strip("."):
            raise UsageError(f"invalid duration {text!r}: expected something like 30s or 1m30s")
        total += float(number) * _UNITS[unit]
        rest = rest[len(number) + len(unit) :]
    if total >= _LONGEST:
        raise UsageError(f"invalid duration {text[:40]!r}: it is longer than 292 years")
    return int(total)


def seconds(text: str) -> float:
    """As `nanoseconds`, and `30d`; 0 of "". Raises UsageError."""
    days = text.removesuffix("d")
    if days != text and days.isascii() and days.isdigit() and len(days) < _DIGITS:
        return int(days) * _DAY
    return nanoseconds(text) / 1e9
