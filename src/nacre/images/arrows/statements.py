"""What the attestations of an index in a registry say. Nothing is kept; digests alone are verified."""

from __future__ import annotations

import json

from ...words.errors import InvalidDocument, TooLarge
from ...words.oci import DOCUMENT_TYPES, Index, parse_document
from ...words.value import Value
from ..layers.receive import fetch_small

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ...words.oci import Descriptor, Manifest
    from ...words.reference import Reference
    from ..model.source import Source

REFERS, _TYPE = "vnd.docker.reference.digest", "in-toto.io/predicate-type"
_STATEMENT = "application/vnd.in-toto+json"
_MOST = 64 << 20
"""Bytes of a statement."""
MOST_MANIFESTS = 100


class RemoteAttestation(Value):
    """What is said of the image for a platform: the type of the predicate, and what it says."""

    platform: str
    type: str
    predicate: Any


def attestations_of(
    source: Source, reference: Reference, document: Index | Manifest
) -> Iterator[RemoteAttestation]:  # fmt: skip
    """All of an index, in its order. Raises RegistryError, InvalidDocument, TooLarge."""
    entries = document.manifests if isinstance(document, Index) else ()
    platforms = {str(entry.digest): str(entry.platform) for entry in entries if entry.platform}
    for entry in entries[:MOST_MANIFESTS]:
        of = dict(entry.annotations).get(REFERS, "")
        if of in platforms and entry.media_type in DOCUMENT_TYPES:
            for kind, predicate in _predicates(source, reference, entry):
                yield RemoteAttestation(platforms[of], kind, predicate)


def _predicates(source: Source, reference: Reference, entry: Descriptor) -> Iterator[tuple[str, Any]]:
    _, data = source.resolve(reference.replace(tag="", digest=entry.digest))
    manifest = parse_document(data, entry.media_type)
    for layer in () if isinstance(manifest, Index) else manifest.layers:
        kind = dict(layer.annotations).get(_TYPE)
        if kind and layer.media_type == _STATEMENT:
            yield kind, _predicate(source, layer)


def check_size(blob: Descriptor) -> None:
    """Raises TooLarge for a blob that no statement is."""
    if blob.size > _MOST:
        raise TooLarge(f"attestation {blob.digest} has {blob.size} bytes, more than the {_MOST} allowed")


def _predicate(source: Source, layer: Descriptor) -> Any:
    check_size(layer)
    try:
        statement = json.loads(fetch_small(source, layer, "attestation"))
    except (ValueError, RecursionError):
        raise InvalidDocument(f"attestation {layer.digest} is not valid JSON") from None
    return statement.get("predicate") if isinstance(statement, dict) else None
