"""`nacre import`: an image from a root file system in a tar."""

from __future__ import annotations

from contextlib import contextmanager

from ..words.errors import NotFound, RegistryError, UsageError
from ..words.reference import Reference
from .options import Command, many, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..images.model.source import Reader
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Import and print the id of the new image."""
    from ..images.arrows.importer import Meta, import_tar
    from ..words.oci import Platform

    origin, *names = args.positionals
    reference = Reference.parse(names[0]) if names else None
    if reference is not None and reference.digest is not None:
        raise UsageError(f"cannot import digest reference: {names[0]}")
    platform = Platform.parse(args.platform) if args.platform else None
    meta = Meta(tuple(args.change), args.message, platform, created(context), origin)
    with _opened(context, origin) as stream:
        image = import_tar(context.store, stream, reference, meta)
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
            raise UsageError("cannot import from a terminal", hint="redirect a tar to standard input")
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
    with _explained(url):
        download = context.client.download(url)
    with download as reader:
        yield _Explained(reader, url)


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """What the client says of a URL, with what was to be done; its hints are about registries."""
    try:
        yield
    except (NotFound, RegistryError) as error:
        why = "HTTP status 404" if isinstance(error, NotFound) else error.message
        raise type(error)(f"cannot download {url}: {why}") from None


class _Explained:
    def __init__(self, reader: Reader, url: str) -> None:
        self._reader, self._url = reader, url

    def read(self, size: int, /) -> bytes:
        with _explained(self._url):
            return self._reader.read(size)


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
