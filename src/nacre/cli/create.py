"""`nacre create`: create a container without starting it."""

from __future__ import annotations

from ..words.errors import InvalidName, UsageError
from .options import Command
from .run import request_of
from .runoptions import CREATE_OPTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..services.containers import Request
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Print the id of the new container."""
    from ..services.containers import Containers

    row = Containers(context.store).create(_request(context, args))
    if args.cidfile:
        with open(args.cidfile, "x", encoding="ascii") as stream:
            stream.write(row.id)
    context.print(row.id)
    return 0


def _request(context: Context, args: Args) -> Request:
    """docker ends with 125 for options that it cannot read, and with 1 for everything else."""
    try:
        return request_of(context, args)
    except UsageError as error:
        if not isinstance(error, InvalidName):
            error.exit_code = 125
        raise


COMMAND = Command("IMAGE [COMMAND] [ARG...]", run, options=CREATE_OPTIONS, interspersed=False)
