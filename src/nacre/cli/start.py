"""`nacre start`: start containers that were created or have ended."""

from __future__ import annotations

from ..words.errors import UsageError
from .options import Command, flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Start each in the background, or one in the foreground; then its exit code."""
    if args.attach or args.interactive:
        return _attached(context, args)
    from .each import each

    return each(context, args.positionals, context.engine.containers.start)


def _attached(context: Context, args: Args) -> int:
    import json

    from ..ground.sandbox import Stdio

    if len(args.positionals) != 1:
        raise UsageError("you cannot start and attach multiple containers at once")
    containers = context.engine.containers
    row = containers.get(args.positionals[0])
    tty = bool(json.loads(row.config_json).get("tty"))
    context.stdout.flush()
    return containers.start_attached(row.id, Stdio(0 if args.interactive else -1, 1, 2, tty=tty)).exit_code


COMMAND = Command(
    "CONTAINER [CONTAINER...]",
    run,
    options=(
        flag("-a, --attach", "Attach STDOUT/STDERR and forward signals"),
        flag("-i, --interactive", "Attach container's STDIN"),
    ),
)
