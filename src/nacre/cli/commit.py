"""`nacre commit`: an image out of a container's changes."""

from __future__ import annotations

from ..words.errors import UsageError
from ..words.reference import Reference
from .options import Command, flag, many, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Print the id of the new image. The container stands still meanwhile, unless --pause=false."""
    from contextlib import nullcontext

    from ..services.containers import Containers
    from ..services.containers.commit import Wishes, commit
    from ..services.containers.keeper import Paused
    from .import_ import created

    name, *names = args.positionals
    reference = Reference.parse(names[0]) if names else None
    if reference is not None and reference.digest is not None:
        raise UsageError(f"cannot commit to digest reference: {names[0]}")
    wishes = Wishes(args.author, args.message, tuple(args.change), created(context))
    containers = Containers(context.store)
    row = containers.get(name)
    pause = args.pause and row.state == "running"
    with Paused(containers.folder(row.id)) if pause else nullcontext():
        context.print(str(commit(context.store, row, reference, wishes, context.warn).id))
    return 0


COMMAND = Command(
    "CONTAINER [REPOSITORY[:TAG]]",
    run,
    options=(
        text("-a, --author", 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")'),
        many("-c, --change", "Apply Dockerfile instruction to the created image"),
        text("-m, --message", "Commit message"),
        flag("-p, --pause", "Pause container during commit", default=True),
    ),
)
