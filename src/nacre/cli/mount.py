"""`nacre mount` and `unmount`: the files of a container or an image as a folder of the host."""

from __future__ import annotations

from ..words.errors import UsageError
from .each import each
from .options import Command, flag, text
from .output import inspect_one

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def mount(context: Context, args: Args) -> int:
    """Print where each is mounted; alone, list what is."""
    mounts = context.engine.mounts
    if not args.positionals:
        return _list(context, args.format)
    for name in args.positionals:
        context.print(mounts.mount(name))
    return 0


def _list(context: Context, form: str) -> int:
    for one in context.engine.mounts.list():
        if form:
            inspect_one(context, {"ID": one.id, "Path": one.path}, form)
        else:
            context.print(f"{one.id} {one.path}")
    return 0


def unmount(context: Context, args: Args) -> int:
    """Unmount each, and print its name."""
    mounts = context.engine.mounts
    mounts.check("unmount")
    if bool(args.positionals) == args.all:
        raise UsageError("name containers or images, or use --all, but not both")
    names = [one.name for one in mounts.list()] if args.all else args.positionals
    return each(context, names, lambda name: mounts.unmount(name, force=args.force))


MOUNT = Command(
    "[CONTAINER|IMAGE...]",
    mount,
    options=(text("--format", "Format the listing: 'json' or a Go template"),),
    details="Without arguments, lists mounts. Containers are mounted writable, images read-only.",
    store=False,
)
UNMOUNT = Command(
    "[CONTAINER|IMAGE...]",
    unmount,
    options=(
        flag("-a, --all", "Unmount everything"),
        flag("-f, --force", "Also unmount file systems that are in use"),
    ),
    store=False,
)
