"""How many processors there are for this process: what all that works side by side goes by."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_team: Callable[[], int] | None = None


def processors() -> int:
    """How many this process may use: its share while it is one of a team, rounded up."""
    return every() if _team is None else -(-every() // max(1, _team()))


def every() -> int:
    """All that there are for this process and its team, for threads that need no interpreter."""
    return len(os.sched_getaffinity(0))


def share(at_work: Callable[[], int] | None) -> None:
    """From now on this process is one of so many that are at work (None: it is alone)."""
    global _team
    _team = at_work
