"""`nacre create`: create a container without starting it."""

from __future__ import annotations

from .options import Command
from .run import CREATE_OPTIONS, request_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Print the id of the new container."""
    from ..services.containers import Containers

    row = Containers(context.store).create(request_of(context, args))
    if args.cidfile:
        with open(args.cidfile, "x", encoding="ascii") as stream:
            stream.write(row.id)
    context.print(row.id)
    return 0


COMMAND = Command("IMAGE [COMMAND] [ARG...]", run, options=CREATE_OPTIONS, interspersed=False)
