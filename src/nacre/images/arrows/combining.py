"""Images of registries put together to one index: `docker buildx imagetools create`.

    source = reference | digest | descriptor as JSON        the last two: of the repository that is written to

The index has the bytes that buildx makes of the same entries, so both get the same digest.
"""

from __future__ import annotations

import json

from ...words.digest import Digest
from ...words.errors import NotFound, UsageError
from ...words.oci import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEX_TYPES,
    OCI_INDEX,
    Descriptor,
    ImageConfig,
    Index,
    decode_json,
    parse_document,
)
from ...words.progress import NullProgress, Progress
from ...words.reference import Reference
from ...words.value import Value
from ..layers.receive import fetch_small
from ..places.place import Place
from .copying import Choice, copy
from .manifestlist import exact_entries, exactly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...words.oci import Manifest, Platform
    from ..model.source import Source
    from ..places.place import Places
    from .statements import RemoteAttestation

_REFERS = "vnd.docker.reference.digest"


class Combination(Value):
    """How images are put together: only these `platforms` (() for all), `annotations` of the index.

    With `prefers_index` also a single image gets an index of its own.
    """

    platforms: tuple[Platform, ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    prefers_index: bool = True


class CombinedImage(Value):
    """A document, and where what it names is: an entry, and the reference it was found by."""

    descriptor: Descriptor
    data: bytes
    entries: tuple[tuple[Descriptor, Reference], ...]


def combined(
    places: Places, sources: Sequence[str], how: Combination, names: Sequence[Reference] = ()
) -> CombinedImage:
    """The document of several sources. Raises UsageError, NotFound, RegistryError, ContentError."""
    found = [_found(places, _reference(text, names)) for text in sources]
    (descriptor, data, _), *more = found
    plain = not more and not how.platforms and not how.annotations
    if plain and (descriptor.media_type in INDEX_TYPES or not how.prefers_index):
        return CombinedImage(descriptor, data, tuple(found[0][2]))
    entries = {entry.digest: (entry, where) for _, _, rows in reversed(found) for entry, where in rows}
    ordered = dict.fromkeys(entry.digest for _, _, rows in found for entry, _ in rows)
    kept = _kept([entries[digest] for digest in ordered], how.platforms)
    return _index(kept, how)


def _reference(text: str, names: Sequence[Reference]) -> Reference:
    digest = text if text.startswith("sha256:") else ""
    if text.startswith("{"):
        digest = str(Descriptor.from_json(decode_json(text.encode(), "descriptor")).digest)
    if not digest:
        return Reference.parse(text)
    if len({name.name for name in names}) != 1:
        raise UsageError(f"{digest}: a digest alone needs one repository to write to", hint="give it with -t")
    return names[0].replace(tag="", digest=Digest(digest))


def _found(
    places: Places, reference: Reference
) -> tuple[Descriptor, bytes, list[tuple[Descriptor, Reference]]]:
    """A document, and the images in it with their platforms."""
    with places.source(Place.in_registry(reference)) as source:
        descriptor, data = source.resolve(reference)
        document = parse_document(data, descriptor.media_type)
        if isinstance(document, Index):
            entries = exact_entries(document, data)
        else:
            entries = [_with_platform(source, descriptor, document)]
    return descriptor, data, [(entry, reference) for entry in entries]


def _with_platform(source: Source, descriptor: Descriptor, manifest: Manifest) -> Descriptor:
    config = ImageConfig.parse(fetch_small(source, manifest.config, "image config"))
    return descriptor.replace(platform=exactly(config.raw))


def _kept(
    entries: list[tuple[Descriptor, Reference]], platforms: Sequence[Platform]
) -> list[tuple[Descriptor, Reference]]:
    """Those of the platforms that are wanted, and what refers to them."""
    if not platforms:
        return entries
    wanted = {str(platform) for platform in platforms}
    found = {e.digest for e, _ in entries if e.platform and _usual(e.platform) in wanted}
    lacking = wanted - {_usual(e.platform) for e, _ in entries if e.digest in found and e.platform}
    if lacking:
        raise NotFound(f"no image for {', '.join(sorted(lacking))} in the sources")
    return [
        (entry, where)
        for entry, where in entries
        if entry.digest in found or dict(entry.annotations).get(_REFERS) in found
    ]


def _usual(platform: Platform) -> str:
    return str(type(platform).from_json(platform.to_json()))


def _index(entries: list[tuple[Descriptor, Reference]], how: Combination) -> CombinedImage:
    docker = all(entry.media_type == DOCKER_MANIFEST for entry, _ in entries) and not how.annotations
    index = Index(
        DOCKER_INDEX if docker else OCI_INDEX, tuple(entry for entry, _ in entries),
        tuple(sorted(how.annotations)),
    )  # fmt: skip
    data = json.dumps(json.loads(index.encode()), indent=2, ensure_ascii=False).encode()
    return CombinedImage(Descriptor.of(data, index.media_type), data, tuple(entries))


def put(places: Places, image: CombinedImage, name: Reference, progress: Progress | None = None) -> None:
    """Copy what the document names beside it, then put it where a name says. Raises RegistryError."""
    with places.sink(Place.in_registry(name)) as sink:
        for entry, where in image.entries:
            if entry.digest == image.descriptor.digest:
                continue
            with places.source(Place.in_registry(where)) as source:
                asked = where.replace(tag="", digest=entry.digest)
                copy(source, asked, sink, entry.digest, Choice(all=True), progress or NullProgress())
        if any(entry.digest == image.descriptor.digest for entry, _ in image.entries):
            with places.source(Place.in_registry(image.entries[0][1])) as source:
                asked = image.entries[0][1].replace(tag="", digest=image.descriptor.digest)
                copy(source, asked, sink, name.target, Choice(all=True), progress or NullProgress())
        else:
            sink.put_manifest(name.target, image.data, image.descriptor.media_type)


class RemoteImage(Value):
    """What a reference names in its registry; where asked for, configs and attestations by platform."""

    descriptor: Descriptor
    data: bytes
    configs: tuple[tuple[str, bytes], ...] = ()
    attestations: tuple[RemoteAttestation, ...] = ()


def look(
    places: Places, reference: Reference, *, configs: bool = False, attestations: bool = False
) -> RemoteImage:  # fmt: skip
    """A document of a registry; nothing of it is kept. Raises NotFound, RegistryError, ContentError."""
    with places.source(Place.in_registry(reference)) as source:
        descriptor, data = source.resolve(reference)
        found = RemoteImage(descriptor, data)
        if configs:
            found = found.replace(configs=tuple(_configs(source, reference, descriptor, data)))
        if attestations:
            from .statements import attestations_of

            said = attestations_of(source, reference, parse_document(data, descriptor.media_type))
            found = found.replace(attestations=tuple(said))
        return found


def _configs(
    source: Source, reference: Reference, descriptor: Descriptor, data: bytes
) -> list[tuple[str, bytes]]:
    document = parse_document(data, descriptor.media_type)
    if not isinstance(document, Index):
        return [("", fetch_small(source, document.config, "image config"))]
    found = []
    for entry in document.manifests:
        if entry.platform is None or entry.platform.os == "unknown" or entry.media_type in INDEX_TYPES:
            continue
        _, inner = source.resolve(reference.replace(tag="", digest=entry.digest))
        manifest = parse_document(inner, entry.media_type)
        if not isinstance(manifest, Index):
            found.append((str(entry.platform), fetch_small(source, manifest.config, "image config")))
    return found
