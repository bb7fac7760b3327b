"""`nacre tag`: another name for an image."""

from __future__ import annotations

from ..words.errors import UsageError
from ..words.reference import Reference
from .options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Give the image SOURCE the name TARGET, which an image that had it loses."""
    from ..images.model.image import find

    source, target = args.positionals
    reference = Reference.parse(target)
    if reference.digest is not None:
        raise UsageError(f"refusing to create a tag with a digest reference: {target}")
    context.store.refs.set(str(reference), find(context.store, source).descriptor)
    return 0


COMMAND = Command(
    arguments="SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    run=run,
)
