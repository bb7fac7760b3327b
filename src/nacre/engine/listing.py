"""Images of the store, one after the other."""

from __future__ import annotations

from ..images.model.image import Image
from ..words.errors import ContentError, NotFound, Unsupported
from ..words.oci import INDEX_TYPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

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
            engine.config.warn(f"cannot read image {descriptor.digest}: {error.message}")
