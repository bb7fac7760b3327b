"""`nacre import`: an image from a root file system in a tar."""

from __future__ import annotations

from contextlib import contextmanager

from ..words.errors import NotFound, Unreachable, UsageError
from ..words.reference import Reference
from .options import Command, many, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..images.source import Reader
    from .context import Context
    from .options import Args

_SECONDS = 60.0


def run(context: Context, args: Args) -> int:
    """Import and print the id of the new image."""
    from ..images.importer import import_tar
    from ..words.oci import Platform

    origin, *names = args.positionals
    reference = Reference.parse(names[0]) if names else None
    if reference is not None and reference.digest is not None:
        raise UsageError(f"cannot import digest reference: {names[0]}")
    platform = Platform.parse(args.platform) if args.platform else None
    with _opened(context, origin) as stream:
        image = import_tar(
            context.store, stream, reference, changes=args.change, message=args.message, platform=platform,
            created=created(context), origin=origin,
        )  # fmt: skip
    context.print(str(image.id))
    return 0


def created(context: Context) -> str:
    """SOURCE_DATE_EPOCH as a time, so that an import can be repeated to the bit; "" for now."""
    from time import gmtime, strftime

    seconds = context.epoch()
    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(int(seconds))) if seconds else ""


@contextmanager
def _opened(context: Context, origin: str) -> Iterator[Reader]:
    if origin == "-":
        if context.stdin.isatty():
            raise UsageError("cannot import from a terminal", hint="redirect a tar into standard input")
        yield context.input
    elif origin.startswith(("http://", "https://")):
        with _download(context, origin) as reader:
            yield reader
    else:
        try:
            file = open(origin, "rb", buffering=0)
        except OSError as error:
            raise NotFound(f"cannot open {origin}: {(error.strerror or '').lower()}") from None
        with file:
            yield file


@contextmanager
def _download(context: Context, url: str) -> Iterator[Reader]:
    import urllib3

    proxy = context.proxies().get(url.partition(":")[0] + "_proxy")
    pool = urllib3.ProxyManager(proxy) if proxy else urllib3.PoolManager()
    try:
        answer = pool.request("GET", url, preload_content=False, timeout=_SECONDS, decode_content=False)
        if answer.status != 200:
            raise NotFound(f"cannot download {url}: HTTP status {answer.status}")
        yield answer
        answer.release_conn()
    except urllib3.exceptions.HTTPError as error:
        raise Unreachable(f"cannot download {url}: {error}") from None
    finally:
        pool.clear()


COMMAND = Command(
    arguments="FILE|URL|- [REPOSITORY[:TAG]]",
    run=run,
    options=(
        many("-c, --change", "Apply Dockerfile instruction to the created image"),
        text("-m, --message", "Set commit message for imported image"),
        text("--platform", "Set platform, for an image of another machine", type="platform"),
    ),
    details="The tar may be plain, or compressed with gzip, zstd, xz or bzip2.",
)
