"""Helpers for the tests of images: layers made on the spot, and a registry in memory."""

from __future__ import annotations

import gzip
import hashlib
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from nacre.grammars.tar.entry import Entry
from nacre.grammars.tar.write import TarWriter
from nacre.images.model.edit import append_layer, make_manifest, new_config
from nacre.words.digest import Digest
from nacre.words.errors import NotFound, RegistryError
from nacre.words.oci import (
    OCI_LAYER,
    OCI_LAYER_GZIP,
    Descriptor,
    ImageConfig,
    Manifest,
    Platform,
    parse_document,
)
from nacre.words.reference import Reference


def make_tar(files: dict[str, bytes | None]) -> bytes:
    """A tar of files (bytes) and folders (None), parents added."""
    out = io.BytesIO()
    tar = TarWriter(out.write)
    paths = dict(files)
    for path in files:
        for depth in range(1, path.count("/") + 1):
            paths.setdefault(path.rsplit("/", depth)[0], None)
    for path, data in sorted(paths.items()):
        if data is None:
            tar.add(Entry(path.encode(), "dir", 0o755))
        else:
            tar.add(Entry(path.encode(), "file", 0o644, size=len(data)), io.BytesIO(data))
    tar.close()
    return out.getvalue()


class Registry:
    """Content in memory as Source and Sink, with faults on request."""

    def __init__(self, where: str = "registry.test/app") -> None:
        self.where = where
        self.blobs: dict[str, bytes] = {}
        self.tags: dict[str, tuple[str, str]] = {}
        self.fetched: list[tuple[str, int]] = []
        self.put_blobs: list[str] = []
        self.mounts: list[tuple[str, tuple[str, ...]]] = []
        self.mountable: dict[str, str] = {}
        self.cut: dict[str, int] = {}
        self.during: Callable[[str, int], None] = lambda digest, offset: None
        self._lock = threading.Lock()

    def add(self, data: bytes) -> Digest:
        digest = Digest.of(data)
        self.blobs[digest] = data
        return digest

    def add_image(
        self, tag: str, *layers: dict[str, bytes | None], platform: Platform | None = None,
        plain: bool = False,
    ) -> tuple[Manifest, ImageConfig]:  # fmt: skip
        """An image whose layers have these files, under `tag`."""
        config, descriptors = new_config(platform or Platform.host(), created="2024-01-01T00:00:00Z"), []
        for number, files in enumerate(layers):
            tar = make_tar(files)
            data = tar if plain else gzip.compress(tar, 1, mtime=0)
            self.add(data)
            descriptors.append(Descriptor.of(data, OCI_LAYER if plain else OCI_LAYER_GZIP))
            config = append_layer(config, Digest.of(tar), f"step {number}")
        manifest, config_data = make_manifest(config, descriptors)
        self.add(config_data)
        self.tag(tag, manifest.encode(), manifest.media_type)
        return manifest, config

    def tag(self, tag: str, data: bytes, media_type: str) -> Descriptor:
        digest = self.add(data)
        self.tags[tag] = self.tags[digest] = (digest, media_type)
        return Descriptor(media_type, digest, len(data))

    def resolve(self, reference: Reference) -> tuple[Descriptor, bytes]:
        if reference.target not in self.tags:
            raise NotFound(f"manifest for {reference.familiar} not found")
        digest, media_type = self.tags[reference.target]
        data = self.blobs[digest]
        return Descriptor(media_type, Digest(digest), len(data)), data

    @contextmanager
    def fetch(self, descriptor: Descriptor, offset: int = 0) -> Iterator[Fetch]:
        with self._lock:
            self.fetched.append((descriptor.digest, offset))
        if descriptor.digest not in self.blobs:
            raise NotFound(f"blob {descriptor.digest} not found")
        yield Fetch(self, descriptor.digest, offset)

    def has(self, descriptor: Descriptor) -> bool:
        return descriptor.digest in self.blobs

    def mount(self, descriptor: Descriptor, repositories: Sequence[str]) -> str | None:
        self.mounts.append((descriptor.digest, tuple(repositories)))
        origin = self.mountable.get(descriptor.digest)
        if origin not in repositories:
            return None
        self.blobs[descriptor.digest] = b"mounted"
        return origin

    def put(self, descriptor: Descriptor, opener: Callable[[], io.BufferedIOBase]) -> None:
        with opener() as content:
            data = b"".join(iter(lambda: content.read(1000), b""))
        assert hashlib.sha256(data).hexdigest() == descriptor.digest.hex
        assert len(data) == descriptor.size
        with self._lock:
            self.put_blobs.append(descriptor.digest)
            self.blobs[descriptor.digest] = data

    def put_manifest(self, target: str, data: bytes, media_type: str) -> None:
        self.tag(target, data, media_type)


class ListsReferrers:
    """What makes a registry list what refers to a manifest."""

    blobs: dict[str, bytes]
    tags: dict[str, tuple[str, str]]
    refuses = False

    def referrers(self, digest: Digest, artifact_type: str = "") -> tuple[Descriptor, ...]:
        if self.refuses:
            raise RegistryError("the registry is down")
        found = []
        for target, (each, media_type) in self.tags.items():
            document = parse_document(self.blobs[each], media_type)
            if target == each and document.subject is not None and document.subject.digest == digest:
                kind, notes = document.artifact_type, document.annotations
                found.append(Descriptor(media_type, Digest(each), len(self.blobs[each]), None, notes, kind))
        return tuple(entry for entry in found if artifact_type in ("", entry.artifact_type))


class Fetch:
    def __init__(self, registry: Registry, digest: str, offset: int) -> None:
        self.registry, self.digest, self.at = registry, digest, offset

    def read(self, size: int = -1, /) -> bytes:
        data = self.registry.blobs[self.digest]
        self.registry.during(self.digest, self.at)
        end = len(data) if size < 0 else self.at + size
        cut = self.registry.cut.get(self.digest, len(data))
        piece = data[self.at : min(end, cut)]
        if not piece and self.at < len(data):
            raise RegistryError("connection lost")
        self.at += len(piece)
        return piece
