"""`nacre pause` and `nacre unpause`: stop all processes of containers for a while."""

from __future__ import annotations

from .each import each
from .options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Each that is named; 1 when any does not run, or is paused already."""
    return each(context, args.positionals, context.engine.containers.pause)


def _unpause(context: Context, args: Args) -> int:
    return each(context, args.positionals, context.engine.containers.unpause)


PAUSE = Command("CONTAINER [CONTAINER...]", run)
UNPAUSE = Command("CONTAINER [CONTAINER...]", _unpause)
