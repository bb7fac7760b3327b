"""`nacre ps`: list containers."""

from __future__ import annotations

from ..words.quickjson import loads
from .options import Command, flag, number
from .output import LISTING, ago, ellipsis, human_duration, human_size, listing, moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..stores.containers import ContainerRow
    from .context import Context
    from .options import Args
    from .psfilters import Chosen

_COLUMNS = (
    ("CONTAINER ID", "ID"), ("IMAGE", "Image"), ("COMMAND", "Command"), ("CREATED", "RunningFor"),
    ("STATUS", "Status"), ("PORTS", "Ports"), ("NAMES", "Names"),
)  # fmt: skip
_WIDTH = 20


def run(context: Context, args: Args) -> int:
    """List containers, the newest first: those that run, or all."""
    chosen = _chosen(context, args)
    newest = 1 if args.latest else args.last
    everything = args.all or newest is not None or (chosen is not None and chosen.wants_all)
    rows = context.engine.containers.list(all=bool(everything))
    shown = [row for row in rows if chosen.allows(row, loads(row.config_json))] if chosen else rows
    if newest is not None and newest >= 0:
        shown = shown[:newest]
    columns = [*_COLUMNS, ("SIZE", "Size")] if args.size else _COLUMNS
    old = context.engine.containers.outdated(shown) if shown and not _is_bare(args) else set()
    listing(context, args, [_row(context, row, args, row.id in old) for row in shown], columns)
    return 0


def _is_bare(args: Args) -> bool:
    """Are ids all that is wanted?"""
    return bool(args.quiet and not args.format)


def _chosen(context: Context, args: Args) -> Chosen | None:
    if not args.filter:
        return None
    from .psfilters import Chosen

    return Chosen(context, args.filter)


def _row(context: Context, row: ContainerRow, args: Args, is_old: bool) -> dict[str, Any]:
    """What is shown: a template may name more than the table has. `is_old`: its image has lost its name."""
    identity = {"ID": row.id if args.no_trunc else row.id[:12]}
    if _is_bare(args):
        return identity
    from .columns import health_of, state_of

    state, health = state_of(context, row), health_of(context, row)
    columns = {**identity, "Image": _image(row, args, is_old)}
    columns |= _columns(context, row, args, _more(state, health))
    more = {"HealthStatus": health, "State": state}
    return _whole(context, row, args, columns | more) if args.format else columns


def _columns(context: Context, row: ContainerRow, args: Args, more: str) -> dict[str, Any]:
    """The fields that the table has; `more` stands after the status."""
    command = row.command if args.no_trunc else ellipsis(row.command, _WIDTH)
    return {
        "Command": _quoted(command),
        "Names": row.name,
        "Ports": _ports(context, row),
        "RunningFor": ago(row.created),
        "Size": _size(context, row) if args.size else "0B",
        "Status": status(row) + more + _missing(context, row),
    }


def _quoted(command: str) -> str:
    """As docker's, on one line whatever is in it."""
    if command.isprintable() and '"' not in command and "\\" not in command:
        return f'"{command}"'
    from ..grammars.gotemplate.printf import quote

    return quote(command)


def _image(row: ContainerRow, args: Args, is_old: bool) -> str:
    """As it was asked for; its id where that name means another image by now, or none."""
    if not is_old:
        return row.image_ref
    number = str(loads(row.config_json).get("image_id") or row.image)
    return number if args.no_trunc else number.partition(":")[2][:12]


def _whole(context: Context, row: ContainerRow, args: Args, known: dict[str, Any]) -> dict[str, Any]:
    """All that docker's templates know; `known` is what the table has, and the words for its status."""
    from ..grammars.gotemplate import Struct
    from .columns import mounts_of, networks_column

    record = loads(row.config_json)
    labels = record.get("labels") or {}
    mounts = mounts_of(record, context.root)
    names = [mount.get("Name") or mount["Source"] for mount in mounts]
    more = {
        "CreatedAt": moment(int(row.created)),
        "Labels": ",".join(f"{name}={value}" for name, value in sorted(labels.items())),
        "LocalVolumes": str(sum(mount["Type"] == "volume" for mount in mounts)),
        "Mounts": ",".join(name if args.no_trunc else ellipsis(name, 15) for name in names),
        "Networks": networks_column(record),
        "Platform": None,
    }
    whole = dict(sorted({**known, **more}.items()))
    return Struct(whole, "row", methods={"Label": lambda _row, name: labels.get(name, "")})


def _ports(context: Context, row: ContainerRow) -> str:
    if row.state != "running":
        return ""
    record = loads(row.config_json)
    if "endpoints" not in record:
        return ""
    from .columns import ports_column

    return ports_column(record, context.engine.containers.reached(row))


def _more(state: str, health: str) -> str:
    if state == "paused":
        return " (Paused)"
    if state != "running" or not health:
        return ""
    return f" ({'health: ' if health == 'starting' else ''}{health})"


def _missing(context: Context, row: ContainerRow) -> str:
    """How much of an image is here that was pulled lazily."""
    found = context.engine.containers.missing(row) if row.state == "running" else None
    if not found:
        return ""
    here, total, trouble = found
    return f" (image {here * 100 // total if total else 0}% here{': ' if trouble else ''}{trouble})"


def status(row: ContainerRow) -> str:
    """docker's words: `Up 2 minutes`, `Exited (0) 3 hours ago`, `Created`."""
    import time

    if row.state == "running":
        return f"Up {human_duration(time.time() - row.started)}"
    if row.state == "restarting":
        return f"Restarting ({row.exit_code}) {ago(row.finished)}"
    if row.state == "exited":
        return f"Exited ({row.exit_code}) {ago(row.finished)}"
    return row.state.capitalize()


def _size(context: Context, row: ContainerRow) -> str:
    from .documents.container import image_size

    written, image = context.engine.containers.size(row), image_size(context, row)
    return human_size(written) + (f" (virtual {human_size(written + image)})" if image else "")


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
    details="Filters: ancestor=IMAGE before=CONTAINER exited=CODE expose=PORT health=STATE id=ID "
    "is-task=true|false label=NAME[=VALUE] name=REGEXP network=NAME publish=PORT "
    "restart-policy=POLICY since=CONTAINER status=STATE volume=NAME|PATH",
)
