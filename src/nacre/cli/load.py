"""`nacre load`: images out of an archive."""

from __future__ import annotations

from ..words.errors import UsageError
from .options import Command, flag, platform_of, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..images.model.image import Image
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Load every image of the archive and say under which names."""
    platform = platform_of(args)
    if not args.input and context.stdin.isatty():
        raise UsageError("requested load from a terminal", hint="name a file with -i, or redirect")
    origin = context.input if args.input in ("", "-") else args.input

    def tell(image: Image, names: tuple[str, ...]) -> None:
        for name in names:
            context.print(f"Loaded image: {name}")
        if not names:
            context.print(f"Loaded image ID: {image.id}")

    told: list[tuple[Image, tuple[str, ...]]] = []
    with context.progress(quiet=args.quiet) as progress:
        context.engine.load(origin, platform=platform, tell=lambda *one: told.append(one), progress=progress)
    for one in told:
        tell(*one)
    return 0


COMMAND = Command(
    arguments="",
    run=run,
    options=(
        text("-i, --input", "Read from a tar archive file or a directory, instead of STDIN", type="file"),
        text("--platform", "Load only the given platform of a multi-platform image", type="platform"),
        flag("-q, --quiet", "Suppress the load output"),
    ),
    details="Reads docker-archives of all versions and OCI layouts, plain or compressed.",
)
