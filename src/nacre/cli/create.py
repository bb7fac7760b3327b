"""`nacre create`: create a container without starting it."""

from __future__ import annotations

from ..words.errors import NacreError
from .options import Command
from .run import CREATE_OPTIONS, asked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..stores.containers import ContainerRow
    from ..words.progress import Progress
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Print the id of the new container."""
    later = context.later(args.quiet)
    try:
        row = _created(context, args, later)
    finally:
        later.close()
    if args.cidfile:
        with open(args.cidfile, "x", encoding="ascii") as stream:
            stream.write(row.id)
    context.print(row.id)
    return 0


def _created(context: Context, args: Args, progress: Progress) -> ContainerRow:
    try:
        image, command, options = asked(context, args)
    except NacreError as error:  # what docker's client cannot read; the rest its daemon refuses, with 1
        error.exit_code = 125
        raise
    return context.engine.containers.create(image, command, options, progress=progress)


COMMAND = Command("IMAGE [COMMAND] [ARG...]", run, options=CREATE_OPTIONS, interspersed=False)
