"""What is attached to an image: signatures, SBOMs, provenance, each in a line that people can read.

Nothing is verified here: a signature that is shown may be anybody's. Documents come from anybody as well, so
whatever has not the form that is expected gets a line without a summary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ....words.errors import NacreError
from ....words.oci import Index, Manifest, decode_json
from .documents import is_attached

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ....words.oci import Descriptor
    from ..state import RegistryState
    from .documents import Documents
    from .image import ChosenImage

_MOST = 20
_MOST_BYTES = 2 << 20
_KINDS = (
    ("application/vnd.dev.cosign.artifact.sig", "Signature (cosign)"),
    ("application/vnd.dev.cosign.simplesigning", "Signature (cosign)"),
    ("application/vnd.dev.sigstore.bundle", "Signature (Sigstore)"),
    ("application/vnd.cncf.notary.signature", "Signature (Notation)"),
    ("application/spdx", "SBOM (SPDX)"), ("text/spdx", "SBOM (SPDX)"),
    ("application/vnd.cyclonedx", "SBOM (CycloneDX)"), ("application/vnd.in-toto", "Attestation (in-toto)"),
    ("application/vnd.docker.attestation", "Attestation (BuildKit)"), ("text/markdown", "README"),
    ("application/sarif", "Scan results (SARIF)"),
)  # fmt: skip
_PREDICATES = (
    ("https://spdx.dev/", "SBOM (SPDX)"), ("https://cyclonedx.org/", "SBOM (CycloneDX)"),
    ("https://slsa.dev/provenance", "Provenance (SLSA)"),
    ("https://slsa.dev/verification", "Verification (SLSA)"),
)  # fmt: skip


class AttachedArtifact(NamedTuple):
    """One thing that is said of an image: what it is, and a line from it."""

    title: str
    summary: str
    digest: str
    size: int


class Attachments:
    """Finds and reads what is attached to images of one registry."""

    def __init__(self, state: RegistryState, documents: Documents) -> None:
        self._state, self._documents = state, documents

    async def of(self, name: str, chosen: ChosenImage) -> list[AttachedArtifact]:
        """To the image of a platform, and to the index that it is in."""
        found: dict[str, AttachedArtifact] = {}
        for digest in dict.fromkeys((chosen.opened.digest, chosen.top.digest)):
            values = (name, digest, "", "", _MOST)
            for referrer in await self._state.work.run(self._state.catalog.referrers, *values):
                kind = referrer.artifact_type or referrer.media_type
                found |= await self._read(name, str(referrer.digest), kind)
            for kind, tag in ((_KINDS[0][0], "sig"), ("application/vnd.in-toto+json", "att")):
                found |= await self._read(name, f"{digest.algorithm}-{digest.hex}.{tag}", kind)
        if isinstance(chosen.top.document, Index):
            for entry in _attestations(chosen.top.document, chosen.opened.digest):
                found |= await self._read(name, str(entry.digest), entry.artifact_type)
        return list(found.values())[:_MOST]

    async def _read(self, name: str, reference: str, kind: str) -> dict[str, AttachedArtifact]:
        """By its digest and number; nothing if it is not there."""
        try:
            opened = await self._documents.open(name, reference)
        except NacreError:
            return {}
        document = opened.document
        if not isinstance(document, Manifest):
            return {}
        found = {}
        for number, layer in enumerate(document.layers[:_MOST]):
            title = _title(layer.media_type) or _title(kind) or kind or layer.media_type
            notes = {**dict(document.annotations), **dict(layer.annotations)}
            line = await self._summary(name, layer, notes)
            named = AttachedArtifact(line[0] or title, line[1], str(opened.digest), layer.size)
            found[f"{opened.digest} {number}"] = named
        return found

    async def _summary(self, name: str, layer: Descriptor, notes: dict[str, str]) -> tuple[str, str]:
        """A better title where the content has one, and a line of it."""
        if not layer.media_type.endswith("json") or layer.size > _MOST_BYTES:
            return "", notes.get("org.opencontainers.image.title", "")
        if await self._state.work.ask(self._state.catalog.blob, name, layer.digest) is None:
            return "", ""
        try:
            content = decode_json(await self._state.cache.read(layer.digest), "attachment")
        except NacreError:
            return "", ""
        return summary_of(content, notes) if isinstance(content, dict) else ("", "")


def summary_of(content: dict[str, Any], notes: dict[str, str]) -> tuple[str, str]:
    """Title and line of a document; empty where nothing is known of it."""
    if "predicateType" in content:
        kind, predicate = str(content["predicateType"]), content.get("predicate")
        title = next((said for start, said in _PREDICATES if kind.startswith(start)), "")
        line = _document(predicate) if isinstance(predicate, dict) else ""
        return title or "Attestation (in-toto)", line or kind[:200]
    if "critical" in content:
        return "", _signed(content, notes)
    return "", _document(content)


def _document(content: dict[str, Any]) -> str:
    """Of an SBOM or of provenance."""
    for key in ("packages", "components"):
        if isinstance(content.get(key), list):
            count = len(content[key])
            return f"{count} package{'' if count == 1 else 's'}"
    details = _inner(content, "runDetails")
    builder = _inner(details, "builder").get("id") or _inner(content, "builder").get("id")
    sources = content.get("materials") or _inner(content, "buildDefinition").get("resolvedDependencies")
    parts = [f"built by {builder}"[:200]] if isinstance(builder, str) and builder else []
    if isinstance(sources, list):
        parts.append(f"{len(sources)} source{'' if len(sources) == 1 else 's'}")
    return ", ".join(parts)


def _signed(content: dict[str, Any], notes: dict[str, str]) -> str:
    """Of cosign's payload: for which name, and with what."""
    identity = _inner(_inner(content, "critical"), "identity").get("docker-reference")
    how = "with a certificate" if "dev.sigstore.cosign/certificate" in notes else "with a key"
    return f"for {identity}, {how}"[:200] if isinstance(identity, str) and identity else how


def _inner(content: dict[str, Any], key: str) -> dict[str, Any]:
    found = content.get(key)
    return found if isinstance(found, dict) else {}


def _title(kind: str) -> str:
    return next((said for start, said in _KINDS if kind.startswith(start)), "")


def _attestations(index: Index, digest: str) -> Iterator[Descriptor]:
    for entry in index.manifests:
        if is_attached(entry) and dict(entry.annotations).get("vnd.docker.reference.digest") == digest:
            yield entry
