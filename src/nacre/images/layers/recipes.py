"""How a layer was compressed whose compressed form is kept nowhere, found out by trying.

A recipe is written down when a layer is made here. It is lost with the database, and without it an image
that was built here could no longer be pushed with its digest.
"""

from __future__ import annotations

from ...ground.work.pipe import CHUNK
from ...words.digest import Verifier
from ...words.errors import NacreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...stores.store import Store
    from ...words.digest import Digest
    from ...words.oci import Descriptor


def find_recipe(store: Store, layer: Descriptor, diff_id: Digest) -> bool:
    """Whether the usual recipe gives just this layer; then it is written down."""
    from ...grammars.codecs.recipe import recipe

    codec = "zstd" if "zstd" in layer.media_type else "gzip"
    try:
        _compress(store, layer, diff_id, codec)
    except NacreError:
        return False
    store.layers.record(layer.digest, diff_id, layer.media_type, layer.size, recipe(codec))
    return True


def _compress(store: Store, layer: Descriptor, diff_id: Digest, codec: str) -> None:
    """Raises ContentError when something else comes out."""
    from ...grammars.codecs.stream import Compressor

    verifier = Verifier(layer.digest, layer.size)
    with store.trees.tar(diff_id) as tar:
        compressor = Compressor(codec, verifier.update, store.budget)
        try:
            while data := tar.read(CHUNK):
                compressor.write(data)
            compressor.close()
        finally:
            compressor.stop()
    verifier.verify()
