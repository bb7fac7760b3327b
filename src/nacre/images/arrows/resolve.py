"""From what a user types to an image: the store first, then this machine (`host:`), then a registry."""

from __future__ import annotations

from ...words.errors import NotFound
from ...words.reference import Reference
from ..model.image import Image, find
from ..model.platforms import rank

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ...stores.store import Store
    from ...words.oci import Platform

    Fetch = Callable[[Reference, Platform | None], Image]

HOST = "host:"


def is_host(name: str) -> bool:
    """True for `host:NAME`, which is no name of a registry."""
    return name.startswith(HOST) and "/" not in name and "@" not in name


def resolve(
    store: Store, text: str, fetch: Fetch, platform: Platform | None = None, *, pull: str = "missing"
) -> Image:
    """The image that `text` names; `fetch` is asked for what the store lacks.

    `pull` is docker's policy: missing, always, never. An image of another platform than the one wanted
    counts as missing. Raises NotFound, InvalidName, and whatever `fetch` raises.
    """
    if is_host(text):
        from ..places.host import host_image

        return host_image(store, text)
    found = None if pull == "always" else _stored(store, text, platform)
    if found is not None:
        return found
    if pull == "never":
        return find(store, text)
    return fetch(Reference.parse(text), platform)


def _stored(store: Store, text: str, platform: Platform | None) -> Image | None:
    try:
        image = find(store, text)
    except NotFound:
        return None
    return image if platform is None or fits(image, platform) else None


def fits(image: Image, platform: Platform) -> bool:
    """Whether an image runs on a platform, by the same rule as an entry of an index is chosen."""
    return rank(image.config.platform, platform) is not None


def misfit(image: Image, name: str, platform: Platform) -> str:
    """docker's sentence about an image that is for another platform than the one asked for."""
    return (
        f"image with reference {name} was found but its platform ({image.config.platform}) "
        f"does not match the specified platform ({platform})"
    )
