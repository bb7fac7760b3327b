"""`nacre create`: create a container without starting it."""

from __future__ import annotations

from ..words.errors import InvalidName, UsageError
from .options import Command
from .run import CREATE_OPTIONS, asked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..engine.containers import ContainerOptions
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Print the id of the new container."""
    image, command, options = _asked(context, args)
    later = context.later(args.quiet)
    try:
        row = context.engine.containers.create(image, command, options, progress=later)
    finally:
        later.close()
    if args.cidfile:
        with open(args.cidfile, "x", encoding="ascii") as stream:
            stream.write(row.id)
    context.print(row.id)
    return 0


def _asked(context: Context, args: Args) -> tuple[str, list[str], ContainerOptions]:
    """docker ends with 125 for options that it cannot read, and with 1 for everything else."""
    try:
        found = asked(context, args)
        context.engine.containers.check(found[2])
    except UsageError as error:
        if not isinstance(error, InvalidName):
            error.exit_code = 125
        raise
    return found


COMMAND = Command("IMAGE [COMMAND] [ARG...]", run, options=CREATE_OPTIONS, interspersed=False)
