"""Write and parse sizes in bytes as people do: `1.5MB`."""

from __future__ import annotations

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def human_size(count: float, precision: int = 3) -> str:
    """Bytes in decimal units, `precision` significant digits: `7.38MB`, `0B` (docker/go-units HumanSize)."""
    unit = 0
    while count >= 1000 and unit < len(_DECIMAL) - 1:
        count /= 1000
        unit += 1
    return f"{count:.{precision}g}{_DECIMAL[unit]}"
