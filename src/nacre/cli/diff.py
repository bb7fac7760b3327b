"""`nacre diff`: what a container has changed, or how two images differ."""

from __future__ import annotations

from .options import Command, text
from .output import inspect_one

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """A line for each path: A added, C changed, D deleted."""
    if len(args.positionals) == 2:
        return _images(context, args)
    for change in context.engine.containers.diff(args.positionals[0]):
        _print(context, args.format, {"Kind": change.kind, "Path": _shown(change.path)})
    return 0


def _images(context: Context, args: Args) -> int:
    one, other = args.positionals
    for found in context.engine.differences(one, other):
        fields = {"Kind": found.kind, "Path": _shown(found.path), "Changed": list(found.changed)}
        _print(context, args.format, fields)
    return 0


def _shown(path: bytes) -> str:
    return "/" + path.decode("utf-8", "surrogateescape")


def _print(context: Context, form: str, fields: Mapping[str, object]) -> None:
    if form:
        inspect_one(context, fields, form)
    else:
        context.print(f"{fields['Kind']} {fields['Path']}")


COMMAND = Command(
    "CONTAINER|IMAGE [IMAGE]",
    run,
    options=(text("--format", "Format output: 'json' or a Go template"),),
    details="A is added, C changed, D deleted. A container is compared with its image, an image "
    "with a second one.",
)
