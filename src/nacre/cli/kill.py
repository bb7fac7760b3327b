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
    from ..services.containers import Containers
    from ..services.containers.signals import number

    containers = Containers(context.store)
    signal = number(args.signal)
    return each(context, args.positionals, lambda one: containers.kill(one, signal))


COMMAND = Command(
    "CONTAINER [CONTAINER...]",
    run,
    options=(text("-s, --signal", "Signal to send to the container", default="KILL"),),
)
