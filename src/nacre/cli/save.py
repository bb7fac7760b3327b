"""`nacre save`: images as one tar."""

from __future__ import annotations

from ..engine.archives import Written
from .files import write_out
from .options import Command, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Write to a file, which appears only when it is whole, or to standard output."""

    def write(out: Callable[[bytes], object]) -> None:
        with context.progress() as progress:
            context.engine.save(args.positionals, Written(out), progress=progress)

    write_out(context, args.output, write, "save", 0o600)
    return 0


COMMAND = Command(
    arguments="IMAGE [IMAGE...]",
    run=run,
    options=(text("-o, --output", "Write to a file, instead of STDOUT", type="file"),),
    details="The tar is both an OCI image layout and a docker-archive.",
)
