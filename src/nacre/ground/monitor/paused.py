"""How a container that `freezer` has stopped is told from others, and what a keeper answers."""

from __future__ import annotations

PREFIX = "answer."
DONE, UNABLE, ALREADY = b"+", b"-", b"="
MARK = "paused"
"""Beside the control while it is paused: its pid and start time, and those that SIGSTOP has stopped."""


def stopped(mark: str, pid: int, start: int) -> list[int] | None:
    """Those that SIGSTOP has stopped, if the mark is of the process `pid`; else None: it is not paused."""
    try:
        with open(mark, encoding="utf-8") as file:
            first, began, *others = (int(word) for word in file.read().split())
    except (OSError, ValueError):
        return None
    return others if (first, began) == (pid, start) else None
