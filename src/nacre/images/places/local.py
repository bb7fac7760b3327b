"""The store as a source and as a sink."""

from __future__ import annotations

from ...words.digest import Digest
from ...words.errors import DigestMismatch, InvalidName, NotFound, Unsupported
from ...words.oci import DOCUMENT_TYPES, Descriptor, Manifest, parse_document
from ...words.progress import NullProgress
from ...words.reference import Reference
from ..layers.compressed import CompressedForms, is_here
from ..layers.receive import take
from ..model.image import by_name, lookup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from ...grammars.tar.entry import Reader
    from ...stores.store import Store
    from ..layers.compressed import Sources
    from ..model.source import Content


class StoreSource:
    """An image of the store: `name` is a reference, an id, the beginning of one, or a digest.

    A layer that is not here in its compressed form is made again or passed through from a repository that
    `sources` gives.
    """

    where = "store"

    def __init__(self, store: Store, name: str = "", sources: Sources | None = None) -> None:
        self.store, self.name, self._forms = store, name, CompressedForms(store, sources)

    def resolve(self, reference: Reference) -> tuple[Descriptor, bytes]:
        """A manifest by digest, or that of the image. Raises NotFound, InvalidName, Conflict."""
        if reference.digest is not None:
            data = self.store.blobs.read(reference.digest)
            return Descriptor(parse_document(data).media_type, reference.digest, len(data)), data
        descriptor = lookup(self.store, self.name)
        if descriptor is None:
            raise NotFound(f"No such image: {self.name}")
        return descriptor, self.store.blobs.read(descriptor.digest)

    def attested(self) -> tuple[Descriptor, bytes] | None:
        """The index of the image and of what is attached to it, that goes with the name; None without."""
        try:
            index = self.store.refs.index(str(Reference.parse(self.name)))
        except InvalidName:
            return None
        return (index, self.store.blobs.read(index.digest)) if index else None

    def origins(self, digest: Digest) -> list[str]:
        """Repositories that are known to have a blob, for mounts."""
        return self.store.layers.sources(digest)

    def fetch(self, descriptor: Descriptor, offset: int = 0) -> AbstractContextManager[Reader]:
        """Content out of the store. Raises NotFound, Unsupported."""
        content = self._forms.open(descriptor)
        try:
            content.seek(offset)
        except BaseException:
            content.close()
            raise
        return content


class StoreSink:
    """The store under one name. Blobs lie beside each other until the manifest makes an image of them.

    `arrows.pull.bring` does the same from a source in one go; this is for whoever has content only.
    """

    where = "store"

    def __init__(self, store: Store, name: Reference | None = None) -> None:
        """A lease must be held from the first `put` to the manifest; `name` None names nothing."""
        self.store, self.name = store, name

    def has(self, descriptor: Descriptor) -> bool:
        """Can the store give it in this form?"""
        return is_here(self.store, descriptor)

    def mount(self, descriptor: Descriptor, repositories: Sequence[str]) -> str | None:
        """There are no other repositories."""
        return None

    def put(self, descriptor: Descriptor, opener: Callable[[], Content]) -> None:
        """Raises DigestMismatch, TooLarge, StoreError."""
        with self.store.blobs.ingest(descriptor.digest, descriptor.size) as ingest:
            if not ingest.exists:
                with opener() as content:
                    content.seek(ingest.offset)
                    while data := content.read(1 << 18):
                        ingest.write(data)
            ingest.commit()

    def put_manifest(self, target: str, data: bytes, media_type: str) -> None:
        """Unpack the image and name it, unless it is put by digest. Raises Unsupported for an index."""
        descriptor = Descriptor.of(data, media_type)
        if isinstance(target, Digest) and target != descriptor.digest:
            raise DigestMismatch(target, descriptor.digest, what="a manifest")
        if not isinstance(parse_document(data, media_type), Manifest):
            raise one_platform()
        take(StoreSource(self.store), self.store, (descriptor, data), NullProgress(), self.store.budget)
        if self.name is not None and not isinstance(target, Digest):
            self.store.refs.set(str(self.name), descriptor)

    def holds(self, target: str, descriptor: Descriptor) -> bool:
        """Does the name mean the manifest already?"""
        if descriptor.media_type not in DOCUMENT_TYPES or self.name is None:
            return False
        return by_name(self.store, self.name) == descriptor


def one_platform() -> Unsupported:
    """What to say of several platforms under one name of the store."""
    return Unsupported(
        "the store keeps only one platform of an image",
        hint="choose it with --platform, or copy all of them to an oci: directory",
    )
