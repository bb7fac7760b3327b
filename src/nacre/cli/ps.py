"""`nacre ps`: list containers."""

from __future__ import annotations

from .options import Command, flag, number
from .output import LISTING, Filters, ago, ellipsis, human_duration, human_size, listing, moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..stores.containers import ContainerRow
    from .context import Context
    from .options import Args

_COLUMNS = (
    ("CONTAINER ID", "ID"), ("IMAGE", "Image"), ("COMMAND", "Command"), ("CREATED", "RunningFor"),
    ("STATUS", "Status"), ("PORTS", "Ports"), ("NAMES", "Names"),
)  # fmt: skip
_FILTERS = ("ancestor", "exited", "id", "label", "name", "status")
_WIDTH = 20


def run(context: Context, args: Args) -> int:
    """List containers, the newest first: those that run, or all."""
    from ..services.containers import Containers

    filters = Filters(args.filter, _FILTERS)
    newest = 1 if args.latest else args.last
    everything = args.all or newest is not None or filters.get("status") or filters.get("exited")
    rows = Containers(context.store).list(all=bool(everything))
    shown = [row for row in rows if _wanted(context, row, filters)]
    if newest is not None and newest >= 0:
        shown = shown[:newest]
    columns = [*_COLUMNS, ("SIZE", "Size")] if args.size else _COLUMNS
    listing(context, args, [_row(context, row, args) for row in shown], columns)
    return 0


def _record(row: ContainerRow) -> dict[str, Any]:
    import json

    record: dict[str, Any] = json.loads(row.config_json)
    return record


def _wanted(context: Context, row: ContainerRow, filters: Filters) -> bool:
    names, ids = filters.get("name"), filters.get("id")
    ancestors = filters.get("ancestor")
    return (
        filters.allows("status", row.state)
        and (not filters.get("exited") or row.state == "exited")
        and filters.allows("exited", str(row.exit_code))
        and (not names or any(name.lstrip("/") in row.name for name in names))
        and (not ids or any(row.id.startswith(text) for text in ids))
        and (not ancestors or any(_is_ancestor(context, row, text) for text in ancestors))
        and (not filters.get("label") or filters.labels(_record(row).get("labels", {})))
    )


def _is_ancestor(context: Context, row: ContainerRow, text: str) -> bool:
    from ..images.image import find
    from ..words.errors import NacreError

    try:
        return text == row.image_ref or str(find(context.store, text).digest) == row.image
    except NacreError:
        return False


def _row(context: Context, row: ContainerRow, args: Args) -> dict[str, Any]:
    record = _record(row)
    labels = ",".join(f"{name}={value}" for name, value in sorted(record.get("labels", {}).items()))
    command = row.command if args.no_trunc else ellipsis(row.command, _WIDTH)
    mounts = [source if args.no_trunc else ellipsis(source, 15) for source in record.get("volumes", ())]
    return {
        "Command": f'"{command}"',
        "CreatedAt": moment(row.created),
        "ID": row.id if args.no_trunc else row.id[:12],
        "Image": row.image_ref or row.image,
        "Labels": labels,
        "LocalVolumes": "0",
        "Mounts": ",".join(mounts),
        "Names": row.name,
        "Networks": record.get("network", "host"),
        "Ports": "",
        "RunningFor": ago(row.created),
        "Size": _size(context, row) if args.size else "0B",
        "State": row.state,
        "Status": status(row),
    }


def status(row: ContainerRow) -> str:
    """docker's words: `Up 2 minutes`, `Exited (0) 3 hours ago`, `Created`."""
    import time

    if row.state == "running":
        return f"Up {human_duration(time.time() - row.started)}"
    if row.state == "exited":
        return f"Exited ({row.exit_code}) {ago(row.finished)}"
    return row.state.capitalize()


def _size(context: Context, row: ContainerRow) -> str:
    from ..ground.files import content_size

    active = context.store.trees.active(row.id)
    return human_size(content_size(active.upper)) if active else "0B"


COMMAND = Command(
    "",
    run,
    options=(
        flag("-a, --all", "Show all containers (default shows just running)"),
        *LISTING,
        number("-n, --last", "Show n last created containers (includes all states)"),
        flag("-l, --latest", "Show the latest created container (includes all states)"),
        flag("-s, --size", "Display total file sizes"),
    ),
)
