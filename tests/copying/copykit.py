"""Images for the tests of copies, and what puts them into a sink."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

from tarkit import tar_of

from nacre.images.model.source import Sink
from nacre.words.digest import Digest
from nacre.words.oci import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
    Index,
    Manifest,
    Platform,
)


class Image:
    """An image of some layers; `plain` ones are not compressed."""

    def __init__(self, *texts: str, architecture: str = "amd64", plain: bool = False) -> None:
        tars = [tar_of(**{"file": text.encode() * 1000, f"only-{architecture}": b"x"}) for text in texts]
        self.layers = tars if plain else [gzip.compress(tar, 1, mtime=0) for tar in tars]
        rootfs = {"type": "layers", "diff_ids": [str(Digest.of(tar)) for tar in tars]}
        config = {"architecture": architecture, "os": "linux", "rootfs": rootfs, "config": {}}
        self.config = json.dumps(config).encode()
        kind = OCI_LAYER if plain else OCI_LAYER_GZIP
        self.manifest = Manifest(
            OCI_MANIFEST,
            Descriptor.of(self.config, OCI_CONFIG),
            tuple(Descriptor.of(layer, kind) for layer in self.layers),
        )
        self.data = self.manifest.encode()
        self.descriptor = Descriptor.of(self.data, OCI_MANIFEST).replace(
            platform=Platform("linux", architecture)
        )

    @property
    def blobs(self) -> dict[Descriptor, bytes]:
        pairs = zip(self.manifest.layers, self.layers, strict=True)
        return {**dict(pairs), self.manifest.config: self.config}

    def put(self, sink: Sink, target: str | None = None) -> None:
        """By digest without a target."""
        for descriptor, data in self.blobs.items():
            sink.put(descriptor, lambda data=data: io.BytesIO(data))  # type: ignore[misc]
        sink.put_manifest(self.descriptor.digest if target is None else target, self.data, OCI_MANIFEST)


def index_of(*images: Image) -> bytes:
    return Index(OCI_INDEX, tuple(image.descriptor for image in images)).encode()


def put_index(sink: Sink, target: str, *images: Image) -> Descriptor:
    for image in images:
        image.put(sink)
    data = index_of(*images)
    sink.put_manifest(target, data, OCI_INDEX)
    return Descriptor.of(data, OCI_INDEX)


def artifact(subject: Descriptor, content: bytes = b"signed", kind: str = "test/signature") -> Manifest:
    """A manifest that refers to `subject`."""
    return Manifest(
        OCI_MANIFEST,
        Descriptor.of(b"{}", "application/vnd.oci.empty.v1+json"),
        (Descriptor.of(content, "text/plain"),),
        subject=Descriptor(subject.media_type, subject.digest, subject.size),
        artifact_type=kind,
    )


def put_artifact(sink: Sink, manifest: Manifest, content: bytes = b"signed") -> Descriptor:
    for descriptor, data in ((manifest.config, b"{}"), (manifest.layers[0], content)):
        sink.put(descriptor, lambda data=data: io.BytesIO(data))  # type: ignore[misc]
    data = manifest.encode()
    sink.put_manifest(Digest.of(data), data, manifest.media_type)
    return Descriptor.of(data, manifest.media_type)


def docker_archive(path: Path, image: Image, *names: str) -> Path:
    """As docker before 25 wrote it: no index, layers as plain tars."""
    plain = [gzip.decompress(x) if x[:2] == b"\x1f\x8b" else x for x in image.layers]
    paths = [f"{number}/layer.tar" for number in range(len(plain))]
    rows = [{"Config": "config.json", "RepoTags": list(names), "Layers": paths}]
    files = {"config.json": image.config, "manifest.json": json.dumps(rows).encode()}
    path.write_bytes(tar_of(**files, **dict(zip(paths, plain, strict=True))))
    return path
