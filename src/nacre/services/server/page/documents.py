"""Manifests, indexes and configs of a repository, read for the page and never trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ....words.digest import Digest
from ....words.errors import ContentError, NacreError, NotFound
from ....words.oci import (
    DOCKER_CONFIG,
    OCI_CONFIG,
    ImageConfig,
    Index,
    Manifest,
    Platform,
    parse_document,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ....words.oci import Descriptor
    from ..state import RegistryState

CONFIG_TYPES = (OCI_CONFIG, DOCKER_CONFIG)
_MOST_CHILDREN = 64
"""Images of an index that are looked at for one page."""
ATTESTATION = "attestation-manifest"
_REFERENCE_TYPE = "vnd.docker.reference.type"


class Opened(NamedTuple):
    """A manifest or an index, and the digest by which the repository has it."""

    digest: Digest
    document: Manifest | Index


class PlatformImage(NamedTuple):
    """One image of a tag: `size` in bytes as it is sent, None if it is not here."""

    platform: str
    digest: Digest
    size: int | None


class Documents:
    """Reads what one registry keeps."""

    def __init__(self, state: RegistryState) -> None:
        self._catalog, self._cache, self._ask = state.catalog, state.cache, state.work.ask

    async def open(self, name: str, reference: str) -> Opened:
        """By tag or digest. Raises NotFound, InvalidDocument."""
        stored = await self._ask(self._catalog.manifest, name, reference)
        if stored is None:
            raise NotFound(f"{name} has no image {reference[:150]}")
        data = await self._cache.read(stored.digest)
        return Opened(stored.digest, parse_document(data, stored.media_type))

    async def config(self, name: str, manifest: Manifest) -> ImageConfig | None:
        """Of an image; None for what is no image, and where it is not here or cannot be read."""
        descriptor = manifest.config
        if descriptor.media_type not in CONFIG_TYPES:
            return None
        if await self._ask(self._catalog.blob, name, descriptor.digest) is None:
            return None
        try:
            return ImageConfig.parse(await self._cache.read(descriptor.digest))
        except (ContentError, NotFound):
            return None

    async def images(self, name: str, opened: Opened) -> list[PlatformImage]:
        """The images of a tag, by platform; what is only attached to them is left out."""
        if isinstance(opened.document, Manifest):
            config = await self.config(name, opened.document)
            platform = str(config.platform) if config else ""
            return [PlatformImage(platform, opened.digest, size_of(opened.document))]
        return [await self._image(name, entry) for entry in _images(opened.document)]

    async def _image(self, name: str, entry: Descriptor) -> PlatformImage:
        said = shown_platform(entry.platform)
        try:
            found = await self.open(name, entry.digest)
        except NacreError:
            return PlatformImage(said, entry.digest, None)
        if isinstance(found.document, Index):
            return PlatformImage(said, entry.digest, None)
        if not said and (config := await self.config(name, found.document)):
            said = str(config.platform)
        return PlatformImage(said, entry.digest, size_of(found.document))


def size_of(manifest: Manifest) -> int:
    """Bytes that a pull of all of it takes."""
    return manifest.config.size + sum(layer.size for layer in manifest.layers)


def shown_platform(platform: Platform | None) -> str:
    """Its name, with the version of the system where one is said."""
    if platform is None or platform.os == "unknown":
        return ""
    return f"{platform} {platform.os_version}".strip()


def is_attached(entry: Descriptor) -> bool:
    """Is it said about an image, rather than one?"""
    return dict(entry.annotations).get(_REFERENCE_TYPE) == ATTESTATION


def _images(index: Index) -> Iterator[Descriptor]:
    yield from [entry for entry in index.manifests if not is_attached(entry)][:_MOST_CHILDREN]
