"""An image of an OCI layout that a build names by `oci-layout://FOLDER[:TAG][@DIGEST]`, without a name here.

Without tag and digest it is `latest`, or the only image that there is. It stays while something needs it.
Source: docker's buildx reference, "--build-context".
"""

from __future__ import annotations

import os

from ...words.digest import Digest
from ...words.errors import ContentError, InvalidArchive, NotFound
from ...words.progress import NullProgress
from ...words.reference import DEFAULT_TAG, Reference
from ..layers.receive import take
from ..model.image import Image
from ..places.layout import OciLayout
from ..places.members import FolderMembers
from .pull import choose

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...stores.store import Store
    from ...words.oci import Descriptor, Platform
    from ...words.progress import Progress

SCHEME = "oci-layout://"
_NAMELESS = Reference("docker.io", "library/layout")


def layout_image(
    store: Store, value: str, platform: Platform | None, progress: Progress | None = None
) -> Image:
    """Brought into the store. Raises NotFound, ContentError."""
    with _opened(value) as members:
        layout = _layout(members, value)
        document = choose(layout, store, _NAMELESS, *_top(layout, value), platform)
        return take(layout, store, document, progress or NullProgress(), store.budget)[0]


def stored_image(store: Store, value: str, platform: Platform | None) -> Image | None:
    """The same if the store has it, else None. Raises as `layout_image`."""
    with _opened(value) as members:
        layout = _layout(members, value)
        descriptor, _ = choose(layout, store, _NAMELESS, *_top(layout, value), platform)
    try:
        return Image.load(store, descriptor)
    except (NotFound, ContentError):
        return None


def _opened(value: str) -> FolderMembers:
    folder = value.removeprefix(SCHEME).partition("@")[0].partition(":")[0]
    if not os.path.isdir(folder):
        raise NotFound(f"oci-layout reference {value!r} could not be resolved: there is no folder {folder!r}")
    return FolderMembers(folder)


def _layout(members: FolderMembers, value: str) -> OciLayout:
    digest = value.partition("@")[2]
    return OciLayout(members, f"@{Digest(digest)}" if digest else "", "oci")


def _top(layout: OciLayout, value: str) -> tuple[Descriptor, bytes]:
    """The document that is meant: by digest, by tag, or the only one."""
    try:
        if layout.name:
            return layout.resolve(_NAMELESS)
        tag = value.removeprefix(SCHEME).partition(":")[2]
        if tag or len({entry.digest for entry in layout.entries()}) != 1:
            return layout.listed(layout.find(tag or DEFAULT_TAG))
        return layout.listed(layout.find(""))
    except (NotFound, InvalidArchive) as error:
        why = f"oci-layout reference {value!r} could not be resolved: {error.message}"
        raise type(error)(why, hint=error.hint) from None
