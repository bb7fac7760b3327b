"""`nacre import`: an image from a root file system in a tar."""

from __future__ import annotations

from ..words.errors import UsageError
from ..words.reference import Reference
from .options import Command, many, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Import and print the id of the new image."""

    origin, *names = args.positionals
    reference = Reference.parse(names[0]) if names else ""
    if isinstance(reference, Reference) and reference.digest is not None:
        raise UsageError(f"cannot import digest reference: {names[0]}")
    if origin == "-" and context.stdin.isatty():
        raise UsageError("cannot import from a terminal", hint="redirect a tar to standard input")
    image = context.engine.import_tar(
        context.input if origin == "-" else origin, reference, changes=args.change, message=args.message,
        platform=context.platform(args.platform), created=created(context),
    )  # fmt: skip
    context.print(str(image.id))
    return 0


def created(context: Context) -> str:
    """SOURCE_DATE_EPOCH as a time, so that an import can be repeated to the bit; "" for now."""
    from time import gmtime, strftime

    seconds = context.epoch()
    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(int(seconds))) if seconds else ""


COMMAND = Command(
    arguments="FILE|URL|- [REPOSITORY[:TAG]]",
    run=run,
    options=(
        many("-c, --change", "Apply Dockerfile instruction to the created image"),
        text("-m, --message", "Set commit message for imported image"),
        text("--platform", "Set the platform of the image", type="platform"),
    ),
    details="The tar may be plain, or compressed with gzip, zstd, xz or bzip2.",
)
