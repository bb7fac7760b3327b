"""Names for images, and the images there are."""

from __future__ import annotations

from ..words.digest import Digest
from ..words.oci import Descriptor
from ..words.value import Value


class Ref(Value):
    """A mutable name; `updated` in seconds since 1970."""

    name: str
    descriptor: Descriptor
    updated: float


class RefStore:
    """Names (canonical references, `str(Reference)`) and known manifests. Each call is one transaction."""

    def set(self, name: str, descriptor: Descriptor) -> None:
        """Let `name` mean `descriptor`, also remembered as an image; on disk when this returns.

        Raises NotFound when the store does not hold the manifest: a name never dangles.
        """
        raise NotImplementedError

    def get(self, name: str) -> Descriptor | None:
        """What `name` means."""
        raise NotImplementedError

    def delete(self, name: str) -> bool:
        """Drop the name (the image stays remembered); False if there was none."""
        raise NotImplementedError

    def list(self) -> list[Ref]:
        """All names, sorted."""
        raise NotImplementedError

    def names_of(self, digest: Digest) -> list[str]:
        """The names of one manifest, sorted."""
        raise NotImplementedError

    def remember(self, descriptor: Descriptor) -> None:
        """Keep an image that has no name. Raises NotFound when the manifest is not stored."""
        raise NotImplementedError

    def forget(self, digest: Digest) -> bool:
        """No longer keep it for its own sake (names of it go as well); the sweep frees the content."""
        raise NotImplementedError

    def images(self) -> list[Descriptor]:
        """Every manifest or index kept, named or dangling, the newest first."""
        raise NotImplementedError

    def find(self, prefix: str) -> list[Descriptor]:
        """Images whose manifest digest begins with these hexadecimal digits."""
        raise NotImplementedError
