"""`nacre update`: change what containers may use."""

from __future__ import annotations

from ..words.errors import UsageError
from .each import each
from .options import Command, text
from .run import limits, limits_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Each at once if it runs, else at its next start; prints the names."""
    if not args.given:
        raise UsageError("you must provide one or more flags when using this command")
    wanted = limits_of(context, args)
    containers, policy = context.engine.containers, args.restart
    return each(context, args.positionals, lambda one: containers.update(one, wanted, restart=policy))


COMMAND = Command(
    "CONTAINER [CONTAINER...]",
    run,
    options=(
        *limits(
            "blkio-weight", "cpu-period", "cpu-quota", "cpu-rt-period", "cpu-rt-runtime", "cpu-shares",
            "cpus", "cpuset-cpus", "cpuset-mems", "kernel-memory", "memory", "memory-reservation",
            "memory-swap", "pids-limit",
        ),
        text("--restart", "Restart policy to apply when a container exits", kind="restart"),
    ),
)  # fmt: skip
