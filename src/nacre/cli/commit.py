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
    from .import_ import created

    name, *names = args.positionals
    reference = Reference.parse(names[0]) if names else ""
    if isinstance(reference, Reference) and reference.digest is not None:
        raise UsageError(f"cannot commit to digest reference: {names[0]}")
    image = context.engine.containers.commit(
        name, reference, author=args.author, message=args.message, changes=args.change,
        created=created(context), pause=args.pause,
    )  # fmt: skip
    context.print(str(image.id))
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
