"""`nacre wait`: wait for containers to end and print their exit codes."""

from __future__ import annotations

from .options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """One code a line, in the order given."""
    containers = context.engine.containers
    for text in args.positionals:
        context.print(str(containers.wait(text)))
        context.stdout.flush()
    return 0


COMMAND = Command("CONTAINER [CONTAINER...]", run)
