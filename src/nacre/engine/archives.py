"""Images and archives: save, load, import, export."""

from __future__ import annotations

import os
from contextlib import contextmanager

from ..ground.files import os_errors
from ..words.errors import NotFound, RegistryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Protocol

    from ..grammars.tar.entry import Reader
    from ..images.arrows.importer import Meta
    from ..images.model.image import Image
    from ..services.client.download import Download
    from ..stores.store import Store
    from ..words.oci import Platform
    from ..words.progress import Progress
    from ..words.reference import Reference
    from .wiring import Wiring

    class ArchiveOutput(Protocol):
        """A file opened for bytes."""

        def write(self, data: bytes, /) -> object:
            """Write all of it."""

    Target = str | os.PathLike[str] | ArchiveOutput
    Origin = str | os.PathLike[str] | Reader


class Written:
    """A function that writes, as a file opened for bytes."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self.write = write


_WEB = ("http://", "https://")


def save(engine: Wiring, names: Sequence[str], target: Target, progress: Progress | None) -> None:
    """Images as one tar, an OCI layout and a docker-archive at once."""
    from ..images.arrows.archive import save
    from ..images.model.image import find
    from .transfers import repository

    if not hasattr(target, "write"):
        for name in names:
            find(engine.store, name)  # before a file is made
    with written(target) as write:
        saved = save(
            engine.store, names, write, progress=progress, sources=lambda name: repository(engine, name)
        )
    for image in saved:
        engine.tell_image("save", image)


def export_tar(engine: Wiring, name: str, target: Target) -> None:
    """The files of an image, all layers merged."""
    from ..images.layers.export import write_tar
    from ..images.model.image import find
    from .piped import piped

    def work(store: Store, give: Callable[[bytes], object]) -> None:
        write_tar([("", find(store, name))], give)

    def to_file(store: Store) -> None:
        find(store, name)  # before a file is made
        with written(target) as write:
            work(store, write)

    if isinstance(target, str | os.PathLike):
        return engine.inside(to_file)
    inside = engine.inside
    return piped(target.write, lambda give, meanwhile: inside(lambda store: work(store, give), meanwhile))


def load(
    engine: Wiring, origin: Origin, platform: Platform | None, tell: Callable[..., object] | None,
    progress: Progress | None,
) -> list[Image]:  # fmt: skip
    """Every image of an archive, or of a folder."""
    from ..images.arrows.archive import load, load_folder

    if isinstance(origin, str | os.PathLike) and os.path.isdir(origin):
        found = load_folder(engine.store, os.fspath(origin), platform=platform, progress=progress)
    else:
        with _read(engine, origin) as stream:
            found = load(engine.store, stream, platform=platform, progress=progress)
    for one in found:
        engine.tell_image("load", one.image)
        if tell:
            tell(one.image, one.names)
    return [one.image for one in found]


def import_tar(engine: Wiring, origin: Origin, reference: Reference | None, meta: Meta) -> Image:
    """An image of one layer out of a tar."""
    from ..images.arrows.importer import import_tar

    shown = os.fspath(origin) if isinstance(origin, str | os.PathLike) else "-"
    with _read(engine, origin) as stream:
        return import_tar(engine.store, stream, reference, meta.replace(origin=shown))


@contextmanager
def written(target: Target) -> Iterator[Callable[[bytes], object]]:
    """A function that writes to a path or a file. Raises StoreError."""
    if not isinstance(target, str | os.PathLike):
        yield target.write
        return
    with os_errors(f"write {os.fspath(target)}"):
        file = open(target, "wb")
    with file:
        yield file.write


@contextmanager
def _read(engine: Wiring, origin: Origin) -> Iterator[Reader]:
    """A file, a stream, or what a URL leads to. Raises NotFound, RegistryError."""
    if isinstance(origin, str | os.PathLike) and (url := os.fspath(origin)).startswith(_WEB):
        with download(engine, url) as found:
            yield found
    else:
        with opened(origin) as reader:
            yield reader


@contextmanager
def opened(origin: Origin) -> Iterator[Reader]:
    """A file or a stream. Raises NotFound."""
    if not isinstance(origin, str | os.PathLike):
        yield origin
        return
    try:
        file = open(origin, "rb", buffering=0)
    except OSError as error:
        raise NotFound(f"cannot open {os.fspath(origin)}: {(error.strerror or '').lower()}") from None
    with file:
        yield file


@contextmanager
def download(engine: Wiring, url: str, headers: Mapping[str, str] | None = None) -> Iterator[Downloaded]:
    """What a URL leads to, asked with these fields. Raises NotFound, RegistryError."""
    with _explained(url):
        download = engine.client.download(url, headers)
    with download as found:
        yield Downloaded(found, url)


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """What the client says of a URL, with what was to be done; its hints are about registries."""
    try:
        yield
    except (NotFound, RegistryError) as error:
        why = "HTTP status 404" if isinstance(error, NotFound) else error.message
        raise type(error)(f"cannot download {url}: {why}") from None


class Downloaded:
    """The body of an answer and its fields; an error names the URL."""

    def __init__(self, found: Download, url: str) -> None:
        self._reader, self._url, self.headers = found, url, found.headers

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, b"" at the end. Raises RegistryError."""
        with _explained(self._url):
            return self._reader.read(size)
