"""How much memory is left for more work."""

from __future__ import annotations

_PLENTY = 1 << 62


def available(path: str = "/proc/meminfo") -> int:
    """Bytes that programs can have without swapping, as the kernel reckons; plenty where it does not say.

    Source: proc_meminfo(5), MemAvailable.
    """
    try:
        with open(path, "rb") as file:
            for line in file:
                if line.startswith(b"MemAvailable:"):
                    return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        return _PLENTY
    return _PLENTY
