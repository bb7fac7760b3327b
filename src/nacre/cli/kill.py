"""`nacre kill`: send a signal to running containers."""

from __future__ import annotations

from .each import each
from .options import Command, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """SIGKILL unless another signal is named."""
    containers = context.engine.containers
    return each(context, args.positionals, lambda one: containers.kill(one, args.signal))


COMMAND = Command(
    "CONTAINER [CONTAINER...]",
    run,
    options=(text("-s, --signal", "Signal to send to the container", default="KILL"),),
)
