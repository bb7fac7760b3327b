"""`nacre top`: the processes of a container."""

from __future__ import annotations

from .options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .context import Context
    from .options import Args

_NARROWEST, _GAP = 20, 3


def run(context: Context, args: Args) -> int:
    """As `ps -ef` shows them, or as the options say."""
    name, *options = args.positionals
    found = context.engine.containers.top(name, options)
    rows = [found.titles, *found.processes]
    widths = [max(_NARROWEST, *(len(row[at]) + _GAP for row in rows)) for at in range(len(found.titles))]
    for row in rows:
        context.print(_line(row, widths))
    return 0


def _line(row: Sequence[str], widths: list[int]) -> str:
    return "".join(word.ljust(width) for word, width in zip(row[:-1], widths, strict=False)) + row[-1]


COMMAND = Command("CONTAINER [PS_OPTION...]", run, interspersed=False, store=False)
