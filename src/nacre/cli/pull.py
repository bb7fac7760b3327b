"""`nacre pull`: an image, or all tags of a repository, from a registry into the store."""

from __future__ import annotations

from ..words.errors import UsageError
from ..words.reference import Reference
from .options import Command, choice, flag, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..images.arrows.pull import PullResult
    from ..images.model.image import Image
    from ..words.oci import Platform
    from .context import Context
    from .options import Args
    from .terminal import Display


def run(context: Context, args: Args) -> int:
    """Fetch what NAME means and say what moved; `host:NAME` is made from this machine instead."""
    from ..words.reference import is_host

    (name,) = args.positionals
    platform = context.platform(args.platform)
    if is_host(name):
        image = context.engine.resolve(name)
        _warn(context, image, name, platform)
        context.print(name if args.quiet else f"Digest: {image.digest}\n{name}")
        return 0
    reference = Reference.parse(name)
    if args.all_tags:
        if args.lazy:
            raise UsageError("--lazy goes with one image, not with --all-tags/-a")
        return _all(context, _repository(reference, name), platform, args)
    if reference.tag == "latest" and not name.endswith(":latest") and not args.quiet:
        context.warn("Using default tag: latest")
    _one(context, reference, platform, args)
    return 0


def _repository(reference: Reference, name: str) -> Reference:
    if reference.digest or name.rpartition("/")[2].count(":"):
        raise UsageError("tag can't be used with --all-tags/-a")
    return reference


def _all(context: Context, repository: Reference, platform: Platform | None, args: Args) -> int:
    """Some tags at a time, told of in their order; those that came are told of also when another fails."""
    engine, done = context.engine, {}
    references = engine.tags(repository, remote=True)
    with context.progress(quiet=args.quiet, form=args.progress) as progress:

        def tell(reference: Reference, result: PullResult, seconds: float) -> None:
            done[reference] = result, seconds
            _record(progress, reference, result, seconds)

        try:
            engine.pull_all(references, platform=platform, tell=tell, progress=progress)
        finally:
            progress.close()
            for reference in references:
                if reference in done:
                    _say(context, reference, platform, args, *done[reference])
    if args.quiet or args.progress != "json":
        context.print(repository.name)
    return 0


def _warn(context: Context, image: Image, name: str, platform: Platform | None) -> None:
    """An image by itself is taken whatever its platform, as with docker; it is only told."""
    from ..images.model.platforms import fits, misfit

    if platform and not fits(image, platform):
        context.warn(f"WARNING: {misfit(image, name, platform)}")


def _one(context: Context, reference: Reference, platform: Platform | None, args: Args) -> None:
    with context.progress(quiet=args.quiet, form=args.progress) as progress:
        done = _fetch(context, progress, reference, platform, args)
    _say(context, reference, platform, args, *done)
    if args.quiet or args.progress != "json":
        context.print(str(reference))


def _fetch(
    context: Context, progress: Display, reference: Reference, platform: Platform | None, args: Args
) -> tuple[PullResult, float]:
    """What came of it, and in how many seconds."""
    from time import monotonic

    began = monotonic()
    result = context.engine.pull(reference, platform=platform, lazy=args.lazy, progress=progress)
    seconds = monotonic() - began
    _record(progress, reference, result, seconds)
    return result, seconds


def _record(progress: Display, reference: Reference, result: PullResult, seconds: float) -> None:
    progress.result(
        Name=str(reference), Digest=result.digest, Image=result.image.id, Changed=result.changed,
        Moved=result.moved, Reused=result.reused, Seconds=round(seconds, 3),
    )  # fmt: skip


def _say(
    context: Context, reference: Reference, platform: Platform | None, args: Args, result: PullResult,
    seconds: float,
) -> None:  # fmt: skip
    """As docker, and a line that says what moved."""
    _warn(context, result.image, reference.familiar, platform)
    if not args.quiet and args.progress != "json":
        context.print(f"Digest: {result.digest}")
        context.print(f"Status: {result.status} for {reference.familiar}")
        _summary(context, result, seconds)


def _summary(context: Context, result: PullResult, seconds: float) -> None:
    from .output import human_size

    if result.moved or result.changed:
        moved, reused = human_size(result.moved), human_size(result.reused)
        context.warn(f"Fetched {moved} in {seconds:.1f}s, {reused} existed already")


COMMAND = Command(
    "NAME[:TAG|@DIGEST]",
    run=run,
    options=(
        flag("-a, --all-tags", "Download all tagged images in the repository"),
        flag("--lazy", "Return before the content is here: it is fetched when read, and in the background"),
        text("--platform", "Set platform if the registry offers several", type="os/arch"),
        choice("--progress", "Set type of progress output", ("auto", "plain", "json"), default="auto"),
        flag("-q, --quiet", "Suppress verbose output"),
    ),
    details="NAME may also be host:python3, an image made from the Python that runs nacre.",
)
