"""Sizes in bytes as people write them: `1.5MB`, `512m`."""

from __future__ import annotations

_BINARY_NAMES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


_BINARY = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}


_DIGITS = 20
"""More than any size in bytes that the kernel knows."""


def read_size(written: str) -> int:
    """`10`, `512m`, `1.5GiB`, `2 kb`: binary units as docker's --memory. Raises ValueError."""
    number = written.strip().lower().removesuffix("b").removesuffix("i")
    unit = number[-1:] if number[-1:] in _BINARY and number[-1:] else ""
    number = number.removesuffix(unit).strip()
    if not (number.replace(".", "", 1).isdigit() and number.isascii()):
        raise ValueError(f"invalid size: {written!r}")
    whole, _, fraction = number.partition(".")
    if len(whole) > _DIGITS:
        raise ValueError(f"invalid size: {written[:40]!r}")
    scale = 1 << _BINARY[unit]
    return int(whole or "0") * scale + int(float(f"0.{fraction or 0}") * scale)


def human_size(count: float, precision: int = 3) -> str:
    """Bytes in decimal units, `precision` significant digits: `7.38MB`, `0B` (docker/go-units HumanSize)."""
    unit = 0
    while count >= 1000 and unit < len(_DECIMAL) - 1:
        count /= 1000
        unit += 1
    return f"{count:.{precision}g}{_DECIMAL[unit]}"


def binary_size(count: float) -> str:
    """Bytes in binary units, four significant digits: `23.54GiB` (docker/go-units BytesSize)."""
    unit = 0
    while count >= 1024 and unit < len(_BINARY_NAMES) - 1:
        count /= 1024
        unit += 1
    return f"{count:.4g}{_BINARY_NAMES[unit]}"
