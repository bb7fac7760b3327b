"""The manifest that holds the attestations of an image, as BuildKit attaches it.

    index ─▶ image
          ─▶ manifest, platform unknown/unknown, annotations that name the image
               ─▶ one statement for each layer             subject ─▶ image: so it is a referrer as well

Source: BuildKit's docs/attestations/attestation-storage.md.
"""

from __future__ import annotations

from ...words.oci import OCI_CONFIG, OCI_MANIFEST, Descriptor, Manifest, Platform, encode_json
from .statement import image_subjects, statement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .wanted import Predicate

ARTIFACT = "application/vnd.docker.attestation.manifest.v1+json"
_STATEMENT, _EMPTY = "application/vnd.in-toto+json", "application/vnd.oci.empty.v1+json"
_UNKNOWN = Platform("unknown", "unknown")


def attached(
    image: Descriptor, names: Sequence[str], predicates: Sequence[Predicate], *, is_artifact: bool = True
) -> tuple[Descriptor, list[bytes]]:
    """The descriptor for an index, and the contents of manifest, config and layers.

    Without `is_artifact` it is in the old form, an image without a subject.
    """
    subjects = image_subjects(names, image.digest, image.platform)
    statements = [statement(subjects, predicate) for predicate in predicates]
    layers = tuple(
        Descriptor.of(data, _STATEMENT).replace(annotations=(("in-toto.io/predicate-type", predicate.type),))
        for data, predicate in zip(statements, predicates, strict=True)
    )
    config = b"{}" if is_artifact else _config(layers)
    manifest = Manifest(OCI_MANIFEST, Descriptor.of(config, OCI_CONFIG), layers)
    if is_artifact:
        manifest = manifest.replace(
            config=Descriptor.of(config, _EMPTY), artifact_type=ARTIFACT,
            subject=image.replace(platform=None, annotations=()),
        )  # fmt: skip
    data = manifest.encode()
    notes = (
        ("vnd.docker.reference.digest", str(image.digest)),
        ("vnd.docker.reference.type", "attestation-manifest"),
    )
    descriptor = Descriptor.of(data, OCI_MANIFEST).replace(platform=_UNKNOWN, annotations=notes)
    return descriptor, [data, config, *statements]


def _config(layers: Sequence[Descriptor]) -> bytes:
    diff_ids = [str(layer.digest) for layer in layers]
    platform = {"architecture": _UNKNOWN.architecture, "os": _UNKNOWN.os}
    return encode_json({**platform, "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}})
