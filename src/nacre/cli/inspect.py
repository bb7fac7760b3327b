"""`nacre inspect`: everything known of containers, images, networks and volumes, in docker's JSON."""

from __future__ import annotations

from ..words.errors import NotFound
from .each import inspect_each
from .options import Command, choice, flag, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Print what is found; name what is not, and end with 1 then."""
    kind = args.type or {"image inspect": "image", "container inspect": "container"}.get(args.command, "")
    return inspect_each(
        context, args.positionals, args.format, lambda name: _document(context, name, kind, args.size)
    )


def _document(context: Context, name: str, kind: str, size: bool) -> dict[str, Any]:
    """The first that has this name of container, image, network and volume, or of `kind`."""
    for one, look in _LOOK:
        if kind not in ("", one):
            continue
        try:
            return look(context, name, size)
        except NotFound:
            if kind:
                raise
    raise NotFound(f"No such object: {name}")


def _container(context: Context, name: str, size: bool) -> dict[str, Any]:
    from .documents.container import container_document

    try:
        return container_document(context, context.engine.containers.get(name), size)
    except NotFound:
        raise NotFound(f"No such container: {name}") from None


def _image(context: Context, name: str, _size: bool) -> dict[str, Any]:
    from .documents.image import image_document

    return image_document(context.engine.image(name))


def _volume(context: Context, name: str, _size: bool) -> dict[str, Any]:
    from .documents.volume import volume_document

    return volume_document(context.engine.volumes.get(name))


def _network(context: Context, name: str, _size: bool) -> dict[str, Any]:
    from .network import document

    found: dict[str, Any] = document(context, name)
    return found


_LOOK = (("container", _container), ("image", _image), ("network", _network), ("volume", _volume))

COMMAND = Command(
    arguments="NAME|ID [NAME|ID...]",
    run=run,
    options=(
        text("-f, --format", "Format output: 'json' or a Go template"),
        flag("-s, --size", "Display total file sizes if the type is container"),
        choice("--type", "Only inspect objects of the given type", ("", *(name for name, _ in _LOOK))),
    ),
)
