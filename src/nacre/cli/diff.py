"""`nacre diff`: what a container has changed, or how two images differ."""

from __future__ import annotations

from .options import Command, text
from .output import inspect_one

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """A line for each path: A added, C changed, D deleted."""
    _print(context, args.format, _of_container(context, args.positionals[0]))
    return 0


def _of_container(context: Context, name: str) -> Iterable[tuple[str, bytes]]:
    from ..services.containers.difference import changes, mount_points
    from ..words.quickjson import loads
    from .files import active_of

    row, active = active_of(context, name)
    found = changes(context.store, active, mount_points(loads(row.config_json)["config"]))
    return [(change.kind, change.path) for change in found]


def _print(context: Context, form: str, found: Iterable[tuple[str, bytes]]) -> None:
    for kind, path in found:
        shown = "/" + path.decode("utf-8", "surrogateescape")
        if form:
            inspect_one(context, {"Kind": kind, "Path": shown}, form)
        else:
            context.print(f"{kind} {shown}")


COMMAND = Command(
    "CONTAINER",
    run,
    options=(text("--format", "Format output: 'json' or a Go template"),),
    details="A is added, C changed, D deleted. A container is compared with its image.",
)
