"""`nacre cp`: files between a container and the host."""

from __future__ import annotations

from ..words.errors import UsageError
from .options import Command, flag
from .output import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Copy one way; say on standard error how much, on a terminal and without --quiet, as docker."""
    first, second = args.positionals
    box, path = split(first)
    other, goal = split(second)
    if box and other:
        raise UsageError("copying between containers is not supported")
    if not box and not other:
        raise UsageError("must specify at least one container source")
    containers, flags = context.engine.containers, {"archive": args.archive, "follow": args.follow_link}
    if box and goal == "-":
        return _stream(context, args, box, path)
    if first == "-":
        containers.put_archive(other, goal, context.input)
        return 0
    if box:
        size = containers.copy_out(box, path, goal, **flags)
    else:
        size = containers.copy_in(first, other, goal, **flags)
    if not args.quiet and context.stdout.isatty():
        context.warn(f"Successfully copied {human_size(size)} to {goal if box else second}")
    return 0


def split(text: str) -> tuple[str, str]:
    """(container, path); a path of the host has no container: `-`, or it begins with `.` or `/`."""
    name, colon, path = text.partition(":")
    if text == "-" or text.startswith((".", "/")) or not colon or not name:
        return "", text
    return name, path


def _stream(context: Context, args: Args, box: str, path: str) -> int:
    if context.stdout.isatty():
        raise UsageError("refusing to write a tar to a terminal. Redirect standard output")
    output = context.output
    context.engine.containers.get_archive(box, path, output.write, follow=args.follow_link)
    output.flush()
    return 0


COMMAND = Command(
    "CONTAINER:SRC_PATH|SRC_PATH|- DEST_PATH|-|CONTAINER:DEST_PATH",
    run,
    options=(
        flag("-a, --archive", "Archive mode (copy all uid/gid information)"),
        flag("-L, --follow-link", "Always follow symbol link in SRC_PATH"),
        flag("-q, --quiet", "Suppress progress output during copy, as without a terminal"),
    ),
    details="'-' as the source reads a tar from STDIN and extracts it to a directory of the "
    "container; '-' as the destination writes a tar to STDOUT. SRC_PATH/. is the content of the directory.",
    store=False,
)
