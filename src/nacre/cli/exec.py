"""`nacre exec`: run one more program in a running container."""

from __future__ import annotations

from ..words.errors import NotFound
from .options import Command, flag, many, text
from .run import check_terminal, environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """The exit code of the program.

    The store is opened without entering a user namespace of our own: the container's is entered.
    """
    check_terminal(args)
    if args.detach_keys:
        context.warn("WARNING: --detach-keys ignored: nothing could be attached to later")
    from ..ground.sandbox import Stdio
    from ..services.containers import Containers, Extra
    from ..stores.store import Store

    name, *command = args.positionals
    extra = Extra(
        tuple(command), tuple(environment(context, args)), args.workdir, args.user, args.tty, args.privileged
    )
    try:
        store = Store.open(context.root, driver=context.driver, create=False)
    except NotFound:
        raise NotFound(f"No such container: {name}") from None
    with store:
        containers = Containers(store)
        context.stdout.flush()
        if args.detach:
            containers.execute_detached(name, extra)
            return 0
        return containers.execute(name, extra, Stdio(0 if args.interactive else -1, 1, 2, tty=args.tty))


COMMAND = Command(
    "CONTAINER COMMAND [ARG...]",
    run,
    options=(
        flag("-d, --detach", "Detached mode: run command in the background"),
        text("--detach-keys", "Ignored with a warning", kind="detach-keys", hidden=True),
        many("-e, --env", "Set environment variables"),
        many("--env-file", "Read in a file of environment variables"),
        flag("-i, --interactive", "Keep STDIN open even if not attached"),
        flag("--privileged", "Give extended privileges to the command"),
        flag("-t, --tty", "Allocate a pseudo-TTY"),
        text("-u, --user", "Username or UID (format: <name|uid>[:<group|gid>])"),
        text("-w, --workdir", "Working directory inside the container"),
    ),
    interspersed=False,
    store=False,
)
