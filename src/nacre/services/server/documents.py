"""What a pushed manifest says, as far as a registry must know it: pure, no storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...grammars.wire.errors import Code, refusal
from ...stores.catalog import Document
from ...words.errors import ContentError
from ...words.oci import DOCUMENT_TYPES, Index, Manifest, decode_json, parse_document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...words.oci import Descriptor

_ELSEWHERE = (".nondistributable.", ".foreign.")
"""Layer types whose content, by their definition, a registry need not have (image-spec layer.md)."""


def read(data: bytes, content_type: str) -> Document:
    """Understand a pushed document. Raises RegistryError MANIFEST_INVALID.

    The media type is kept as it was given; one that is neither in `content_type` nor in the document,
    or that is no manifest's or index's, is refused: nobody could be told how to read it.
    """
    given = content_type.partition(";")[0].strip().lower()
    try:
        document = parse_document(data, given)
    except ContentError as error:
        raise refusal(Code.MANIFEST_INVALID, error.message) from None
    if not _is_named(data, given):
        raise refusal(Code.MANIFEST_INVALID, f"manifest of unknown media type {given[:100]!r}")
    subject = document.subject.digest if document.subject else ""
    return Document(
        document.media_type, len(data), tuple(_parts(document)), subject, _artifact_type(document),
        document.annotations,
    )  # fmt: skip


def _is_named(data: bytes, given: str) -> bool:
    """Is the media type said anywhere, rather than guessed from the form?"""
    return given in DOCUMENT_TYPES or decode_json(data, "manifest").get("mediaType") in DOCUMENT_TYPES


def _parts(document: Manifest | Index) -> Iterator[Descriptor]:
    if isinstance(document, Index):
        yield from document.manifests
        return
    yield document.config
    for layer in document.layers:
        if not any(word in layer.media_type for word in _ELSEWHERE):
            yield layer


def _artifact_type(document: Manifest | Index) -> str:
    """What the referrers list says (distribution-spec, "Listing referrers")."""
    if document.artifact_type or isinstance(document, Index):
        return document.artifact_type
    return document.config.media_type
