"""`nacre logs`: what a container wrote."""

from __future__ import annotations

from ..words.errors import UsageError
from .options import Command, flag, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..services.containers import Containers
    from ..services.containers.log import Line
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Each stream goes where it came from: standard output or standard error."""
    from ..services.containers import Containers

    containers = Containers(context.store)
    if args.tail == "all":
        lines: Iterable[Line] = containers.logs(args.positionals[0], follow=args.follow)
    else:
        lines = _tail(containers, args)
    for line in _between(lines, args):
        stream = context.stderr if line.stream == "stderr" else context.stdout
        stream.write(f"{line.time} {line.text}" if args.timestamps else line.text)
        stream.flush()
    return 0


def _tail(containers: Containers, args: Args) -> Iterator[Line]:
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
    """A time (RFC 3339 or seconds) or an age (`10m`, `1h30m`) as the logs write times; "" for none."""
    import time

    from ..services.containers.log import stamp
    from .output import timestamp

    if not text:
        return ""
    seconds = timestamp(text) if "T" in text or "-" in text else 0.0
    if text.replace(".", "", 1).isdigit():
        seconds = float(text)
    if not seconds:
        seconds = time.time() - _age(text)
    return stamp(int(seconds * 1e9))


def _age(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    total, digits = 0.0, ""
    for char in text:
        if char in units and digits:
            total, digits = total + float(digits) * units[char], ""
        elif char in "0123456789.":
            digits += char
        else:
            raise UsageError(f"invalid time {text!r}", hint="write 2024-05-01T12:00:00Z or 10m")
    if digits:
        raise UsageError(f"invalid time {text!r}", hint="write 2024-05-01T12:00:00Z or 10m")
    return total


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
