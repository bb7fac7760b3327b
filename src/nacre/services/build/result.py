"""The image that a stage has come to, as it is written."""

from __future__ import annotations

from ...grammars import buildcache
from ...images.model.edit import make_manifest, with_fields, write_image
from ...images.model.image import Image
from ...images.model.schema import converted
from ...words.oci import Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...grammars.buildcache import CachedStep
    from ...stores.store import Store
    from .builder import BuildOptions
    from .stageprogress import StageProgress


def write_result(
    store: Store, standing: StageProgress, options: BuildOptions, inline: Sequence[CachedStep] | None = None
) -> Image:
    """Write the image; no name leads to it. Idempotent. Raises StoreError.

    `inline` are steps that its config is to hold as a cache, as far as they made its layers.
    """
    config = standing.config(dict(options.labels))
    if inline is not None:
        places = {layer: number for number, layer in enumerate(standing.layers)}
        config = with_fields(config, **{buildcache.FIELD: buildcache.field(inline, places)})
    layers = [descriptor for descriptor, _ in standing.layers]
    manifest, _ = make_manifest(config, layers)
    made = converted((Descriptor.of(manifest.encode(), manifest.media_type), manifest.encode()), options.form)
    return Image.load(store, write_image(store, config, layers, media_type=made[0].media_type))
