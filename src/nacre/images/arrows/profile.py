"""The access profile that is attached to an image at its source."""

from __future__ import annotations

from ...grammars.accessprofile import MOST_BYTES, AccessProfile
from ...grammars.sideindex import PROFILE
from ...words.errors import NacreError
from ..layers.receive import fetch_small
from .sideindexes import attached

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...words.digest import Digest
    from ...words.reference import Reference
    from ..model.source import Source


def find_profile(source: Source, reference: Reference, digest: Digest) -> AccessProfile | None:
    """That of the image whose manifest has this digest: the newest that can be read, None for none.

    Nothing vouches for it, and nothing has to: it says only what comes first.
    """
    for layer in attached(source, reference, digest):
        if layer.media_type != PROFILE or layer.size > MOST_BYTES:
            continue
        try:
            return AccessProfile.parse(fetch_small(source, layer, "access profile"))
        except NacreError:
            continue
    return None
