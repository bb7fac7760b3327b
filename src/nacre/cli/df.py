"""`nacre system df`: what takes space, in blocks of disk, and what each prune would give back."""

from __future__ import annotations

from .options import Command, flag, text
from .output import ago, human_size, inspect_one, listing, short_id, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ..images.audit.usage import DiskUsage, ImageUsage, Kind, LayerUsage, UsageItem
    from ..stores.containers import ContainerRow
    from .context import Context
    from .options import Args

_COLUMNS = (
    ("TYPE", "Type"), ("TOTAL", "TotalCount"), ("ACTIVE", "Active"), ("SIZE", "Size"),
    ("RECLAIMABLE", "Reclaimable"),
)  # fmt: skip


def _df(context: Context, args: Args) -> int:
    if args.verbose:
        usage = context.engine.disk_usage()
        if args.format != "json":
            return _verbose(context, usage)
        inspect_one(context, _document(usage, _rows(context)), "json")
        return 0
    kinds, prunable = context.engine.system.summary()
    listing(context, args, [_line(kind) for kind in kinds], _COLUMNS)
    if args.format in ("", "table"):
        context.print(f"\n{human_size(prunable, 4)} can be freed with: nacre system prune -a --volumes")
    return 0


def _line(kind: Kind) -> dict[str, str]:
    share = f" ({100 * kind.reclaimable // kind.stored}%)" if kind.stored else ""
    return {
        "Type": kind.name,
        "TotalCount": str(kind.total),
        "Active": str(kind.active),
        "Size": human_size(kind.stored, 4),
        "Reclaimable": human_size(kind.reclaimable, 4) + share,
    }


def _rows(context: Context) -> dict[str, ContainerRow]:
    return {row.id: row for row in context.engine.containers.list()}


def _verbose(context: Context, usage: DiskUsage) -> int:
    _section(context, "Images", _IMAGE_HEAD, (row for image in usage.images for row in _image(image)))
    _section(context, "Layers", _LAYER_HEAD, map(_layer, usage.layers))
    rows = _rows(context)
    _section(
        context, "Containers", _CONTAINER_HEAD, (_container(rows[one.name], one) for one in usage.containers)
    )
    _section(context, "Local Volumes", _VOLUME_HEAD, map(_volume, usage.volumes))
    _section(context, "Build cache", _CACHE_HEAD, map(_cached, usage.cache))
    for kind in usage.kinds:
        context.print(
            f"{kind.name}: {human_size(kind.stored, 4)}, {human_size(kind.reclaimable, 4)} reclaimable"
        )
    context.print(f"Database and other files: {human_size(usage.other, 4)}")
    context.print(f"All of {context.root}: {human_size(usage.total, 4)}")
    context.print(f"{human_size(usage.prunable, 4)} can be freed with: nacre system prune -a --volumes")
    return 0


def _section(context: Context, name: str, head: tuple[str, ...], rows: Iterable[list[str]]) -> None:
    context.print(f"{name} space usage:\n")
    table(context, head, list(rows))
    context.print()


_IMAGE_HEAD = (
    "REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "STORED", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS",
)  # fmt: skip
_LAYER_HEAD = ("LAYER", "DRIVER", "SIZE", "STORED", "SHARED SIZE", "COMPRESSED", "IMAGES")
_CONTAINER_HEAD = ("CONTAINER ID", "IMAGE", "COMMAND", "SIZE", "CREATED", "STATUS", "NAMES")
_VOLUME_HEAD = ("VOLUME NAME", "LINKS", "SIZE")
_CACHE_HEAD = ("CACHE ID", "SIZE", "CREATED", "IMAGES")


def _image(image: ImageUsage) -> list[list[str]]:
    from ..words.reference import Reference

    sizes = (image.size, image.stored, image.shared, image.stored - image.shared)
    rest = [short_id(image.id), ago(image.created), *map(human_size, sizes), str(image.containers)]
    names = [Reference.parse(name) for name in image.names]
    pairs = [(name.familiar_name, name.tag or "<none>") for name in names] or [("<none>", "<none>")]
    return [[*pair, *rest] for pair in pairs]


def _layer(layer: LayerUsage) -> list[str]:
    sizes = (layer.size, layer.stored, layer.shared)
    blob = human_size(layer.blob) if layer.blob else "-"
    return [short_id(layer.diff_id), layer.driver, *map(human_size, sizes), blob, str(layer.images)]


def _container(row: ContainerRow, used: UsageItem) -> list[str]:
    size = human_size(used.stored)
    return [row.id[:12], row.image_ref, row.command, size, ago(row.created), row.state, row.name]


def _volume(volume: UsageItem) -> list[str]:
    return [volume.name, str(volume.links), human_size(volume.stored)]


def _cached(item: UsageItem) -> list[str]:
    return [item.name[:12], human_size(item.stored), ago(item.created), str(item.links)]


def _document(usage: DiskUsage, rows: dict[str, ContainerRow]) -> dict[str, Any]:
    """All figures in bytes."""
    kinds = [
        {
            "Type": k.name,
            "TotalCount": k.total,
            "Active": k.active,
            "Size": k.stored,
            "Reclaimable": k.reclaimable,
        }
        for k in usage.kinds
    ]
    images = [
        {
            "ID": i.id, "Digest": i.digest, "Names": list(i.names), "Created": i.created, "Size": i.size,
            "Stored": i.stored, "SharedSize": i.shared, "UniqueSize": i.stored - i.shared,
            "Containers": i.containers,
        }
        for i in usage.images
    ]  # fmt: skip
    layers = [
        {
            "DiffID": one.diff_id, "Driver": one.driver, "Size": one.size, "Stored": one.stored,
            "SharedSize": one.shared, "Compressed": one.blob, "Images": one.images,
        }
        for one in usage.layers
    ]  # fmt: skip
    containers = [
        {"ID": c.name, "Name": rows[c.name].name, "Image": rows[c.name].image_ref, "Size": c.stored}
        for c in usage.containers
    ]
    return {
        "Types": kinds, "Images": images, "Layers": layers, "Containers": containers,
        "Volumes": [{"Name": v.name, "Links": v.links, "Size": v.stored} for v in usage.volumes],
        "BuildCache": [{"ID": c.name, "Size": c.stored, "Images": c.links} for c in usage.cache],
        "Other": usage.other, "Total": usage.total, "Prunable": usage.prunable,
    }  # fmt: skip


COMMAND = Command(
    arguments="",
    run=_df,
    options=(
        text("--format", "Format output: 'table', 'table TEMPLATE', 'json' or a Go template"),
        flag("-v, --verbose", "Show images, layers, containers, volumes and build cache one by one"),
    ),
    details="SIZE is disk space, counting each file once; RECLAIMABLE is freed by pruning everything.",
)
