"""`nacre logs`: what a container wrote."""

from __future__ import annotations

from ..words.errors import UsageError
from .options import Command, flag, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..services.containers.logfiles import Line
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Each stream goes where it came from: standard output or standard error."""
    lines = context.engine.containers.logs(args.positionals[0], follow=args.follow, tail=_tail(args.tail))
    for line in _between(lines, args):
        stream = context.stderr if line.stream == "stderr" else context.stdout
        stream.write(_shown(line, args))
        stream.flush()
    return 0


def _tail(text: str) -> int:
    """docker shows everything for a number below 0."""
    if text == "all" or (text[:1] == "-" and text[1:].isdecimal()):
        return -1
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UsageError(f"invalid number of lines: {text!r}")
    return int(text)


def _shown(line: Line, args: Args) -> str:
    text = line.text
    if args.details:
        from urllib.parse import quote_plus

        pairs = (f"{quote_plus(name)}={quote_plus(value)}" for name, value in line.attributes)
        text = f"{','.join(pairs)} {text}"
    return f"{line.time} {text}" if args.timestamps else text


def _between(lines: Iterable[Line], args: Args) -> Iterator[Line]:
    since, until = _moment(args.since), _moment(args.until)
    for line in lines:
        if since and line.time < since:
            continue
        if until and line.time > until:
            return
        yield line


def _moment(text: str) -> str:
    """A time or an age as the logs write times, to the nanosecond; "" for none."""
    from ..ground.monitor.logfile import stamp
    from .output import instant

    if not text:
        return ""
    whole, point, rest = text.partition(".")
    if not (point and ("T" in whole or text.replace(".", "", 1).isdecimal())):
        return stamp(int(instant(text) * 1e9))
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    seconds = int(instant(whole + rest[len(digits) :]))
    return stamp(seconds * 10**9 + int(digits[:9].ljust(9, "0")))


COMMAND = Command(
    "CONTAINER",
    run,
    options=(
        flag("--details", "Show extra details provided to logs"),
        flag("-f, --follow", "Follow log output"),
        text("--since", "Show logs since timestamp (2024-05-01T13:23:37Z) or relative (42m)"),
        text("-n, --tail", "Number of lines to show from the end of the logs", default="all"),
        flag("-t, --timestamps", "Show timestamps"),
        text("--until", "Show logs before a timestamp or relative (42m)"),
    ),
)
