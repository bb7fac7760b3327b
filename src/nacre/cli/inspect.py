"""`nacre inspect`: everything known of containers, images, networks and volumes, in docker's JSON."""

from __future__ import annotations

from ..words.errors import NotFound
from .each import inspect_each
from .options import Command, choice, flag, platform_of, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..words.oci import Platform
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Print what is found; name what is not, and end with 1 then."""
    look = _LOOK.get(args.type, _any)
    return inspect_each(context, args.positionals, args.format, lambda name: look(context, args, name))


def _containers(context: Context, args: Args) -> int:
    return inspect_each(context, args.positionals, args.format, lambda name: _container(context, args, name))


def _images(context: Context, args: Args) -> int:
    platform = platform_of(args)
    return inspect_each(
        context, args.positionals, args.format, lambda name: _image_of(context, name, platform)
    )


def _any(context: Context, args: Args, name: str) -> dict[str, Any]:
    """The first that has this name of container, image, network and volume."""
    for look in _LOOK.values():
        try:
            return look(context, args, name)
        except NotFound:
            continue
    raise NotFound(f"No such object: {name}")


def _container(context: Context, args: Args, name: str) -> dict[str, Any]:
    from .documents.container import container_document

    try:
        return container_document(context, context.engine.containers.get(name), args.size)
    except NotFound:
        raise NotFound(f"No such container: {name}") from None


def _image(context: Context, _args: Args, name: str) -> dict[str, Any]:
    return _image_of(context, name)


def _image_of(context: Context, name: str, platform: Platform | None = None) -> dict[str, Any]:
    from .documents.image import image_document

    return image_document(context.engine.image(name, platform))


def _volume(context: Context, _args: Args, name: str) -> dict[str, Any]:
    from .documents.volume import volume_document

    return volume_document(context.engine.volumes.get(name))


def _network(context: Context, _args: Args, name: str) -> dict[str, Any]:
    from .network import document

    found: dict[str, Any] = document(context, name)
    return found


_LOOK: dict[str, Callable[[Context, Args, str], dict[str, Any]]] = {
    "container": _container, "image": _image, "network": _network, "volume": _volume,
}  # fmt: skip
_FORMAT = text("-f, --format", "Format output: 'json' or a Go template")

COMMAND = Command(
    arguments="NAME|ID [NAME|ID...]",
    run=run,
    options=(
        _FORMAT,
        flag("-s, --size", "Display total file sizes if the type is container"),
        choice("--type", "Only inspect objects of the given type", ("", *_LOOK)),
    ),
)
CONTAINER = Command(
    arguments="CONTAINER [CONTAINER...]",
    run=_containers,
    options=(_FORMAT, flag("-s, --size", "Display total file sizes")),
)
IMAGE = Command(
    arguments="IMAGE [IMAGE...]",
    run=_images,
    options=(
        _FORMAT,
        text("--platform", "Inspect a specific platform of the multi-platform image"),
    ),
)
