"""`nacre volume`: create, list, inspect and remove named volumes."""

from __future__ import annotations

from ..words.errors import NotFound
from .each import each, inspect_each
from .filters import Filters
from .options import Command, flag, many, name_and_value, text
from .output import FILTER, FORMAT, QUIET, human_size, listing
from .prune import agreed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..grammars.gotemplate import Struct
    from ..stores.volumes import Volume
    from .context import Context
    from .options import Args


def _create(context: Context, args: Args) -> int:
    """Print the name; without one a name is made up."""
    labels, options = dict(map(name_and_value, args.label)), dict(args.opt)
    context.print(
        context.engine.volumes.create(*args.positionals, labels=labels, driver=args.driver, options=options)
    )
    return 0


def _list(context: Context, args: Args) -> int:
    filters = Filters(args.filter, ("dangling", "driver", "label", "name"))
    dangling = filters.flag("dangling")
    found = [
        volume
        for volume in context.engine.volumes.list()
        if dangling in (None, not volume.users)
        and filters.allows("driver", "local")
        and filters.matches("name", volume.name)
        and filters.labels(dict(volume.labels))
    ]
    columns = [("DRIVER", "Driver"), ("VOLUME NAME", "Name")]
    listing(context, args, [_row(volume) for volume in found], columns, key="Name")
    return 0


def _row(volume: Volume) -> Struct:
    from ..grammars.gotemplate import Struct

    known = {
        "Availability": "N/A", "Driver": "local", "Group": "N/A",
        "Labels": ",".join(f"{name}={value}" for name, value in sorted(volume.labels)),
        "Mountpoint": volume.path, "Links": str(len(volume.users)), "Name": volume.name, "Scope": "local",
        "Size": "N/A", "Status": "N/A",
    }  # fmt: skip
    labels = dict(volume.labels)
    return Struct(known, "row", methods={"Label": lambda _row, name: labels.get(name, "")})


def _inspect(context: Context, args: Args) -> int:
    from .documents.volume import volume_document

    volumes = context.engine.volumes
    return inspect_each(
        context, args.positionals, args.format, lambda name: volume_document(volumes.get(name))
    )


def _remove(context: Context, args: Args) -> int:
    def remove(name: str) -> None:
        try:
            context.engine.volumes.remove(name)
        except NotFound:
            if not args.force:
                raise

    return each(context, args.positionals, remove)


def _prune(context: Context, args: Args) -> int:
    filters = Filters(args.filter, ("all", "label", "label!"))
    everything = args.all or bool(filters.flag("all"))
    which = "all volumes" if everything else "anonymous volumes"
    if not args.force and not agreed(context, [f"{which} not used by at least one container"]):
        return 0
    names, freed = context.engine.volumes.prune(
        all=everything, picked=lambda volume: filters.labels(dict(volume.labels))
    )
    if names:
        context.print("\n".join(["Deleted Volumes:", *names, ""]))
    context.print(f"Total reclaimed space: {human_size(freed, 4)}")
    return 0


CREATE = Command(
    "[VOLUME]",
    _create,
    options=(
        text("-d, --driver", "Specify volume driver name", default="local"),
        many("--label", "Set metadata for a volume", kind="label"),
        many("-o, --opt", "Set driver options: type=none, o=bind and device=FOLDER", type="map", kind="pair"),
    ),
)
INSPECT = Command(
    "VOLUME [VOLUME...]",
    _inspect,
    options=(text("-f, --format", "Format output: 'json' or a Go template"),),
)
LS = Command("", _list, options=(FILTER, FORMAT, QUIET.replace(help="Only display volume names")))
PRUNE = Command(
    "",
    _prune,
    options=(
        flag("-a, --all", "Remove all unused volumes, not just anonymous ones"),
        many(
            "--filter",
            "Prune only objects that match: all=true, label=KEY[=VALUE], label!=KEY[=VALUE]",
            type="filter",
        ),
        flag("-f, --force", "Do not prompt for confirmation"),
    ),
)
RM = Command(
    "VOLUME [VOLUME...]",
    _remove,
    options=(flag("-f, --force", "Do not fail for a volume that does not exist"),),
    details="A volume that a container has, running or not, is not removed.",
)
