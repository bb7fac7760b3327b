"""Signals by name or number, as users write them: TERM, SIGTERM, sigterm, 15."""

from __future__ import annotations

import signal

from ...words.errors import UsageError


def number(text: str) -> int:
    """The number. Raises UsageError."""
    if text.isascii() and text.isdigit() and 0 < int(text) < signal.NSIG:
        return int(text)
    name = text.upper().removeprefix("SIG")
    found = getattr(signal, f"SIG{name}", None)
    if name.startswith("RTMIN+") and name[6:].isdecimal():
        found = signal.SIGRTMIN + int(name[6:])
    if not name or not isinstance(found, int) or name.startswith("_") or found >= signal.NSIG:
        raise UsageError(f"invalid signal: {text}")
    return int(found)
