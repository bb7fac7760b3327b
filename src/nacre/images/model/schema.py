"""The two kinds of manifest, OCI's and Docker's schema 2: one made of the other.

Config and layers stay the blobs that they are, so the image id stays; the manifest has other media types and
with them another digest. Docker's kind has no annotations, no zstd and no artifacts. What is said here is
read from the document's JSON, because `urls` of foreign layers must stay. Sources: OCI image-spec,
compatibility.md; distribution, manifest-v2-2.md.
"""

from __future__ import annotations

from ...words.errors import RegistryError, Unsupported
from ...words.oci import (
    DOCKER,
    DOCKER_CONFIG,
    DOCKER_INDEX,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    Descriptor,
    Index,
    Manifest,
    decode_json,
    encode_json,
    parse_document,
)
from .image import check_image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ...words.progress import Progress
    from .source import Sink

_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"
_FAR = "application/vnd.oci.image.layer.nondistributable.v1.tar"
_DOCKER_LAYERS = {
    OCI_LAYER: DOCKER_LAYER, OCI_LAYER_GZIP: DOCKER_LAYER_GZIP,
    _FAR: _FOREIGN, f"{_FAR}+gzip": f"{_FOREIGN}.gzip",
}  # fmt: skip
_OCI_LAYERS = {new: old for old, new in _DOCKER_LAYERS.items()} | {f"{DOCKER_LAYER}.zstd": OCI_LAYER_ZSTD}
_REFUSALS = ("MANIFEST_INVALID", "TAG_INVALID", "UNSUPPORTED")

Document = tuple[Descriptor, bytes]
"""A document's descriptor and its bytes."""


def is_refusal(error: RegistryError) -> bool:
    """Does a registry say by this that it does not take a manifest of this kind? They have several ways."""
    return error.code in _REFUSALS or error.status == 415 or (error.status == 400 and not error.code)


def put_in_form(sink: Sink, target: str, document: Document, form: str, progress: Progress) -> Document:
    """Put a manifest as it is; where a registry refuses its kind, in the other one. What was put.

    `form` was asked for, so it is the only one then. Raises what the registry said first.
    """
    try:
        sink.put_manifest(target, document[1], document[0].media_type)
    except RegistryError as error:
        other = other_form(document, error) if not form and "/" in sink.where and ":" not in target else None
        if other is None:
            raise
        try:
            sink.put_manifest(target, other[1], other[0].media_type)
        except RegistryError:
            raise error from None
        progress.line(told(sink.where, other[0]))
        return other
    return document


def other_form(document: Document, error: RegistryError) -> Document | None:
    """A manifest in the other form, if `error` refuses the one it is in; None where that is not why, or there
    is no other. Then the error has a hint.
    """
    if not is_refusal(error) or document[0].media_type not in (OCI_MANIFEST, DOCKER_MANIFEST):
        return None
    try:
        return converted(document, DOCKER if document[0].media_type == OCI_MANIFEST else OCI)
    except Unsupported as reason:
        error.hint = error.hint or reason.message + (f": {reason.hint}" if reason.hint else "")
        return None


def told(where: str, descriptor: Descriptor) -> str:
    """The line that says what was put instead."""
    taken = "Docker's" if descriptor.media_type in (DOCKER_MANIFEST, DOCKER_INDEX) else "OCI's"
    return (
        f"{where.partition('/')[0]} rejects this kind of manifest: pushed as {taken} as {descriptor.digest}"
    )


def converted(document: Document, form: str) -> Document:
    """A manifest in a form; itself when it is in it. Raises Unsupported for what has no such form."""
    descriptor, data = document
    if descriptor.media_type == (DOCKER_MANIFEST if form == DOCKER else OCI_MANIFEST):
        return document
    parsed = parse_document(data, descriptor.media_type)
    if not isinstance(parsed, Manifest):
        raise Unsupported(f"{descriptor.digest} is an index, not the manifest of an image")
    if form == DOCKER:
        _check(parsed)
    fields = decode_json(data, "manifest")
    made = _docker(fields) if form == DOCKER else _oci(fields)
    return _document(descriptor, made, DOCKER_MANIFEST if form == DOCKER else OCI_MANIFEST)


def converted_index(
    document: Document, form: str, child: Callable[[Descriptor], Document]
) -> tuple[Document, list[Document]]:
    """An index in a form, and the documents that it then names; `child` gives those it names now."""
    descriptor, data = document
    index = parse_document(data, descriptor.media_type)
    assert isinstance(index, Index)
    media_type = DOCKER_INDEX if form == DOCKER else OCI_INDEX
    children = [converted(child(entry), form) for entry in index.manifests]
    rows = decode_json(data, "index")["manifests"]
    made = [_row(row, *each, form) for row, each in zip(rows, children, strict=True)]
    fields = {"schemaVersion": 2, "mediaType": media_type, "manifests": made}
    if form == OCI and index.annotations:
        fields["annotations"] = dict(index.annotations)
    return _document(descriptor, fields, media_type), children


def _row(row: dict[str, Any], descriptor: Descriptor, _data: bytes, form: str) -> dict[str, Any]:
    named = {"mediaType": descriptor.media_type, "digest": str(descriptor.digest), "size": descriptor.size}
    kept = ("platform",) if form == DOCKER else ("platform", "annotations", "artifactType")
    return named | {key: row[key] for key in kept if row.get(key)}


def _document(old: Descriptor, fields: dict[str, Any], media_type: str) -> Document:
    data = encode_json(fields)
    made = Descriptor.of(data, media_type)
    return made.replace(platform=old.platform, annotations=old.annotations), data


def _check(manifest: Manifest) -> None:
    """Raises Unsupported for what Docker's form has no place for."""
    check_image(manifest)
    if manifest.subject is not None or manifest.artifact_type:
        raise Unsupported("Docker manifests are for images, and this one has a subject")
    for layer in manifest.layers:
        if layer.media_type == OCI_LAYER_ZSTD:
            raise Unsupported(
                f"layer {layer.digest.short} is compressed with zstd, which Docker manifests do not support",
                hint="push it with --compression gzip",
            )
        if layer.media_type not in _DOCKER_LAYERS and layer.media_type not in _OCI_LAYERS:
            raise Unsupported(f"Docker manifests do not support layers of type {layer.media_type}")


def _docker(fields: dict[str, Any]) -> dict[str, Any]:
    layers = [_plain(layer, _DOCKER_LAYERS) for layer in fields.get("layers") or []]
    config = _plain(fields["config"], {}) | {"mediaType": DOCKER_CONFIG}
    return {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": config, "layers": layers}


def _plain(entry: dict[str, Any], types: dict[str, str]) -> dict[str, Any]:
    """A descriptor with the fields that Docker's form has."""
    kept = {key: entry[key] for key in ("mediaType", "size", "digest", "urls") if entry.get(key) is not None}
    return kept | {"mediaType": types.get(entry.get("mediaType", ""), entry.get("mediaType", ""))}


def _oci(fields: dict[str, Any]) -> dict[str, Any]:
    config = fields["config"] | {"mediaType": OCI_CONFIG}
    layers = [
        layer | {"mediaType": _OCI_LAYERS.get(layer.get("mediaType", ""), layer.get("mediaType", ""))}
        for layer in fields.get("layers") or []
    ]
    return fields | {"mediaType": OCI_MANIFEST, "config": config, "layers": layers}
