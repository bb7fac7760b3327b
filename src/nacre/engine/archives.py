"""Images and archives: save, load, import."""

from __future__ import annotations

from ..ground.files import os_errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

    from ..images.arrows.archive import Loaded
    from ..images.model.image import Image
    from ..words.progress import Progress
    from ..words.reference import Reference
    from .wiring import Wiring


def save(
    engine: Wiring, names: Sequence[str], write: Callable[[bytes], object], progress: Progress | None = None
) -> None:
    """Images as one tar, an OCI layout and a docker-archive at once, through `write`."""
    from ..images.arrows.archive import save
    from .transfers import repository

    save(engine.store, names, write, progress=progress, sources=lambda name: repository(engine, name))


def load(engine: Wiring, path: str) -> list[Loaded]:
    """Every image of an archive."""
    from ..images.arrows.archive import load

    with opened(path, "rb") as file:
        return load(engine.store, file)


def import_tar(engine: Wiring, path: str, reference: Reference | None, changes: Sequence[str]) -> Image:
    """An image of one layer out of a tar."""
    from ..images.arrows.importer import Meta, import_tar

    with opened(path, "rb") as file:
        return import_tar(engine.store, file, reference, Meta(tuple(changes), origin=path))


def opened(path: str, mode: str) -> BinaryIO:
    """A file that the caller named. Raises StoreError."""
    from typing import cast

    with os_errors(f"open {path}"):
        return cast("BinaryIO", open(path, mode))
