"""`nacre system reset`: remove the store and all that is in it."""

from __future__ import annotations

import os

from .options import Command, flag
from .output import human_size
from .prune import agreed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Check first, ask unless --force, remove, tell."""
    system = context.engine.system
    system.check_reset()
    if args.force or agreed(context, _losses(context)):
        freed, left = system.reset()
        for path in left:
            context.warn(f"WARNING: {path} was not created by nacre and is kept")
        context.print(f"Total reclaimed space: {human_size(freed, 4)}")
    return 0


def _losses(context: Context) -> list[str]:
    """What there is in any store, and what there is in this one."""
    losses = ["all containers, including running ones", "all images", "all build cache", "all volumes"]
    registry = context.engine.registries.folder
    if os.path.isdir(registry):
        losses.append(f"the registry in {registry}")
    return [*losses, f"the store {context.root}"]


COMMAND = Command(
    arguments="",
    run=run,
    options=(flag("-f, --force", "Do not prompt for confirmation"),),
    details="Removes the store at --root, whatever state it is in. Images in registries, archives "
    "and other stores are not touched, nor are files that nacre did not create.",
)
