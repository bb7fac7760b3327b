"""`nacre tag`: another name for an image."""

from __future__ import annotations

from .options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Give the image SOURCE the name TARGET, which an image that had it loses."""
    source, target = args.positionals
    context.engine.tag(source, target)
    return 0


COMMAND = Command(
    arguments="SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    run=run,
)
