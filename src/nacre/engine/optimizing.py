"""What makes an image start lazily faster: which parts of it are read, said beside it in its registry."""

from __future__ import annotations

from ..grammars.accessprofile import AccessProfile, distinct
from ..words.errors import Conflict, NotFound, Unsupported
from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..ground.sandbox import Stdio
    from ..images.model.image import Image
    from ..services.containers.recording import RecordedRun
    from ..services.containers.service import CreateRequest
    from ..stores.store import Store
    from ..words.digest import Digest
    from ..words.oci import Descriptor, Manifest
    from ..words.reference import Reference
    from .wiring import Wiring


class RecordedReads(Value):
    """What a container has read of its image; its exit code, and whether it was stopped after its time."""

    profile: AccessProfile
    exit_code: int
    stopped: bool = False


def record(store: Store, request: CreateRequest, stdio: Stdio, seconds: float) -> RecordedReads:
    """Run a container and note what it reads of its layers. Raises Unsupported where that cannot be had."""
    if why := store.trees.lazy.obstacle_to_events:
        raise Unsupported(
            f"what a container reads cannot be recorded: {why}",
            hint="it takes root, Linux 6.14 or newer, and the storage driver erofs",
        )
    from ..services.containers.recording import RecordedContainers

    done = RecordedContainers(store).record(request, stdio, seconds)
    return RecordedReads(_profile(request.image.diff_ids, done), done.exit_code, done.stopped)


def _profile(layers: Sequence[Digest], done: RecordedRun) -> AccessProfile:
    """With the layers alone of which something was read."""
    reads = distinct(done.reads)
    used = sorted({number for number, _, _ in reads})
    places = {number: place for place, number in enumerate(used)}
    return AccessProfile(
        tuple(layers[number] for number in used),
        tuple((places[number], offset, length) for number, offset, length in reads),
    )


def attach(
    engine: Wiring, image: Image, reference: Reference, profile: AccessProfile | None, created: str
) -> Digest:
    """Put a profile beside the image that the reference names in its registry; the digest of what is new.

    Layers that have no table of contents get an index, unless there is one. Nothing of the image is changed.
    Raises NotFound, Conflict for another image than the one here, RegistryError.
    """
    from ..grammars.sideindex import PROFILE
    from ..images.arrows.sideindexes import attach
    from ..words.oci import Descriptor

    sink = engine.client.repository(reference)
    descriptor, blobs = _indexes(engine, image, reference)
    if profile is not None:
        data = profile.encode()
        blobs.append((Descriptor.of(data, PROFILE), data))
    return attach(sink, descriptor, blobs, created)


def attach_indexes(engine: Wiring, image: Image, reference: Reference) -> int:
    """As `attach`, without a profile, and only what is missing: how many indexes that were."""
    from ..images.arrows.sideindexes import attach

    descriptor, blobs = _indexes(engine, image, reference)
    if blobs:
        attach(engine.client.repository(reference), descriptor, blobs)
    return len(blobs)


def _indexes(
    engine: Wiring, image: Image, reference: Reference
) -> tuple[Descriptor, list[tuple[Descriptor, bytes]]]:
    """The manifest of the image in its registry, and the indexes that its layers lack."""
    from ..images.arrows.sideindexes import attached, make_indexes
    from ..images.layers.compressed import CompressedForms
    from .transfers import repository

    descriptor, manifest = _there(engine, image, reference)
    layers = [*zip(manifest.layers, image.diff_ids, strict=True)]
    forms = CompressedForms(engine.store, lambda name: repository(engine, name))
    known = attached(engine.client.repository(reference), reference, descriptor.digest)
    return descriptor, make_indexes(layers, forms.open, known)


def subject(engine: Wiring, image: Image, reference: Reference) -> Descriptor:
    """The manifest of an image where a registry has it, whatever its layers are compressed by there."""
    return _there(engine, image, reference)[0]


def _there(engine: Wiring, image: Image, reference: Reference) -> tuple[Descriptor, Manifest]:
    from ..images.arrows.pull import choose

    source = engine.client.repository(reference)
    try:
        top, data = source.resolve(reference)
    except NotFound as error:
        error.hint = f"send the image first with: nacre push {reference.familiar}"
        raise
    descriptor, data = choose(source, None, reference, top, data, image.config.platform)
    from ..words.oci import Manifest, parse_document

    found = parse_document(data, descriptor.media_type)
    if not isinstance(found, Manifest) or found.config.digest != image.manifest.config.digest:
        raise Conflict(
            f"{reference} is another image than the one here",
            hint="push or pull it, so that both are the same",
        )
    return descriptor, found
