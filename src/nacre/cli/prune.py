"""`nacre system prune` and the prune commands of images, containers and volumes."""

from __future__ import annotations

from ..words.errors import UsageError
from .filters import Filters
from .options import Command, flag, many
from .output import human_size, timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..stores.containers import ContainerRow
    from ..stores.networks import Network
    from ..stores.sweep import Freed
    from ..words.oci import ImageConfig
    from .context import Context
    from .options import Args

_HEADINGS = {
    "Deleted Containers:": ("container",),
    "Deleted Networks:": ("network",),
    "Deleted Volumes:": ("volume",),
    "Deleted Images:": ("image",),
    "Deleted build cache objects:": ("step", "cache"),
}


_USUAL = ("label", "label!", "until")


def _prune(
    warning: Callable[[Args], Sequence[str]],
    wishes: Callable[[Args], dict[str, Any]],
    allowed: Sequence[str] = _USUAL,
) -> Any:
    """The body of a prune command: ask unless --force, sweep, tell."""

    def run(context: Context, args: Args) -> int:
        filters = Filters(args.filter, allowed)
        filters.until()
        _check_dangling(filters, args)
        if args.force or agreed(context, [*warning(args), *_conditions(args)]):
            _tell(context, _sweep(context, wishes(args), filters))
        return 0

    return run


def _check_dangling(filters: Filters, args: Args) -> None:
    """As docker: what --all says is one more `dangling`, and two that differ are refused."""
    if filters.get("dangling"):
        filters.values["dangling"].append("false" if args.all else "true")
        filters.flag("dangling")
        del filters.values["dangling"]


def agreed(context: Context, losses: Sequence[str]) -> bool:
    """Whether the user wants to lose these, asked on the terminal."""
    context.print("WARNING! This will remove:")
    for loss in losses:
        context.print(f"  - {loss}")
    context.stdout.write("\nAre you sure you want to continue? [y/N] ")
    context.stdout.flush()
    return context.stdin.readline().strip().lower() in ("y", "yes")


def _tell(context: Context, freed: Freed) -> None:
    for heading, kinds in _HEADINGS.items():
        names = [name for what, name, _ in freed.items if what in kinds]
        if names:
            context.print("\n".join([heading, *names, ""]))
    context.print(f"Total reclaimed space: {human_size(freed.bytes, 4)}")


def _sweep(context: Context, wished: dict[str, Any], filters: Filters) -> Freed:
    if filters.values:
        wished = _picked(wished, filters)
    return context.engine.system.sweep(**wished)


def _picked(wished: dict[str, Any], filters: Filters) -> dict[str, Any]:
    """Only what is older than `until` and has the labels."""
    before = filters.until()

    def image(config: ImageConfig | None) -> bool:
        """Of what cannot be read, and of an index, nothing is known."""
        created = timestamp(config.created) if config else 0.0
        return created < before and filters.labels((config and config.run.get("Labels")) or {})

    def container(row: ContainerRow) -> bool:
        from ..words.quickjson import loads

        return row.created < before and filters.labels(loads(row.config_json).get("labels") or {})

    cache = wished.get("build_cache", False) and not (filters.get("label") or filters.get("label!"))
    picked = {"image_picked": image, "container_picked": container, "cache_before": before}
    return wished | picked | {"build_cache": cache}


def _conditions(args: Args) -> list[str]:
    return [f"only objects that match: {', '.join(args.filter)}"] if args.filter else []


def _image_losses(args: Args) -> str:
    return "all images without at least one container using them" if args.all else "all dangling images"


def _system_losses(args: Args) -> list[str]:
    unused = ["all anonymous volumes not used by at least one container"] if args.volumes else []
    partial = ["all interrupted downloads"] if args.all else []
    networks = "all networks not used by at least one container"
    losses = ["all stopped containers", networks, *unused, _image_losses(args), *partial, "all build cache"]
    return losses + _conditions(args)


def _prune_system(context: Context, args: Args) -> int:
    """As docker: containers first, so that their volumes are unused; volumes with a name stay."""
    filters = Filters(args.filter, _USUAL)
    filters.until()
    if args.volumes and filters.get("until"):
        raise UsageError('the "until" filter is not supported with "--volumes"')
    if not args.force and not agreed(context, _system_losses(args)):
        return 0
    wished = {"images": _kept(args), "containers": "stopped", "build_cache": True, "shed": True}
    wished["downloads"] = bool(args.all and not filters.values)
    freed = _sweep(context, wished, filters)
    networks = context.engine.networks.prune(network_picked(filters))
    freed = freed.replace(items=freed.items + tuple(("network", one.name, 0) for one in networks))
    if args.volumes:
        names, size = context.engine.volumes.prune()
        items = tuple(("volume", name, 0) for name in names)
        freed = freed.replace(bytes=freed.bytes + size, items=freed.items + items)
    _tell(context, freed)
    return 0


def network_picked(filters: Filters) -> Callable[[Network], bool]:
    """Whether a network is older than `until` and has the labels."""
    before = filters.until()
    return lambda one: one.created < before and filters.labels(dict(one.labels))


def _kept(args: Args) -> str:
    return "all" if args.all else "dangling"


_FORCE = flag("-f, --force", "Do not prompt for confirmation")
_ALL = flag("-a, --all", "Remove all unused images, not just dangling ones")
_FILTER = many(
    "--filter",
    "Prune only objects that match: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]",
    type="filter",
)
_DETAILS = "TIME is an age (24h, 10m) or a timestamp (2024-05-01, 2024-05-01T12:00:00Z, seconds since 1970)."

SYSTEM = Command(
    arguments="",
    run=_prune_system,
    options=(
        flag("-a, --all", "Remove all unused images and interrupted downloads, not just dangling images"),
        _FILTER,
        _FORCE,
        flag("--volumes", "Prune anonymous volumes (nacre volume prune -a also removes named ones)"),
    ),
    details=_DETAILS,
)
IMAGE = Command(
    arguments="",
    run=_prune(
        lambda args: [_image_losses(args)], lambda args: {"images": _kept(args)}, ("dangling", *_USUAL)
    ),
    options=(_ALL, _FILTER, _FORCE),
    details="A `dangling` filter must match what the command does anyway. " + _DETAILS,
)
CONTAINER = Command(
    arguments="",
    run=_prune(lambda _args: ["all stopped containers"], lambda _args: {"containers": "stopped"}),
    options=(_FILTER, _FORCE),
    details=_DETAILS,
)
