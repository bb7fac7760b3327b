"""What refers to a manifest (signatures, SBOMs): by the API, else by an index under a tag.

    tag of sha256:<hex>  =  sha256-<hex>            distribution-spec v1.1, "Referrers tag schema"

A registry that knows the API answers a pushed manifest that has a `subject` with `OCI-Subject`. For one
that does not, the client keeps the index, and of two that do so at once the second wins: that is how the
schema is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...grammars.wire import routes
from ...words.digest import Digest
from ...words.errors import InvalidDocument, NotFound
from ...words.oci import MAX_DOCUMENT, OCI_INDEX, Descriptor, Index, Manifest, parse_document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .repository import Repository

MAX_PAGES = 100


def listed(repository: Repository, digest: Digest, artifact_type: str = "") -> tuple[Descriptor, ...]:
    """Those of one artifact type, or all. Raises RegistryError."""
    try:
        found = tuple(_by_api(repository, digest))
    except NotFound:
        found = _by_tag(repository, digest)
    return tuple(entry for entry in found if artifact_type in ("", entry.artifact_type))


def _by_api(repository: Repository, digest: Digest) -> Iterator[Descriptor]:
    """Page by page; filtered here, for a registry may pass over the filter."""
    what, session = f"referrers of {digest.short}", repository.session
    pages = session.pages(routes.referrers(repository.name, digest), what, repository.reading)
    for number, (data, _) in enumerate(pages):
        if number == MAX_PAGES:
            raise session.endless(what)
        yield from _entries(data)


def _by_tag(repository: Repository, digest: Digest) -> tuple[Descriptor, ...]:
    try:
        _, data = repository.document(_tag(digest), f"referrers tag of {digest.short}")
    except NotFound:
        return ()
    return _entries(data)


def _entries(data: bytes) -> tuple[Descriptor, ...]:
    found = parse_document(data)
    return found.manifests if isinstance(found, Index) else ()


def keep(repository: Repository, data: bytes, media_type: str) -> None:
    """Add the manifest `data` to the index of its subject, for a registry without the API."""
    document = parse_document(data, media_type)
    if document.subject is None:
        return
    entry = _entry(document, data)
    others = [each for each in _by_tag(repository, document.subject.digest) if each.digest != entry.digest]
    index = Index(OCI_INDEX, (*others, entry)).encode()
    if len(index) > MAX_DOCUMENT:
        raise InvalidDocument(f"the referrers of {document.subject.digest.short} do not fit into one index")
    repository.put_manifest(_tag(document.subject.digest), index, OCI_INDEX)


def _entry(document: Manifest | Index, data: bytes) -> Descriptor:
    """As the API would list it: an image's artifact type is, if it has none, that of its config."""
    config = document.config.media_type if isinstance(document, Manifest) else ""
    return Descriptor(
        document.media_type, Digest.of(data), len(data), annotations=document.annotations,
        artifact_type=document.artifact_type or config,
    )  # fmt: skip


def _tag(digest: Digest) -> str:
    return digest.replace(":", "-")
