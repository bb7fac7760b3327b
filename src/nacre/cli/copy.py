"""`nacre copy`: an image from one place to another, without the store in between."""

from __future__ import annotations

from ..words.errors import UsageError
from .ends import COMMON, KNOWN, Ends, of_end, platform, refuse
from .options import Command, choice, flag, many, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..images.arrows.copying import Copied
    from ..images.places.place import Place
    from .context import Context
    from .options import Args

DETAILS = """\
A place is one of
  docker://NAME[:TAG|@DIGEST]   a registry; plain NAME[:TAG] means the same
  nacre:NAME                    an image of this store
  oci:FOLDER[:TAG]              an OCI image layout
  oci-archive:FILE[:TAG]        the same as a tar
  docker-archive:FILE[:NAME]    what `docker save` and `nacre save` write
  docker-daemon:NAME            a docker daemon (DOCKER_HOST)
  host:python3                  made from the Python that runs nacre; only as a source"""


def run(context: Context, args: Args) -> int:
    """Copy what SOURCE names and say what moved."""
    from time import monotonic

    from ..images.places.place import Place

    source, target = map(Place.parse, args.positionals)
    form, shown = _formats(args)
    _check(target, args)
    ends = Ends(context, args)
    networks = ends.network("src", source), ends.network("dest", target)
    began = monotonic()
    with context.progress(quiet=args.quiet or bool(shown), form=args.progress) as progress:
        result = context.engine.copy(
            source, target, all=_all(args), platform=platform(args), preserve_digests=args.preserve_digests,
            referrers=args.referrers, format=form, names=_names(args),
            at_once=args.image_parallel_copies or 0, source_network=networks[0],
            target_network=networks[1], progress=progress,
        )  # fmt: skip
        fields = _fields(source, target, result, monotonic() - began)
        progress.result(**fields)
    _keep_digest(context, args.digestfile, result)
    _tell(context, args, shown, result, fields)
    return 0


def _formats(args: Args) -> tuple[str, str]:
    """--format is skopeo's kind of manifest, or says how the result is printed. Raises UsageError."""
    if args.format in ("", "json") or "{{" in args.format:
        return "", args.format
    from ..words.oci import form_of

    try:
        form_of(args.format)
    except UsageError as error:
        error.hint = "or json, or a Go template, for the result"
        raise
    return args.format, ""


def _all(args: Args) -> bool:
    return bool(args.all or args.multi_arch == "all")


def _names(args: Args) -> list[str]:
    return [name for words in args.additional_tag for name in words.split(",")]


def _check(target: Place, args: Args) -> None:
    refuse(args)
    if _all(args) and platform(args):
        raise UsageError("--all and --platform are mutually exclusive")
    if args.image_parallel_copies is not None and args.image_parallel_copies < 1:
        raise UsageError("--image-parallel-copies must be at least 1")
    if args.additional_tag and target.transport != "docker-archive":
        raise UsageError("--additional-tag is for a docker-archive", hint="copy again to add another name")
    if args.preserve_digests and target.transport == "docker-daemon":
        raise UsageError("a docker daemon does not preserve digests")


def _keep_digest(context: Context, path: str, result: Copied) -> None:
    """skopeo's --digestfile: the digest and nothing else."""
    if path:
        from .files import write_out

        write_out(context, path, lambda write: write(result.digest.encode()), "write a digest")


def _fields(source: Place, target: Place, result: Copied, seconds: float) -> dict[str, object]:
    return {
        "Source": str(source), "Target": str(target), "Digest": result.digest, "Size": result.size,
        "Moved": result.moved, "Mounted": result.mounted, "Existing": result.existing,
        "Manifests": result.manifests, "Referrers": result.referrers, "Changed": result.changed,
        "Seconds": round(seconds, 3),
    }  # fmt: skip


def _tell(context: Context, args: Args, shown: str, result: Copied, fields: dict[str, object]) -> None:
    from .output import print_fields

    if shown:
        print_fields(context, shown, fields)
    elif args.quiet:
        context.print(result.digest)
    elif args.progress != "json":
        context.print(f"Digest: {result.digest}")
        context.print(f"Status: {'Copied' if result.changed else 'Unchanged'} {fields['Target']}")
        context.warn(summary(result, float(str(fields["Seconds"]))))


def summary(result: Copied, seconds: float) -> str:
    """What moved, in words."""
    from .output import human_size

    parts = [f"Moved {human_size(result.moved)} in {seconds:.1f}s"]
    parts += [f"{human_size(result.mounted)} mounted"] if result.mounted else []
    parts += [f"{human_size(result.existing)} existed already"] if result.existing else []
    parts += [f"{result.referrers} referrers copied"] if result.referrers else []
    return ", ".join(parts)


COMMAND = Command(
    "SOURCE TARGET",
    run=run,
    options=(
        many("--additional-tag", "Another name in a docker-archive", type="strings"),
        flag("-a, --all", "Copy all platforms of an index, not only one"),
        *of_end("dest", "target"),
        text("--digestfile", "Write the digest of the copied image to a file", type="file"),
        text("-f, --format", "Manifest format: oci or v2s2 (docker); or print the result: json, Go template"),
        text("--platform", "Copy this platform of an index (default: that of this machine)", type="os/arch"),
        flag("--preserve-digests", "Change no digest: do not compress layers"),
        choice("--progress", "Set type of progress output", ("auto", "plain", "json"), default="auto"),
        flag("-q, --quiet", "Only print the digest"),
        *of_end("src", "source"),
        flag("--referrers", "Also copy signatures, SBOMs and other referrers of the image"),
        *COMMON,
        *KNOWN,
    ),
    store=False,
    details=DETAILS,
)
