"""Indexes of layers and profiles that are attached to an image: to a sink, and found again at a source.

    artifact   = manifest of type ARTIFACT, subject: the manifest of an image for one platform
    its layers = *index ?profile                                  (`grammars.sideindex`)

An image may have several artifacts, of several writers. Nobody vouches for them but who may write to the
repository: what that means is for the reader to decide.
"""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO

from ...grammars.chunked.forms import has_table
from ...grammars.sideindex import ARTIFACT, INDEX, MAX_BLOB, PROFILE
from ...ground.work.threads import in_parallel
from ...words.errors import NacreError, Unsupported
from ...words.oci import OCI_EMPTY, OCI_MANIFEST, Descriptor, Manifest, parse_document
from ..layers.checkpoints import make_index
from ..layers.partial import LEAST
from ..layers.spans import candidates
from ..model.source import Referring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from threading import Event

    from ...grammars.tar.entry import Reader
    from ...words.digest import Digest
    from ...words.reference import Reference
    from ..model.source import Sink, Source

_CREATED = "org.opencontainers.image.created"
_EMPTY = b"{}"
_MOST = 8
_AT_ONCE = 8
_MAKERS = 2


def attach(
    sink: Sink, subject: Descriptor, blobs: Sequence[tuple[Descriptor, bytes]], created: str = ""
) -> Digest:
    """Attach blobs to the manifest `subject` of a sink; the digest of the artifact that names them.

    `created` is a time by RFC 3339: of several profiles the newest counts. Raises RegistryError.
    """
    config = Descriptor.of(_EMPTY, OCI_EMPTY)

    def send(blob: tuple[Descriptor, bytes], _stop: Event) -> None:
        descriptor, data = blob
        if not sink.has(descriptor):
            sink.put(descriptor, lambda: BytesIO(data))

    in_parallel(send, [(config, _EMPTY), *blobs], _AT_ONCE)
    manifest = Manifest(
        OCI_MANIFEST, config, tuple(descriptor for descriptor, _ in blobs),
        ((_CREATED, created),) if created else (),
        Descriptor(subject.media_type, subject.digest, subject.size), ARTIFACT,
    )  # fmt: skip
    data = manifest.encode()
    artifact = Descriptor.of(data, OCI_MANIFEST)
    sink.put_manifest(artifact.digest, data, OCI_MANIFEST)
    return artifact.digest


def make_indexes(
    layers: Sequence[tuple[Descriptor, Digest]],
    opener: Callable[[Descriptor], AbstractContextManager[Reader]],
    there: Sequence[Descriptor] = (),
) -> list[tuple[Descriptor, bytes]]:  # fmt: skip
    """Indexes of layers that have no table and can be lazy, each given with its diff id; to be attached.

    `opener` gives a layer in its compressed form, which is read once. `there` are indexes that
    are attached already. Raises what `opener` raises, InvalidArchive, DigestMismatch.
    """
    made: dict[int, tuple[Descriptor, bytes]] = {}

    def make(number: int, _stop: Event) -> None:
        layer, diff_id = layers[number]
        with suppress(Unsupported), opener(layer) as content:
            made[number] = make_index(content, layer, diff_id)

    known: set[Digest] = set()
    wanted: list[int] = []
    for number, (layer, _) in enumerate(layers):
        if layer.digest not in known and layer.size >= LEAST and not candidates(layer, there):
            known.add(layer.digest)
            wanted += [] if has_table(layer) else [number]
    in_parallel(make, wanted, _MAKERS)
    return [made[number] for number in sorted(made)]


def attached(source: Source, reference: Reference, digest: Digest) -> list[Descriptor]:
    """The indexes and profiles of the image with a manifest's digest; those of the newest artifact first."""
    return content_of(source, reference, digest, artifacts(source, digest))


def artifacts(source: Source, digest: Digest) -> list[Descriptor]:
    """What refers to the image with a manifest's digest and may have indexes or profiles, the newest first.

    None where the source does not know: the image can do without.
    """
    if not isinstance(source, Referring):
        return []
    try:
        listed = source.referrers(digest, ARTIFACT)
    except NacreError:
        return []
    return sorted(listed, key=_created, reverse=True)[:_MOST]


def content_of(
    source: Source, reference: Reference, digest: Digest, newest: Sequence[Descriptor]
) -> list[Descriptor]:
    """The indexes and profiles of the image with a manifest's digest, in the order of `artifacts`.

    What cannot be read, or is of another image, is left out.
    """
    found: dict[int, Manifest] = {}

    def read(number: int, _stop: Event) -> None:
        manifest = _artifact(source, reference.replace(tag="", digest=newest[number].digest), digest)
        if manifest is not None:
            found[number] = manifest

    in_parallel(read, range(len(newest)), _AT_ONCE)
    return [layer for _, manifest in sorted(found.items()) for layer in manifest.layers if _is_known(layer)]


def _created(artifact: Descriptor) -> str:
    return dict(artifact.annotations).get(_CREATED, "")


def _artifact(source: Source, reference: Reference, subject: Digest) -> Manifest | None:
    try:
        descriptor, data = source.resolve(reference)
        document = parse_document(data, descriptor.media_type)
    except NacreError:
        return None
    is_one = isinstance(document, Manifest) and document.artifact_type == ARTIFACT
    is_its = document.subject is not None and document.subject.digest == subject
    return document if is_one and is_its and isinstance(document, Manifest) else None


def _is_known(layer: Descriptor) -> bool:
    return layer.media_type in (INDEX, PROFILE) and layer.size <= MAX_BLOB and layer.digest.is_known
