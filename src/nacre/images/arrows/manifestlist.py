"""Manifest lists being put together: `nacre manifest`, in the ways of docker's.

    FOLDER/<sha256 of the name>.json    {"name": …, "entries": [{"ref", "place", "descriptor"}, …]}

An entry remembers where its image is (a registry, the store, any place of a copy); nothing of it is fetched
but the manifest and, for its platform, the config. `push` copies the images beside the list and then puts the
list, in just the bytes that docker makes of the same entries, so that both get the same digest.
"""

from __future__ import annotations

import os

from ...ground.files import Lock, private_dir, read_bounded, unlink, write_atomic
from ...words.digest import Digest
from ...words.errors import Conflict, InvalidDocument, NotFound, StoreError, Unsupported, UsageError
from ...words.oci import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    MAX_DOCUMENT,
    OCI_INDEX,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    Platform,
    decode_json,
    encode_json,
    parse_document,
)
from ...words.progress import NullProgress, Progress
from ...words.reference import Reference
from ...words.value import Value
from ..layers.receive import fetch_small
from ..model.image import by_name, check_image
from ..places.place import Place, Places
from .copying import Choice, copy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from ...stores.store import Store
    from ..model.source import Sink

_ARCHITECTURES = frozenset(
    (
        "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le",
        "riscv64", "s390x", "wasm",
    )
)  # fmt: skip
_SYSTEMS = frozenset(
    (
        "aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux", "netbsd",
        "openbsd", "plan9", "solaris", "wasip1", "windows",
    )
)  # fmt: skip


class ManifestEntry(Value):
    """One image of a list: how it was named, where it is, and its descriptor with the platform."""

    ref: str
    place: str
    descriptor: Descriptor


class Pushed(Value):
    """What a push did: the list's digest, and the images put beside it with their digests."""

    digest: Digest
    images: tuple[tuple[str, Digest], ...]
    moved: int
    mounted: int
    existing: int


class ManifestLists:
    """The lists in a folder. Each call is atomic; several processes may use one folder."""

    def __init__(self, folder: str, places: Places, store: Callable[[], Store]) -> None:
        """`store` is asked for images that are named there."""
        self._folder, self._places, self._store = folder, places, store

    # the lists

    def get(self, reference: Reference) -> tuple[ManifestEntry, ...]:
        """The entries of a list, sorted as docker sorts them. Raises NotFound."""
        try:
            with open(self._path(reference), "rb") as file:
                data = read_bounded(file.read, MAX_DOCUMENT, f"manifest list {reference}")
        except FileNotFoundError:
            raise NotFound(f"No such manifest: {reference}") from None
        except OSError as error:
            raise StoreError(f"cannot read manifest list {reference}: {error.strerror}") from None
        fields = decode_json(data, "manifest list")
        rows = fields.get("entries") if isinstance(fields, dict) else None
        return tuple(_entry(row) for row in _listed(rows))

    def create(
        self, reference: Reference, images: list[str] | tuple[str, ...], *, amend: bool = False
    ) -> None:
        """Make a list of images, or add them to it. Raises Conflict when it exists and `amend` is not said.

        An image is taken from the store when the store has that name, else from its registry; any place of a
        copy may be named too. Raises NotFound, Unsupported for an index, RegistryError.
        """
        if not amend and os.path.exists(self._path(reference)):
            raise Conflict("refusing to amend an existing manifest list with no --amend flag")
        found = [self._entry(image) for image in images]
        with self._locked():
            known = {entry.ref: entry for entry in (self.get(reference) if self._exists(reference) else ())}
            known |= {entry.ref: entry for entry in found}
            self._write(reference, known)

    def annotate(self, reference: Reference, image: str, said: Platform) -> None:
        """Say for which platform an image of a list is; what is not said ("") stays, features are added.

        Raises NotFound, UsageError.
        """
        ref = _ref_of(image)
        with self._locked():
            known = {entry.ref: entry for entry in self.get(reference)}
            if ref not in known:
                raise NotFound(f"manifest for image {ref} does not exist in {reference}")
            before = known[ref].descriptor.platform or Platform("", "")
            after = Platform(
                said.os or before.os, said.architecture or before.architecture,
                said.variant or before.variant, said.os_version or before.os_version,
                tuple(dict.fromkeys((*before.os_features, *said.os_features))),
            )  # fmt: skip
            if after.os not in _SYSTEMS or after.architecture not in _ARCHITECTURES:
                kind = f"{after.os}/{after.architecture}"
                raise UsageError(f"manifest entry for image has unsupported os/arch combination: {kind}")
            changed = known[ref].descriptor.replace(platform=after)
            self._write(reference, known | {ref: known[ref].replace(descriptor=changed)})

    def remove(self, reference: Reference) -> None:
        """Forget a list. Raises NotFound."""
        if not unlink(self._path(reference)):
            raise NotFound(f"No such manifest: {reference}")

    def push(self, reference: Reference, *, purge: bool = False, progress: Progress | None = None) -> Pushed:
        """Put the images of a list, then the list, where its name says. Raises NotFound, RegistryError."""
        entries = self.get(reference)
        data, media_type = encoded([entry.descriptor for entry in entries])
        tally = {"moved": 0, "mounted": 0, "existing": 0}
        with self._places.sink(Place.in_registry(reference)) as sink:
            for entry in entries:
                self._bring(entry, sink, tally, progress or NullProgress())
            sink.put_manifest(reference.target, data, media_type)
        if purge:
            self.remove(reference)
        images = tuple((reference.name, entry.descriptor.digest) for entry in entries)
        return Pushed(Digest.of(data), images, **tally)

    def _bring(self, entry: ManifestEntry, sink: Sink, tally: dict[str, int], progress: Progress) -> None:
        place, digest = Place.parse(entry.place), entry.descriptor.digest
        with self._places.source(place) as source:
            asked = self._places.reference(place).replace(tag="", digest=digest)
            done = copy(source, asked, sink, digest, Choice(all=True), progress)
        for kind in tally:
            tally[kind] += getattr(done, kind)

    # looking

    def manifest(self, place: Place, digest: Digest | None = None) -> tuple[Descriptor, bytes]:
        """What a place means, or one of its manifests by digest; an image's descriptor has its platform.

        Raises NotFound, RegistryError, ContentError.
        """
        with self._places.source(place) as source:
            reference = self._places.reference(place)
            if digest is not None:
                reference = reference.replace(tag="", digest=digest)
            descriptor, data = source.resolve(reference)
            document = parse_document(data, descriptor.media_type)
            if isinstance(document, Index):
                return descriptor, data
            try:
                check_image(document)
            except Unsupported:
                return descriptor, data
            config = ImageConfig.parse(fetch_small(source, document.config, "image config"))
            return descriptor.replace(platform=exactly(config.raw)), data

    def place(self, image: str) -> Place:
        """Where an image is: what is no place by itself is looked for in the store first."""
        place = Place.parse(image)
        if place.transport != "docker" or image.startswith("docker://"):
            return place
        return Place("nacre", "", place.name) if by_name(self._store(), place.named()) else place

    def _entry(self, image: str) -> ManifestEntry:
        place = self.place(image)
        descriptor, data = self.manifest(place)
        document = parse_document(data, descriptor.media_type)
        if not isinstance(document, Manifest):
            raise Unsupported(f"{_ref_of(image)} is a manifest list")
        check_image(document)
        return ManifestEntry(_ref_of(image), str(place), descriptor)

    # files

    def _path(self, reference: Reference) -> str:
        return f"{self._folder}/{Digest.of(str(reference).encode()).hex}.json"

    def _exists(self, reference: Reference) -> bool:
        return os.path.exists(self._path(reference))

    def _locked(self) -> Lock:
        private_dir(self._folder)
        return Lock(f"{self._folder}/lock")

    def _write(self, reference: Reference, entries: dict[str, ManifestEntry]) -> None:
        ordered = sorted(entries.values(), key=lambda entry: entry.ref.replace("/", "_").replace(":", "-"))
        rows = [
            {"ref": entry.ref, "place": entry.place, "descriptor": descriptor_fields(entry.descriptor)}
            for entry in ordered
        ]
        data = encode_json({"name": str(reference), "entries": rows})
        if len(data) > MAX_DOCUMENT:
            raise InvalidDocument(f"manifest list {reference} has too many entries")
        write_atomic(self._path(reference), data)


def _listed(rows: Any) -> list[Any]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InvalidDocument("a manifest list of the store is damaged", hint="remove it and create it again")
    return rows


def _entry(row: dict[str, Any]) -> ManifestEntry:
    descriptor = Descriptor.from_json(row.get("descriptor"))
    fields = row["descriptor"].get("platform")
    platform = exactly(fields) if fields else None
    return ManifestEntry(str(row.get("ref")), str(row.get("place")), descriptor.replace(platform=platform))


def exactly(fields: Mapping[str, Any]) -> Platform:
    """A platform as it is written: that of a config, or an entry's; arm64/v8 is not shortened."""
    usual = Platform.from_json(fields)
    return usual.replace(variant=str(fields.get("variant") or ""))


def exact_entries(index: Index, data: bytes) -> list[Descriptor]:
    """The entries of an index with their platforms as they are written."""
    rows = decode_json(data, "manifest")["manifests"]
    return [
        entry.replace(platform=exactly(row["platform"])) if entry.platform else entry
        for entry, row in zip(index.manifests, rows, strict=True)
    ]


def _ref_of(image: str) -> str:
    """The name of an entry: the full reference, or the place as written."""
    place = Place.parse(image)
    return place.name if place.transport == "docker" else str(place)


def encoded(entries: list[Descriptor]) -> tuple[bytes, str]:
    """A list in the bytes that docker makes of it, and its type: docker's if all images are.

    Source: distribution/distribution manifestlist, FromDescriptors.
    """
    import json

    docker = all(entry.media_type == DOCKER_MANIFEST for entry in entries) and bool(entries)
    media_type = DOCKER_INDEX if docker else OCI_INDEX
    rows = [descriptor_fields(entry) for entry in entries]
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": rows}
    return json.dumps(document, indent=3, ensure_ascii=False).encode(), media_type


def descriptor_fields(entry: Descriptor) -> dict[str, Any]:
    """A descriptor with its fields in docker's order."""
    fields: dict[str, Any] = {"mediaType": entry.media_type, "size": entry.size, "digest": str(entry.digest)}
    if entry.annotations:
        fields["annotations"] = dict(entry.annotations)
    if entry.platform:
        fields["platform"] = platform_fields(entry.platform)
    return fields


def platform_fields(platform: Platform) -> dict[str, Any]:
    """A platform with its fields in docker's order."""
    fields: dict[str, Any] = {"architecture": platform.architecture, "os": platform.os}
    if platform.os_version:
        fields["os.version"] = platform.os_version
    if platform.os_features:
        fields["os.features"] = list(platform.os_features)
    if platform.variant:
        fields["variant"] = platform.variant
    return fields
