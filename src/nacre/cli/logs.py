"""`nacre logs`: what a container wrote."""

from __future__ import annotations

from ..words.errors import UsageError
from .options import Command, flag, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..engine.containers import ContainerCollection
    from ..services.containers.log import Line
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Each stream goes where it came from: standard output or standard error."""
    containers = context.engine.containers
    if args.tail == "all":
        lines: Iterable[Line] = containers.logs(args.positionals[0], follow=args.follow)
    else:
        lines = _tail(containers, args)
    for line in _between(lines, args):
        stream = context.stderr if line.stream == "stderr" else context.stdout
        stream.write(f"{line.time} {line.text}" if args.timestamps else line.text)
        stream.flush()
    return 0


def _tail(containers: ContainerCollection, args: Args) -> Iterator[Line]:
    """The last lines there are now, then what follows."""
    from collections import deque

    if not args.tail.isdigit():
        raise UsageError(f"invalid number of lines: {args.tail!r}")
    text, skip = args.positionals[0], 0
    last: deque[Line] = deque(maxlen=int(args.tail))
    for line in containers.logs(text):
        last.append(line)
        skip += 1
    yield from last
    if args.follow:
        for index, line in enumerate(containers.logs(text, follow=True)):
            if index >= skip:
                yield line


def _between(lines: Iterable[Line], args: Args) -> Iterator[Line]:
    since, until = _moment(args.since), _moment(args.until)
    for line in lines:
        if since and line.time < since:
            continue
        if until and line.time > until:
            return
        yield line


def _moment(text: str) -> str:
    """A time or an age as the logs write times; "" for none."""
    from ..services.containers.log import stamp
    from .output import instant

    return stamp(int(instant(text) * 1e9)) if text else ""


COMMAND = Command(
    "CONTAINER",
    run,
    options=(
        flag("-f, --follow", "Follow log output"),
        text("--since", "Show logs since timestamp (2024-05-01T13:23:37Z) or relative (42m)"),
        text("-n, --tail", "Number of lines to show from the end of the logs", default="all"),
        flag("-t, --timestamps", "Show timestamps"),
        text("--until", "Show logs before a timestamp or relative (42m)"),
    ),
)
