"""`nacre load`: images out of an archive."""

from __future__ import annotations

import os

from ..words.errors import NotFound, UsageError
from .options import Command, flag, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..images.arrows.archive import Loaded
    from ..words.oci import Platform
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Load every image of the archive and say under which names."""
    from ..words.oci import Platform

    platform = Platform.parse(args.platform) if args.platform else None
    if not args.input and context.stdin.isatty():
        raise UsageError("requested load from a terminal", hint="name a file with -i, or redirect")
    for loaded in _load(context, args, platform):
        for name in loaded.names:
            context.print(f"Loaded image: {name}")
        if not loaded.names:
            context.print(f"Loaded image ID: {loaded.image.id}")
    return 0


def _load(context: Context, args: Args, platform: Platform | None) -> list[Loaded]:
    from ..images.arrows.archive import load, load_folder

    with context.progress(quiet=args.quiet) as progress:
        if not args.input or args.input == "-":
            return load(context.store, context.input, platform=platform, progress=progress)
        if os.path.isdir(args.input):
            return load_folder(context.store, args.input, platform=platform, progress=progress)
        try:
            file = open(args.input, "rb")
        except OSError as error:
            raise NotFound(f"cannot open {args.input}: {(error.strerror or '').lower()}") from None
        with file:
            return load(context.store, file, platform=platform, progress=progress)


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
