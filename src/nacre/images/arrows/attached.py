"""What is attached to an image, into the store and out of it again: see `attestations.attached` for the form.

    index ─▶ image · manifest that names it in an annotation ─▶ statements

The index goes with a name of the image. One of several images is not kept, since the store has one platform
of an image; nor is one whose attestations are not there: docker saves the index of an image that it pulled
without them.
"""

from __future__ import annotations

from ...words.errors import NotFound
from ...words.oci import DOCUMENT_TYPES, Index, Manifest, parse_document
from ..layers.receive import fetch_once
from .statements import MOST_MANIFESTS, REFERS, check_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...stores.store import Store
    from ...words.digest import Digest
    from ...words.oci import Descriptor
    from ...words.reference import Reference
    from ..model.source import Source


def is_of_one_image(document: Index | Manifest) -> bool:
    """Whether it is an image, or an index of one and of what is attached to that."""
    entries = document.manifests if isinstance(document, Index) else ()
    return sum(REFERS not in dict(entry.annotations) for entry in entries) == isinstance(document, Index)


def take_attached(
    source: Source, reference: Reference, store: Store, top: tuple[Descriptor, bytes], image: Digest
) -> Descriptor | None:
    """Bring what the index `top` attaches to the image, which is here; the index, None where nothing is kept.

    A lease must be held. Raises ContentError for what is not what its digest says, StoreError.
    """
    descriptor, data = top
    entries = _attestations(parse_document(data, descriptor.media_type), image)
    try:
        for entry in entries:
            _take(source, reference.replace(tag="", digest=entry.digest), store, entry)
    except NotFound:
        return None
    if not entries:
        return None
    store.blobs.add(data, descriptor.digest)
    return descriptor


def _attestations(document: Index | Manifest, image: Digest) -> list[Descriptor]:
    """What an index has beside the image; nothing if that is more than its attestations."""
    entries = document.manifests if isinstance(document, Index) else ()
    others = [entry for entry in entries if entry.digest != image]
    are_attached = all(
        entry.media_type in DOCUMENT_TYPES
        and entry.digest.is_known
        and dict(entry.annotations).get(REFERS) == str(image)
        for entry in others
    )
    return others if are_attached and len(others) <= MOST_MANIFESTS else []


def _take(source: Source, reference: Reference, store: Store, entry: Descriptor) -> None:
    _, data = source.resolve(reference)
    manifest = parse_document(data, entry.media_type)
    for blob in (manifest.config, *manifest.layers) if isinstance(manifest, Manifest) else ():
        check_size(blob)
        fetch_once(source, store, blob, "attestation")
    store.blobs.add(data, entry.digest)


def find_attached(store: Store, name: str, image: Digest) -> tuple[Descriptor, list[Descriptor]] | None:
    """The index that goes with a name, and all that it holds but the image; None without."""
    index = store.refs.index(name)
    if index is None:
        return None
    found: list[Descriptor] = []
    for entry in _attestations(parse_document(store.blobs.read(index.digest), index.media_type), image):
        manifest = parse_document(store.blobs.read(entry.digest), entry.media_type)
        found += (entry, manifest.config, *manifest.layers) if isinstance(manifest, Manifest) else ()
    return index, found
