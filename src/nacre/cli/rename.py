"""`nacre rename`: give a container another name."""

from __future__ import annotations

from .options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Nothing is printed, as with docker."""
    context.engine.containers.rename(*args.positionals)
    return 0


COMMAND = Command("CONTAINER NEW_NAME", run)
