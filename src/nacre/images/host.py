"""`host:python3`: an image made from the Python that is running, so that a tour needs no network."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ..stores import Store
    from ..words.oci import Descriptor
    from ..words.reference import Reference
    from .image import Image
    from .source import Reader

PREFIX = "host:"


def is_host(name: str) -> bool:
    """True for `host:NAME`, which is no name of a registry."""
    return name.startswith(PREFIX) and "/" not in name


def host_image(store: Store, name: str = "host:python3") -> Image:
    """The image `name` of this machine, built once per state of the machine; sets the name in the store."""
    raise NotImplementedError


class HostSource:
    """The same as a `Source`: builds into `store` and gives from there."""

    def __init__(self, store: Store, name: str = "host:python3") -> None:
        self.store, self.name = store, name

    @property
    def where(self) -> str:
        """`host:python3`."""
        return self.name

    def resolve(self, reference: Reference) -> tuple[Descriptor, bytes]:
        """Build the image if need be. Raises NotFound for a name other than python3."""
        raise NotImplementedError

    def fetch(self, descriptor: Descriptor, offset: int = 0) -> AbstractContextManager[Reader]:
        """Content out of the store."""
        raise NotImplementedError
