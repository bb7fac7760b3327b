"""`nacre commit`: an image out of a container's changes."""

from __future__ import annotations

from ..words.errors import NotFound, UsageError
from ..words.reference import Reference
from .options import Command, flag, many, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ..services.containers.commit import Wishes
    from ..stores.containers import ContainerRow
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Print the id of the new image. The container stands still meanwhile, unless --pause=false.

    An ordinary user can stop it only from outside of the user namespace, where this begins.
    """
    from ..ground import userns

    name, *names = args.positionals
    reference = Reference.parse(names[0]) if names else None
    if reference is not None and reference.digest is not None:
        raise UsageError(f"cannot commit to digest reference: {names[0]}")
    with _paused(_row(context, name), args.pause):
        number = str(userns.call(_commit, context, name, reference, _wishes(context, args)))
    context.print(number)
    return 0


def _row(context: Context, name: str) -> ContainerRow:
    from ..services.containers import Containers
    from ..stores.store import Store

    try:
        with Store.open(context.root, driver=context.driver, create=False) as store:
            return Containers(store).get(name)
    except NotFound:
        raise NotFound(f"No such container: {name}") from None


def _paused(row: ContainerRow, wanted: bool) -> AbstractContextManager[object]:
    from contextlib import nullcontext

    from ..services.containers.commit import Paused

    return Paused(row.pid) if wanted and row.state == "running" else nullcontext()


def _wishes(context: Context, args: Args) -> Wishes:
    from ..services.containers.commit import Wishes
    from .import_ import created

    return Wishes(args.author, args.message, tuple(args.change), created(context))


def _commit(context: Context, name: str, reference: Reference | None, wishes: Wishes) -> str:
    from ..services.containers import Containers
    from ..services.containers.commit import commit

    with context:
        row = Containers(context.store).get(name)
        return str(commit(context.store, row, reference, wishes, context.warn).id)


COMMAND = Command(
    "CONTAINER [REPOSITORY[:TAG]]",
    run,
    options=(
        text("-a, --author", 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")'),
        many("-c, --change", "Apply Dockerfile instruction to the created image"),
        text("-m, --message", "Commit message"),
        flag("-p, --pause", "Pause container during commit", default=True),
    ),
    store=False,
)
