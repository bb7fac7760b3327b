"""The access profile that is attached to an image at its source."""

from __future__ import annotations

from ...grammars.accessprofile import MOST_BYTES, AccessProfile
from ...grammars.sideindex import PROFILE
from ...words.errors import NacreError
from ..layers.receive import fetch_small

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...words.oci import Descriptor
    from ..model.source import Source


def find_profile(source: Source, attached: Sequence[Descriptor]) -> AccessProfile | None:
    """Of what is attached to an image the first profile that can be read, None for none.

    Nothing vouches for it, and nothing has to: it says only what comes first.
    """
    for layer in attached:
        if layer.media_type != PROFILE or layer.size > MOST_BYTES:
            continue
        try:
            return AccessProfile.parse(fetch_small(source, layer, "access profile"))
        except NacreError:
            continue
    return None
