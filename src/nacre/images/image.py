"""An image as an immutable view over a store."""

from __future__ import annotations

from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Self

    from ..stores import Store
    from ..words.digest import Digest
    from ..words.mount import Mount
    from ..words.oci import Descriptor, ImageConfig, Manifest


class Layer(Value):
    """One layer: its blob's descriptor, its diff id, the instruction that made it ("" if unknown)."""

    descriptor: Descriptor
    diff_id: Digest
    created_by: str = ""


class Image:
    """An image in a store.

    `descriptor` names its manifest; `id` is the digest of its config, as docker has it.
    """

    store: Store
    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig

    @classmethod
    def load(cls, store: Store, descriptor: Descriptor) -> Self:
        """The image whose manifest `descriptor` names. Raises NotFound, InvalidDocument."""
        raise NotImplementedError

    @property
    def id(self) -> Digest:
        """The image id: the digest of the config."""
        raise NotImplementedError

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Lowest first."""
        raise NotImplementedError

    @property
    def diff_ids(self) -> tuple[Digest, ...]:
        """The trees of the image, lowest first."""
        raise NotImplementedError

    @property
    def names(self) -> tuple[str, ...]:
        """Every name of this image in the store, canonical."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """Bytes of content in all layers, unpacked."""
        raise NotImplementedError

    def view(self) -> Mount:
        """The whole file system, read-only."""
        raise NotImplementedError

    def stat(self, path: str | bytes) -> Any:
        """What is at `path`, links followed inside the image. Raises NotFound."""
        raise NotImplementedError

    def read(self, path: str | bytes, limit: int = 1 << 30) -> bytes:
        """A file's bytes, without running or mounting anything. Raises NotFound, TooLarge."""
        raise NotImplementedError

    def walk(self, path: str | bytes = "/") -> Iterator[Any]:
        """Everything below `path`, sorted, parents first."""
        raise NotImplementedError


def find(store: Store, text: str) -> Image:
    """The image that `text` names: a reference, an id or the beginning of one, a digest.

    Raises NotFound (`No such image: x`), InvalidName, Conflict when a prefix fits several.
    """
    raise NotImplementedError
