"""`nacre stats`: what containers use, in docker's table; drawn again every second where it is watched."""

from __future__ import annotations

import time

from ..words.errors import NotFound
from ..words.sizes import binary_size
from .options import Command, flag
from .output import FORMAT, NO_TRUNC, human_size, listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..grammars.gotemplate import Struct
    from ..ground.limits.usage import ContainerUsage
    from ..stores.containers import ContainerRow
    from .context import Context
    from .options import Args

_COLUMNS = (
    ("CONTAINER ID", "ID"), ("NAME", "Name"), ("CPU %", "CPUPerc"), ("MEM USAGE / LIMIT", "MemUsage"),
    ("MEM %", "MemPerc"), ("NET I/O", "NetIO"), ("BLOCK I/O", "BlockIO"), ("PIDS", "PIDs"),
)  # fmt: skip
_SECONDS = 1.0
_HOME, _CLEAR = "\033[H\033[J", "\033[2J"


class StatsTable:
    """What was seen of the containers last, by id."""

    def __init__(self, context: Context, args: Args) -> None:
        self._context, self._args = context, args
        self._before: dict[str, ContainerUsage] = {}

    def rows(self) -> list[Struct]:
        """As it is now; the processors' share is of the time since the last call."""
        return [self._row(named, row) for named, row in self._containers()]

    def _containers(self) -> list[tuple[str, ContainerRow]]:
        """Those named, or all that run; as they were named."""
        containers = self._context.engine.containers
        if self._args.positionals:
            return [(name, containers.get(name)) for name in self._args.positionals]
        return [(row.id, row) for row in containers.list(all=self._args.all)]

    def _row(self, named: str, row: ContainerRow) -> Struct:
        from ..grammars.gotemplate import Struct

        try:
            now = self._context.engine.containers.stats(row.id)
        except NotFound:
            now = None
        before = self._before.get(row.id)
        if now:
            self._before[row.id] = now
        known = {
            "Container": named, "ID": row.id if self._args.no_trunc else row.id[:12], "Name": row.name,
            **_shown(now, before),
        }  # fmt: skip
        return Struct(known, "statsContext")


def _shown(now: ContainerUsage | None, before: ContainerUsage | None) -> dict[str, str]:
    """docker's zeros for a container that does not run."""
    if now is None:
        zeros = ("0.00%", "0B / 0B", "0.00%", "0B / 0B", "0B / 0B", "0")
        return dict(zip([field for _, field in _COLUMNS[2:]], zeros, strict=True))
    limit = now.limit or now.machine
    return {
        "CPUPerc": f"{_share(now, before):.2f}%",
        "MemUsage": f"{binary_size(now.memory)} / {binary_size(limit)}",
        "MemPerc": f"{100 * now.memory / limit if limit else 0.0:.2f}%",
        "NetIO": f"{human_size(now.received)} / {human_size(now.sent)}",
        "BlockIO": f"{human_size(now.read)} / {human_size(now.written)}",
        "PIDs": str(now.pids),
    }


def _share(now: ContainerUsage, before: ContainerUsage | None) -> float:
    """Of one processor; of two that are busy it is 200."""
    if before is None or now.at <= before.at:
        return 0.0
    return max(100 * (now.cpu - before.cpu) / (now.at - before.at), 0.0)


def run(context: Context, args: Args) -> int:
    """Once, or until it is interrupted."""
    usage = StatsTable(context, args)
    usage.rows()
    live = context.stdout.isatty() and not args.no_stream
    if live:
        context.stdout.write(_CLEAR)
    while True:
        time.sleep(_SECONDS)
        rows = usage.rows()
        if live:
            context.stdout.write(_HOME)
        listing(context, args, rows, _COLUMNS)
        context.stdout.flush()
        if args.no_stream:
            return 0


COMMAND = Command(
    "[CONTAINER...]",
    run,
    options=(
        flag("-a, --all", "Show all containers (default shows just running)"),
        FORMAT,
        flag("--no-stream", "Disable streaming stats and only pull the first result"),
        NO_TRUNC,
    ),
)
