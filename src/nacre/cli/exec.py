"""`nacre exec`: run one more program in a running container."""

from __future__ import annotations

from ..words.errors import SandboxError
from .options import Command, flag, many, text
from .program import check_terminal, environment, with_keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """The exit code of the program.

    The store is opened without entering a user namespace of our own: the container's is entered.
    """
    check_terminal(args)
    from ..ground.sandbox import Stdio

    name, *command = args.positionals
    given: dict[str, Any] = {
        "environment": tuple(environment(context, args)), "working_dir": args.workdir, "user": args.user,
        "tty": args.tty, "privileged": args.privileged,
    }  # fmt: skip
    context.stdout.flush()
    try:
        if args.detach:
            context.engine.containers.exec_detached(name, command, **given)
            return 0
        stdio = Stdio(0 if args.interactive else -1, 1, 2, tty=args.tty)
        stdio = with_keys(context, args, stdio)
        done = context.engine.containers.exec(name, command, stdio=stdio, **given)
        if not done.detached:
            return done.exit_code
        from .attach import left

        return left(context)
    except SandboxError as error:
        if args.detach or error.exit_code == SandboxError.exit_code:
            error.exit_code = 1  # docker's 126 and 127 are for a program that is waited for
        raise


COMMAND = Command(
    "CONTAINER COMMAND [ARG...]",
    run,
    options=(
        flag("-d, --detach", "Detached mode: run command in the background"),
        text("--detach-keys", "Override the key sequence for detaching a container", kind="detach-keys"),
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
