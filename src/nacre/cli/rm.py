"""`nacre rm`: remove containers."""

from __future__ import annotations

from .each import MissingItem, each
from .options import Command, flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Remove each; one that is not there is fine with --force, but has not been removed."""
    from ..words.errors import NotFound

    containers = context.engine.containers

    def remove(text: str) -> None:
        try:
            containers.remove(text, force=args.force, volumes=args.volumes)
        except NotFound as error:
            if not args.force:
                raise
            context.warn_of(error)
            raise MissingItem from None

    return each(context, args.positionals, remove)


COMMAND = Command(
    "CONTAINER [CONTAINER...]",
    run,
    options=(
        flag("-f, --force", "Force the removal of a running container (uses SIGKILL)"),
        flag("-v, --volumes", "Remove anonymous volumes associated with the container"),
    ),
)
