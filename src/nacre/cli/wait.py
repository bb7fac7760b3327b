"""`nacre wait`: wait for containers to end and print their exit codes."""

from __future__ import annotations

from ..words.errors import NacreError
from .options import Command, choice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """One code a line, in the order given; 1 when one of them is not there."""
    failed = 0
    for text in args.positionals:
        try:
            context.print(str(context.engine.containers.wait(text, args.condition)))
        except NacreError as error:
            context.warn_of(error)
            failed = 1
        context.stdout.flush()
    return failed


COMMAND = Command(
    "CONTAINER [CONTAINER...]",
    run,
    options=(
        choice(
            "--condition",
            "What to wait for: not-running, next-exit or removed",
            ("not-running", "next-exit", "removed"),
            default="not-running",
        ),
    ),
)
