"""`nacre attach`: see what a running container writes, and write to it."""

from __future__ import annotations

from .detachkeys import detach_keys
from .options import Command, flag, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """The exit code of the container; 1 when the keys were typed that leave it alone."""
    from ..ground.sandbox import Stdio

    context.stdout.flush()
    stdio = Stdio(-1 if args.no_stdin else 0, 1, 2, detach=detach_keys(context, args), forward=args.sig_proxy)
    code = context.engine.containers.attach(args.positionals[0], stdio)
    return left(context) if code is None else code


def left(context: Context) -> int:
    """What docker says when the keys were typed."""
    context.warn("read escape sequence")
    return 1


COMMAND = Command(
    "CONTAINER",
    run,
    options=(
        text("--detach-keys", "Override the key sequence for detaching a container", kind="detach-keys"),
        flag("--no-stdin", "Do not attach STDIN"),
        flag("--sig-proxy", "Proxy all received signals to the process", default=True),
    ),
)
