"""`nacre stop`: end running containers, first gently."""

from __future__ import annotations

from .each import each
from .options import Command, number, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Stop signal, then SIGKILL after the time is up."""
    containers, given = context.engine.containers, args.timeout if args.time is None else args.time
    limit = None if given is None else float(given)
    return each(
        context, args.positionals, lambda one: containers.stop(one, timeout=limit, signal=args.signal)
    )


COMMAND = Command(
    "CONTAINER [CONTAINER...]",
    run,
    options=(
        text("-s, --signal", "Signal to send to the container"),
        number("-t, --timeout", "Seconds to wait before killing the container (default 10)"),
        number("--time", "As --timeout", hidden=True),
    ),
)
