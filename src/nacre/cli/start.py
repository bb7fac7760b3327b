"""`nacre start`: start containers that were created or have ended."""

from __future__ import annotations

from ..words.errors import UsageError
from ..words.quickjson import loads
from .options import Command, flag, many, text, usage_error
from .program import with_keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Start each in the background, or one in the foreground; then its exit code."""
    if args.all or args.filter or not args.positionals:
        return _all(context, args)
    if args.attach or args.interactive:
        return _attached(context, args)
    from .each import each

    return each(context, args.positionals, context.engine.containers.start)


def _all(context: Context, args: Args) -> int:
    """Those that do not run, as podman has it: for what is to run after a start of the machine."""
    from .each import each
    from .psfilters import Chosen

    if not args.all:
        raise usage_error("'nacre start' requires at least 1 argument, or --all", "start", code=1)
    if args.positionals or args.attach or args.interactive:
        raise UsageError("conflicting options: --all with containers, --attach or --interactive")
    chosen, containers = Chosen(context, args.filter), context.engine.containers
    rows = [row for row in reversed(containers.list()) if chosen.allows(row, loads(row.config_json))]
    names = [row.name for row in rows if not row.is_live and containers.may_start(row)]
    return each(context, names, containers.start)


def _attached(context: Context, args: Args) -> int:
    from ..ground.sandbox import Stdio

    if len(args.positionals) != 1:
        raise UsageError("you cannot start and attach multiple containers at once")
    from ..engine.userns import enter

    enter(context.engine, args.positionals[0])
    containers = context.engine.containers
    row = containers.get(args.positionals[0])
    tty = bool(loads(row.config_json).get("tty"))
    context.stdout.flush()
    stdio = with_keys(context, args, Stdio(0 if args.interactive else -1, 1, 2, tty=tty))
    return containers.start_attached(row.id, stdio).exit_code


COMMAND = Command(
    "[CONTAINER...]",
    run,
    options=(
        flag("--all", "Start all containers that do not run"),
        flag("-a, --attach", "Attach STDOUT/STDERR and forward signals"),
        many("--filter", "With --all: only these, as `nacre ps` filters (restart-policy=always)"),
        text("--detach-keys", "Override the key sequence for detaching a container", kind="detach-keys"),
        flag("-i, --interactive", "Attach container's STDIN"),
    ),
    store=False,
)
