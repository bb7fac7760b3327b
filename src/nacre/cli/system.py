"""`nacre system df`, `system prune` and the prune commands of images, containers and the builder."""

from __future__ import annotations

from ..ground.files import content_size
from ..stores import caches, volumes
from ..words.errors import NacreError
from .options import Command, flag, text
from .output import ago, human_size, listing, short_id, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from ..images.image import Image
    from ..stores.containers import ContainerRow
    from ..stores.steps import StepRecord
    from ..stores.store import Store
    from ..stores.sweep import Freed
    from ..words.digest import Digest
    from .context import Context
    from .options import Args

_HEADINGS = {
    "Deleted Containers:": ("container",),
    "Deleted Volumes:": ("volume",),
    "Deleted Images:": ("image",),
    "Deleted build cache objects:": ("step", "cache"),
}


class Usage:
    """What takes space in a store. All sizes are bytes of file content, each layer counted once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.containers = store.containers.list(all=True)
        self.images = list(_images(store))
        self.steps = store.steps.all()
        self.caches = caches.sizes(store.root)
        self.volumes = [(volume, content_size(volume.path)) for volume in volumes.every(store)]
        self.used = {row.image for row in self.containers}
        self.sharing: dict[Digest, int] = {}
        for image in self.images:
            for diff_id in set(image.diff_ids):
                self.sharing[diff_id] = self.sharing.get(diff_id, 0) + 1

    def size(self, diff_ids: Iterable[Digest]) -> int:
        """Of these layers, as far as they are here."""
        trees = self.store.trees
        return sum(trees.size(diff_id) for diff_id in set(diff_ids) if trees.has(diff_id))

    def shared(self, image: Image) -> int:
        """What `image` has in common with other images."""
        return self.size(diff_id for diff_id in image.diff_ids if self.sharing[diff_id] > 1)

    def active(self) -> list[Image]:
        """Images that a container uses."""
        return [image for image in self.images if image.digest in self.used]

    def reclaimable_images(self) -> int:
        """What removing all unused images would give back."""
        kept = {diff_id for image in self.active() for diff_id in image.diff_ids}
        return self.size(set(self.sharing) - kept)

    def cached(self) -> int:
        """What only the build cache keeps: layers of steps, cache mounts, tables of files."""
        folders = sum(size for _, size in self.caches)
        return folders + self.size({step.diff_id for step in self.steps if step.diff_id} - set(self.sharing))

    def written(self, row: ContainerRow) -> int:
        """What a container wrote."""
        active = self.store.trees.active(row.id)
        return content_size(active.upper) if active else 0


def _images(store: Store) -> Iterable[Image]:
    from ..images.image import Image

    for descriptor in store.refs.images():
        try:
            yield Image.load(store, descriptor)
        except NacreError:
            continue


def _df(context: Context, args: Args) -> int:
    usage = Usage(context.store)
    if args.verbose:
        return _verbose(context, usage)
    columns = [(name.upper(), name) for name in ("Type", "Total", "Active", "Size", "Reclaimable")]
    columns[1] = ("TOTAL", "TotalCount")
    listing(context, args, _summary(usage), columns)
    return 0


def _summary(usage: Usage) -> list[dict[str, str]]:
    written = {row.id: usage.written(row) for row in usage.containers}
    running = [row for row in usage.containers if row.state == "running"]
    idle = sum(written.values()) - sum(written[row.id] for row in running)
    sizes = [size for _, size in usage.volumes]
    used = [size for volume, size in usage.volumes if volume.users]
    images, cached = usage.size(usage.sharing), usage.cached()
    return [
        _line("Images", len(usage.images), len(usage.active()), images, usage.reclaimable_images()),
        _line("Containers", len(usage.containers), len(running), sum(written.values()), idle),
        _line("Local Volumes", len(usage.volumes), len(used), sum(sizes), sum(sizes) - sum(used)),
        _line("Build Cache", len(usage.steps) + len(usage.caches), 0, cached, cached),
    ]


def _line(kind: str, total: int, active: int, size: int, reclaimable: int) -> dict[str, str]:
    share = f" ({100 * reclaimable // size}%)" if size else ""
    return {
        "Type": kind,
        "TotalCount": str(total),
        "Active": str(active),
        "Size": human_size(size, 4),
        "Reclaimable": human_size(reclaimable, 4) + share,
    }


def _verbose(context: Context, usage: Usage) -> int:
    context.print("Images space usage:\n")
    image_head = (
        "REPOSITORY",
        "TAG",
        "IMAGE ID",
        "CREATED",
        "SIZE",
        "SHARED SIZE",
        "UNIQUE SIZE",
        "CONTAINERS",
    )
    table(context, image_head, [row for image in usage.images for row in _image_rows(usage, image)])
    context.print("\nContainers space usage:\n")
    head = ("CONTAINER ID", "IMAGE", "COMMAND", "SIZE", "CREATED", "STATUS", "NAMES")
    table(context, head, [_container_row(usage, row) for row in usage.containers])
    context.print("\nLocal Volumes space usage:\n")
    rows = [[one.name, str(len(one.users)), human_size(size)] for one, size in usage.volumes]
    table(context, ("VOLUME NAME", "LINKS", "SIZE"), rows)
    context.print(f"\nBuild cache usage: {human_size(usage.cached(), 4)}\n")
    table(context, ("CACHE ID", "SIZE", "CREATED"), _cache_rows(usage))
    return 0


def _image_rows(usage: Usage, image: Image) -> list[list[str]]:
    from ..words.reference import Reference

    size, shared = usage.size(image.diff_ids), usage.shared(image)
    count = sum(row.image == image.digest for row in usage.containers)
    rest = [short_id(image.id), ago(image.config.created), human_size(size), human_size(shared)]
    rest += [human_size(size - shared), str(count)]
    names = [Reference.parse(name) for name in image.names]
    pairs = [(name.familiar_name, name.tag or "<none>") for name in names] or [("<none>", "<none>")]
    return [[*pair, *rest] for pair in pairs]


def _container_row(usage: Usage, row: ContainerRow) -> list[str]:
    size = human_size(usage.written(row))
    return [row.id[:12], row.image_ref, row.command, size, ago(row.created), row.state, row.name]


def _cache_rows(usage: Usage) -> list[list[str]]:
    folders = [[name.rpartition("/")[2][:12], human_size(size), "N/A"] for name, size in usage.caches]
    return [*(_step_row(usage, step) for step in usage.steps), *folders]


def _step_row(usage: Usage, step: StepRecord) -> list[str]:
    return [step.key[:12], human_size(usage.size([step.diff_id] if step.diff_id else [])), ago(step.created)]


def _prune(warning: Callable[[Args], Sequence[str]], sweep: Callable[[Store, Args], Freed]) -> Any:
    """The body of a prune command: ask unless --force, sweep, tell."""

    def run(context: Context, args: Args) -> int:
        if args.force or agreed(context, warning(args)):
            _tell(context, sweep(context.store, args))
        return 0

    return run


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


def _image_losses(args: Args) -> str:
    return "all images without at least one container using them" if args.all else "all dangling images"


def _system_losses(args: Args) -> list[str]:
    unused = ["all anonymous volumes not used by at least one container"] if args.volumes else []
    return ["all stopped containers", *unused, _image_losses(args), "all build cache"]


def _prune_system(context: Context, args: Args) -> int:
    """As docker: containers first, so that their volumes are unused; volumes with a name stay."""
    if not args.force and not agreed(context, _system_losses(args)):
        return 0
    freed = _sweep(context.store, images=_kept(args), containers="stopped", build_cache=True)
    if args.volumes:
        names, size = prune_volumes(context, everything=False)
        items = tuple(("volume", name, 0) for name in names)
        freed = freed.replace(bytes=freed.bytes + size, items=freed.items + items)
    _tell(context, freed)
    return 0


def prune_volumes(context: Context, *, everything: bool) -> tuple[list[str], int]:
    """Remove volumes that no container has, of those with a name only if `everything`; names and bytes."""
    found = [one for one in volumes.every(context.store) if not one.users and (everything or one.anonymous)]
    return [one.name for one in found], sum(volumes.remove(context.store, one.name) for one in found)


def _sweep(store: Store, **what: Any) -> Freed:
    from ..stores.sweep import sweep

    return sweep(store, **what)


def _kept(args: Args) -> str:
    return "all" if args.all else "dangling"


_FORCE = flag("-f, --force", "Do not prompt for confirmation")
_ALL = flag("-a, --all", "Remove all unused images, not just dangling ones")

DF = Command(
    arguments="",
    run=_df,
    options=(
        text("--format", "Format output: 'table', 'table TEMPLATE', 'json' or a Go template"),
        flag("-v, --verbose", "Show detailed information on space usage"),
    ),
)
PRUNE = Command(
    arguments="",
    run=_prune_system,
    options=(
        _ALL,
        _FORCE,
        flag("--volumes", "Prune anonymous volumes (nacre volume prune -a also takes those with a name)"),
    ),
)
IMAGE_PRUNE = Command(
    arguments="",
    run=_prune(lambda args: [_image_losses(args)], lambda store, args: _sweep(store, images=_kept(args))),
    options=(_ALL, _FORCE),
)
CONTAINER_PRUNE = Command(
    arguments="",
    run=_prune(
        lambda _args: ["all stopped containers"], lambda store, _args: _sweep(store, containers="stopped")
    ),
    options=(_FORCE,),
)
BUILDER_PRUNE = Command(
    arguments="",
    run=_prune(lambda _args: ["all build cache"], lambda store, _args: _sweep(store, build_cache=True)),
    options=(flag("-a, --all", "Accepted for docker's sake: all unused build cache goes anyway"), _FORCE),
)
