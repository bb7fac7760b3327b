"""`nacre mount` and `unmount`: the files of a container or an image as a folder of the host."""

from __future__ import annotations

import os

from ..words.errors import Conflict, NotFound, Unsupported, UsageError
from .each import each
from .options import Command, flag, text
from .output import inspect_one

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..stores.containers import ContainerRow
    from .context import Context
    from .options import Args


def mount(context: Context, args: Args) -> int:
    """Print where each is mounted; alone, list what is."""
    refused = _refused("mount")
    if refused and not args.positionals:
        raise refused
    if not args.positionals:
        return _list(context, args.format)
    for name in args.positionals:
        folder = _folder(context, name)
        if refused and not folder:
            raise refused
        context.print(folder or _mount(context, name))
    return 0


def _refused(name: str) -> Unsupported | None:
    """Why nothing can be mounted that others would see; asked before a user namespace is entered."""
    from ..ground import userns

    if userns.mapped():
        return None
    if os.geteuid() == 0:
        return Unsupported("mounts are not permitted here", hint="use `nacre export` or `nacre cp`")
    return Unsupported(
        f'cannot run command "nacre {name}" in rootless mode',
        hint="mounts of an ordinary user are visible only inside a user namespace: run it in `nacre unshare`",
    )


def _row(context: Context, name: str) -> ContainerRow | None:
    from ..services.containers import Containers

    try:
        return Containers(context.store).get(name)
    except NotFound:
        return None


def _key(context: Context, name: str) -> str:
    """Of a container, else of an image. Raises NotFound."""
    from ..images.model.image import find
    from ..stores.mounted import image_key

    row = _row(context, name)
    if row is not None:
        return row.id
    try:
        return image_key(find(context.store, name).digest)
    except NotFound:
        raise NotFound(f"No such container or image: {name}") from None


def _folder(context: Context, name: str) -> str:
    """The root of a container that is a folder already, where nothing can be mounted; else ""."""
    from ..words.mount import Folder

    row = _row(context, name)
    active = context.store.actives.find(row.id) if row is not None else None
    return active.mount.path if active is not None and isinstance(active.mount, Folder) else ""


def _mount(context: Context, name: str) -> str:
    from ..images.model.image import find
    from ..stores import mounted

    root, key = context.root, _key(context, name)
    if mounted.is_mounted(root, key):
        return mounted.place(root, key)
    row = _row(context, name)
    if row is None:
        with context.store.leases.hold():  # until the sweep sees it mounted
            return mounted.show(root, key, find(context.store, name).view())
    if row.state != "running":
        return _stopped(context, row)
    from ..services.containers.copying import borrowed

    fd = borrowed(row)
    try:
        return mounted.show(root, key, fd)
    finally:
        os.close(fd)


def _stopped(context: Context, row: ContainerRow) -> str:
    from ..services.containers.copying import idle
    from ..stores import mounted

    active = context.store.actives.find(row.id)
    if active is None:
        raise Conflict(f"the file system of container {row.name} is missing")
    with idle(context.store, row, True):
        return mounted.show(context.root, row.id, active.mount)


def _list(context: Context, form: str) -> int:
    from ..stores import mounted

    for key in mounted.every(context.root):
        short = key.removeprefix(mounted.IMAGE)[:12]
        if form:
            inspect_one(context, {"ID": short, "Path": mounted.place(context.root, key)}, form)
        else:
            context.print(f"{short} {mounted.place(context.root, key)}")
    return 0


def unmount(context: Context, args: Args) -> int:
    """Unmount each, and print its name."""
    from ..stores import mounted

    refused = _refused("unmount")
    if refused:
        raise refused
    if bool(args.positionals) == args.all:
        raise UsageError("name containers or images, or use --all, but not both")
    if args.all:
        keys = mounted.every(context.root)
        return each(context, keys, lambda key: mounted.release(context.root, key, force=args.force))
    return each(context, args.positionals, lambda name: _unmount(context, name, args.force))


def _unmount(context: Context, name: str, force: bool) -> None:
    from ..stores.mounted import release

    if not release(context.root, _key(context, name), force=force):
        raise NotFound(f"{name} is not mounted")


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
