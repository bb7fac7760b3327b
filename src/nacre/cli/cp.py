"""`nacre cp`: files between a container and the host."""

from __future__ import annotations

import os

from ..words.errors import NotFound, UsageError
from .options import Command, flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from ..grammars.tar.entry import Reader
    from ..ground.extract import Form
    from ..services.containers.copying import Member, Place
    from ..stores.containers import ContainerRow
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Copy one way; say on standard error how much, unless --quiet."""
    first, second = args.positionals
    box, path = split(first)
    other, goal = split(second)
    if box and other:
        raise UsageError("copying between containers is not supported")
    if not box and not other:
        raise UsageError("must specify at least one container source")
    if box:
        return _out(context, args, _Box(context, box), os.fsencode(path), goal)
    return _in(context, args, first, _Box(context, other), os.fsencode(goal))


def split(text: str) -> tuple[str, str]:
    """(container, path); a path of the host has no container: `-`, or it begins with `.` or `/`."""
    name, colon, path = text.partition(":")
    if text == "-" or text.startswith((".", "/")) or not colon or not name:
        return "", text
    return name, path


class _Box:
    """A container, of which only the row is known: how to go on depends on whether it runs."""

    def __init__(self, context: Context, name: str) -> None:
        self.context = context
        self.row = _row(context, name)

    def opened(self, path: bytes, *, write: bool) -> AbstractContextManager[Place]:
        from ..services.containers.copying import has_folder, opened
        from ..stores.store import Store

        if self.row.state != "running":
            return opened(self.context.store, self.row, path, write=write)
        with Store.open(self.context.root, driver=self.context.driver, create=False) as store:
            if not has_folder(store, self.row):
                return opened(store, self.row, path, write=write, mounted=True)
        return opened(self.context.store, self.row, path, write=write)


def _row(context: Context, name: str) -> ContainerRow:
    from ..services.containers import Containers
    from ..stores.store import Store

    try:
        with Store.open(context.root, driver=context.driver, create=False) as store:
            return Containers(store).get(name)
    except NotFound:
        raise NotFound(f"No such container: {name}") from None


def _out(context: Context, args: Args, box: _Box, path: bytes, goal: str) -> int:
    from ..services.containers import copying

    with box.opened(path, write=False) as place:
        found = copying.source(place, follow=args.follow_link)
        if goal == "-":
            return _stream(context, copying.members(found, found.name or b""))
        with copying.Host() as host:
            here = copying.Place(host, os.fsencode(goal))
            end = copying.target(here, folder=found.folder, content=found.content, name=found.name)
            owners = "keep" if args.archive else "caller"
            done = copying.write(copying.members(found, b""), end, owners=owners, form=_form())
    return _say(context, args, done.size, goal)


def _in(context: Context, args: Args, origin: str, box: _Box, path: bytes) -> int:
    from ..services.containers import copying

    with box.opened(path, write=True) as place:
        if origin == "-":
            return _unpack(context, place)
        with copying.Host() as host:
            found = copying.source(copying.Place(host, os.fsencode(origin)), follow=args.follow_link)
            end = copying.target(place, folder=found.folder, content=found.content, name=found.name)
            owners = "keep" if args.archive else "root"
            done = copying.write(copying.members(found, b""), end, owners=owners, form=_form())
    return _say(context, args, done.size, args.positionals[1])


def _form() -> Form:
    from ..ground.extract import Form
    from ..stores.trees import Mode

    mode = Mode.detect()
    return Form(whiteouts="none", owners=not mode.single, devices=mode.devices)


def _stream(context: Context, found: Iterable[Member]) -> int:
    from ..services.containers.difference import write_tar

    if context.stdout.isatty():
        raise UsageError("refusing to write a tar to a terminal. Redirect standard output")
    write_tar(found, context.output.write)
    context.output.flush()
    return 0


def _unpack(context: Context, place: Place) -> int:
    from functools import partial

    from ..grammars.codecs.stream import decompress
    from ..grammars.tar.read import read_tar
    from ..services.containers import copying

    end = copying.target(place, folder=True, content=True, name=b"")
    if not end.exists:
        raise NotFound(f"no such directory: {os.fsdecode(place.path)}")
    found = read_tar(decompress(context.input))
    copying.write(
        ((entry, partial(_same, payload)) for entry, payload in found), end, owners="keep", form=_form()
    )
    return 0


def _same(payload: Reader) -> Reader:
    return payload


def _say(context: Context, args: Args, size: int, goal: str) -> int:
    from .output import human_size

    if not args.quiet:
        context.warn(f"Successfully copied {human_size(size)} to {goal}")
    return 0


COMMAND = Command(
    "CONTAINER:SRC_PATH|SRC_PATH|- DEST_PATH|-|CONTAINER:DEST_PATH",
    run,
    options=(
        flag("-a, --archive", "Archive mode (copy all uid/gid information)"),
        flag("-L, --follow-link", "Always follow symbol link in SRC_PATH"),
        flag("-q, --quiet", "Suppress progress output during copy"),
    ),
    details="'-' as the source reads a tar from STDIN and extracts it to a directory of the "
    "container; '-' as the destination writes a tar to STDOUT. SRC_PATH/. means what the directory holds.",
    store=False,
)
