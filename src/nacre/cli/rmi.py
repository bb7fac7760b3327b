"""`nacre rmi`: remove names of images, and images that have none left."""

from __future__ import annotations

from ..words.errors import Conflict, InvalidName, NotFound
from .options import Command, flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..engine.removal import Removed
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Remove each in turn; one that fails is named on standard error and the rest go on."""
    code = 0
    for text in args.positionals:
        try:
            context.engine.remove(
                text, force=args.force, prune=not args.no_prune, tell=lambda gone: _tell(context, gone)
            )
        except (NotFound, Conflict, InvalidName) as error:
            context.warn_of(error)
            # As docker: with --force an image that is not there is no failure.
            code = code if args.force and isinstance(error, NotFound) else error.exit_code
    return code


def _tell(context: Context, gone: Removed) -> None:
    context.print(f"Untagged: {gone.untagged}" if gone.untagged else f"Deleted: {gone.deleted}")


COMMAND = Command(
    arguments="IMAGE [IMAGE...]",
    run=run,
    options=(
        flag("-f, --force", "Force removal of the image"),
        flag("--no-prune", "Do not free content that is no longer needed"),
    ),
)
