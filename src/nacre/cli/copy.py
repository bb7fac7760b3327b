"""`nacre copy`: an image from one place to another, without the store in between."""

from __future__ import annotations

from ..words.errors import UsageError
from ..words.oci import Platform
from .options import Command, flag, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..images.copying import Copied
    from ..images.places import Place, Places
    from ..words.progress import Progress
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
  host:python3                  made from the Python that runs nacre; to copy from only"""


def run(context: Context, args: Args) -> int:
    """Copy what SOURCE names and say what moved."""
    from time import monotonic

    from ..images.copying import Choice, copy_between
    from ..images.places import Place

    source, target = map(Place.parse, args.positionals)
    _trust(context, (source, args.src_tls_verify), (target, args.dest_tls_verify))
    choice = Choice(
        _platform(args), args.all, args.referrers, context.client.config.settings.concurrency or 0
    )
    _check(source, target, args)
    began = monotonic()
    with context.progress(quiet=args.quiet or bool(args.format), form=args.progress) as progress:
        places = make_places(context, progress)
        result = copy_between(places, source, target, choice, exact=args.preserve_digests, progress=progress)
        seconds = monotonic() - began
        fields = _fields(source, target, result, seconds)
        progress.result(**fields)
    _tell(context, args, result, fields)
    return 0


def _trust(context: Context, *ends: tuple[Place, bool]) -> None:
    """Registries that need not prove who they are; must be said before the client is made."""
    from ..words.reference import Reference

    named = [place.name for place, verify in ends if place.transport == "docker" and not verify]
    context.insecure |= {Reference.parse(name).registry for name in named}


def make_places(context: Context, progress: Progress) -> Places:
    """Places of this machine, with the user's settings."""
    from ..images.places import Places
    from ..services.daemon import Daemon

    get = context.environment.get
    return Places(
        lambda: context.store, context.client.repository, lambda: Daemon(get("DOCKER_HOST", "")),
        get("TMPDIR") or "/var/tmp", progress,
    )  # fmt: skip


def _platform(args: Args) -> Platform | None:
    if args.all and args.platform:
        raise UsageError("--all and --platform are mutually exclusive")
    return Platform.parse(args.platform) if args.platform else None


def _check(source: Place, target: Place, args: Args) -> None:
    if args.preserve_digests and target.transport == "docker-daemon":
        raise UsageError("a docker daemon does not preserve digests")


def _fields(source: Place, target: Place, result: Copied, seconds: float) -> dict[str, object]:
    return {
        "Source": str(source), "Target": str(target), "Digest": result.digest, "Size": result.size,
        "Moved": result.moved, "Mounted": result.mounted, "Existing": result.existing,
        "Manifests": result.manifests, "Referrers": result.referrers, "Changed": result.changed,
        "Seconds": round(seconds, 3),
    }  # fmt: skip


def _tell(context: Context, args: Args, result: Copied, fields: dict[str, object]) -> None:
    from .output import print_fields

    if args.format:
        print_fields(context, args.format, fields)
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
    parts += [f"{human_size(result.existing)} were there already"] if result.existing else []
    parts += [f"{result.referrers} referrers copied"] if result.referrers else []
    return ", ".join(parts)


COMMAND = Command(
    "SOURCE TARGET",
    run=run,
    options=(
        flag("-a, --all", "Copy all platforms of an index, not only one"),
        flag(
            "--dest-tls-verify", "Require TLS and a valid certificate of the target's registry", default=True
        ),
        text("--format", "Print the result as 'json' or by a Go template"),
        text("--platform", "Copy this platform of an index (default: that of this machine)", type="os/arch"),
        flag("--preserve-digests", "Change no digest: nothing is compressed on its way"),
        text("--progress", "Set type of progress output", default="auto", choices=("auto", "plain", "json")),
        flag("-q, --quiet", "Only print the digest"),
        flag(
            "--src-tls-verify", "Require TLS and a valid certificate of the source's registry", default=True
        ),
        flag("--referrers", "Copy signatures, SBOMs and whatever else refers to the image too"),
    ),
    store=False,
    details=DETAILS,
)
