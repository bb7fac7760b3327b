"""`nacre inspect`: everything known of images and containers, in docker's JSON."""

from __future__ import annotations

from ..words.errors import NotFound
from .each import inspect_each
from .options import Command, flag, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Print what is found; name what is not, and end with 1 then. A container wins over an image."""
    kind = args.type or {"image inspect": "image", "container inspect": "container"}.get(args.command, "")
    return inspect_each(
        context, args.positionals, args.format, lambda name: _document(context, name, kind, args.size)
    )


def _document(context: Context, name: str, kind: str, size: bool) -> dict[str, Any]:
    from ..images.image import find
    from ..services.containers import Containers
    from .documents.container import container_document
    from .documents.image import image_document

    if kind != "image":
        try:
            return container_document(context, Containers(context.store).get(name), size)
        except NotFound:
            if kind:
                raise NotFound(f"No such container: {name}") from None
    try:
        return image_document(find(context.store, name))
    except NotFound:
        if kind:
            raise
        raise NotFound(f"No such object: {name}") from None


COMMAND = Command(
    arguments="NAME|ID [NAME|ID...]",
    run=run,
    options=(
        text("-f, --format", "Format output: 'json' or a Go template"),
        flag("-s, --size", "Display total file sizes if the type is container"),
        text("--type", "Only inspect objects of the given type", choices=("", "container", "image")),
    ),
)
