"""`nacre top`: the processes of a container."""

from __future__ import annotations

from .options import Command
from .output import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args

_NARROWEST = 20


def run(context: Context, args: Args) -> int:
    """As `ps -ef` shows them, or as the options say."""
    name, *options = args.positionals
    found = context.engine.containers.top(name, options)
    table(context, found.titles, found.processes, _NARROWEST)
    return 0


COMMAND = Command("CONTAINER [PS_OPTION...]", run, interspersed=False, store=False)
