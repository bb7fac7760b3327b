"""Images of the store, one after the other."""

from __future__ import annotations

from ..images.model.image import Image
from ..words.errors import ContentError, NotFound, Unsupported
from ..words.oci import INDEX_TYPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..images.model.rows import ImageRow
    from ..words.digest import Digest
    from ..words.errors import NacreError
    from .wiring import Wiring


def every(engine: Wiring, strict: bool) -> Iterator[Image]:
    """Every image; without `strict` those that cannot be read are told and left out."""
    for descriptor in engine.store.refs.images():
        if strict and descriptor.media_type in INDEX_TYPES:
            continue
        try:
            yield Image.load(engine.store, descriptor)
        except (ContentError, NotFound, Unsupported) as error:
            if strict:
                raise
            _told(engine, descriptor.digest, error)


def rows(engine: Wiring, digests: bool) -> Iterator[ImageRow]:
    """What a listing shows of every image; those that cannot be read are told and left out."""
    from ..images.model.rows import image_rows

    return image_rows(engine.store, lambda digest, error: _told(engine, digest, error), digests=digests)


def _told(engine: Wiring, digest: Digest, error: NacreError) -> None:
    engine.config.warn(f"cannot read image {digest}: {error.message}")
