"""`nacre push`: an image, or all tags of a repository, from the store to a registry."""

from __future__ import annotations

from ..words.errors import NotFound, UsageError
from ..words.reference import Reference
from .options import Command, choice, flag, number, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..images.arrows.push import PushResult
    from .context import Context
    from .options import Args

CODECS = ("gzip", "zstd", "zstd:chunked", "none")


def run(context: Context, args: Args) -> int:
    """Send what NAME means and say what moved."""
    (name,) = args.positionals
    reference, form = Reference.parse(name), _form(args)
    if reference.digest is not None:
        raise UsageError("cannot push a digest reference", hint="name a tag")
    _check_packing(args)
    if args.all_tags:
        found = _all(context, reference, name)
    else:
        if not name.endswith(f":{reference.tag}") and not args.quiet:
            context.warn(f"Using default tag: {reference.tag}")
        found = [reference]
        context.engine.pushed(reference)
    if not args.quiet:
        context.warn(f"The push refers to repository [{reference.name}]")
    for each in found:
        _push(context, each, args, form)
        if args.lazy_index:
            _index(context, each, args)
    if args.quiet:
        context.print(reference.name if args.all_tags else str(reference))
    return 0


def _check_packing(args: Args) -> None:
    """Raises UsageError for options that need another, and for a level that there is not."""
    needs_codec = args.compression_level is not None or args.force_compression
    if needs_codec and not (args.compression or args.compression_format):
        raise UsageError("--compression-level and --force-compression need --compression")
    if needs_codec:
        from ..grammars.codecs.compressor import check_level

        check_level(args.compression or args.compression_format, args.compression_level)


def _form(args: Args) -> str:
    """The kind of manifest that is wanted, "" for that of the image. Raises UsageError."""
    if not args.format:
        return ""
    from ..words.oci import DOCKER, form_of

    form = form_of(args.format)
    if form == DOCKER and (args.compression or args.compression_format).startswith("zstd"):
        raise UsageError(
            "Docker manifests do not support zstd", hint="choose --compression gzip, or --format oci"
        )
    return form


def _all(context: Context, reference: Reference, name: str) -> list[Reference]:
    if name.rpartition("/")[2].count(":"):
        raise UsageError("tag can't be used with --all-tags/-a")
    found = context.engine.tags(reference)
    if not found:
        raise NotFound(f"an image does not exist locally with the tag: {reference.familiar_name}")
    return found


def _push(context: Context, reference: Reference, args: Args, form: str) -> None:
    from time import monotonic

    codec, began = args.compression or args.compression_format, monotonic()
    with context.progress(quiet=args.quiet, form=args.progress) as progress:
        result = context.engine.push(
            reference, compression=codec, level=args.compression_level, force=args.force_compression,
            format=form, progress=progress,
        )  # fmt: skip
        seconds = monotonic() - began
        progress.result(
            Tag=reference.tag, Digest=result.digest, Size=result.size, Moved=result.moved,
            Mounted=result.mounted, Existing=result.existing, Seconds=round(seconds, 3),
        )  # fmt: skip
    if not args.quiet and args.progress != "json":
        context.print(f"{reference.tag}: digest: {result.digest} size: {result.size}")
        kept = context.engine.pushed(reference).digest
        if codec and result.digest != kept:
            context.warn(f"Layers as {codec} give a manifest that differs from the one in the store ({kept})")
        _summary(context, result, seconds)


def _index(context: Context, reference: Reference, args: Args) -> None:
    count = context.engine.registries.attach_indexes(str(reference))
    if not args.quiet:
        context.warn(f"Attached indexes of {count} layers" if count else "No layer lacks an index")


def _summary(context: Context, result: PushResult, seconds: float) -> None:
    from .output import human_size

    parts = [f"Sent {human_size(result.moved)} in {seconds:.1f}s"]
    parts += [f"{human_size(result.mounted)} mounted"] if result.mounted else []
    parts += [f"{human_size(result.existing)} existed already"] if result.existing else []
    context.warn(", ".join(parts))


COMMAND = Command(
    "NAME[:TAG]",
    run=run,
    options=(
        flag("-a, --all-tags", "Push all tags of an image to the repository"),
        choice("--compression", "Recompress layers that are not in this form", CODECS),
        choice("--compression-format", "Alias of --compression (podman's name)", CODECS, hidden=True),
        number(
            "--compression-level",
            "Compression level: gzip 0 to 9 (default 2), zstd 1 to 22 (default 3)",
        ),
        flag("--force-compression", "Recompress all layers, even those in this form"),
        text("--format", "Manifest format: docker (v2s2) or oci (default: that of the image)"),
        flag("--lazy-index", "Attach an index to the image, so that its layers can be pulled lazily"),
        choice("--progress", "Set type of progress output", ("auto", "plain", "json"), default="auto"),
        flag("-q, --quiet", "Suppress verbose output"),
    ),
)
