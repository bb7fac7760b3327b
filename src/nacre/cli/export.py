"""`nacre export`: everything a container has, as one tar."""

from __future__ import annotations

from .files import write_out
from .options import Command, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Write to a file, which appears only when it is whole, or to standard output."""
    export, (name,) = context.engine.containers.export, args.positionals
    write_out(context, args.output, lambda write: export(name, write), "export", 0o600)
    return 0


COMMAND = Command(
    "CONTAINER",
    run,
    options=(text("-o, --output", "Write to a file, instead of STDOUT", type="file"),),
    details="The tar is sorted, with times in whole seconds: the same files give the same bytes. It does "
    "not contain volumes. Only you can read a new file, since there may be secrets in it.",
)
