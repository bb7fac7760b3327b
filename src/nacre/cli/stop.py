"""`nacre stop`: end running containers, first gently."""

from __future__ import annotations

from .each import each
from .options import Command, number, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


OPTIONS = (
    text("-s, --signal", "Signal to send to the container"),
    number("-t, --timeout", "Seconds to wait before killing the container (default 10)"),
    number("--time", "As --timeout", hidden=True),
)
"""Of commands that end containers gently."""


def run(context: Context, args: Args) -> int:
    """Stop signal, then SIGKILL after the time is up."""
    containers, limit = context.engine.containers, limit_of(args)
    return each(
        context, args.positionals, lambda one: containers.stop(one, timeout=limit, signal=args.signal)
    )


def limit_of(args: Args) -> float | None:
    """Seconds until SIGKILL; None for what the container says."""
    given = args.timeout if args.time is None else args.time
    return None if given is None else float(given)


COMMAND = Command("CONTAINER [CONTAINER...]", run, options=OPTIONS)
