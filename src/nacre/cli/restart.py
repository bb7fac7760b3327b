"""`nacre restart`: stop containers and start them again."""

from __future__ import annotations

from .each import each
from .options import Command
from .stop import OPTIONS, limit_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """One that does not run is started."""
    containers, limit = context.engine.containers, limit_of(args)
    return each(
        context, args.positionals, lambda one: containers.restart(one, timeout=limit, signal=args.signal)
    )


COMMAND = Command("CONTAINER [CONTAINER...]", run, options=OPTIONS, store=False)
