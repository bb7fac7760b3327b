"""`nacre start`: start containers that were created or have ended."""

from __future__ import annotations

from ..words.errors import UsageError
from .options import Command, flag
from .run import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..services.containers import Containers
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Start each in the background, or one in the foreground; then its exit code."""
    from ..services.containers import Containers

    containers = Containers(context.store)
    warn(context, containers)
    if args.attach or args.interactive:
        return _attached(context, containers, args)
    from .each import each

    return each(context, args.positionals, containers.start_detached)


def _attached(context: Context, containers: Containers, args: Args) -> int:
    import json

    from ..ground.sandbox import Stdio

    if len(args.positionals) != 1:
        raise UsageError("you cannot start and attach multiple containers at once")
    row = containers.get(args.positionals[0])
    tty = bool(json.loads(row.config_json).get("tty"))
    context.stdout.flush()
    return containers.start(row.id, Stdio(0 if args.interactive else -1, 1, 2, tty=tty))


COMMAND = Command(
    "CONTAINER [CONTAINER...]",
    run,
    options=(
        flag("-a, --attach", "Attach STDOUT/STDERR and forward signals"),
        flag("-i, --interactive", "Attach container's STDIN"),
    ),
)
