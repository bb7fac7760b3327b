"""Which layers of a transfer are moved by several processes."""

from __future__ import annotations

from ...ground.work.forks import MAX_ITEMS, is_single_threaded
from ..model.source import ForkSafe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...ground.work.budget import Budget

WORTH = 16 << 20
"""Compressed bytes beside the largest layer from which on a second process pays."""


def processes_for(far: object, sizes: Sequence[int], budget: Budget) -> int:
    """How many are to move layers of these compressed sizes, the largest first, from or to `far`.

    1 where more cannot be or do not pay.
    """
    allowed = min(budget.processes, budget.processors, budget.transfers, len(sizes))
    if allowed < 2 or len(sizes) > MAX_ITEMS or sum(sizes[1:]) < WORTH:
        return 1
    return allowed if isinstance(far, ForkSafe) and far.fork_safe and is_single_threaded() else 1
