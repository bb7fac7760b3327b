"""The layers of an image in another compression: the same tars, other blobs, another manifest.

A layer that is in the wanted form stays as it is. What was compressed for one push is remembered by diff id
and recipe, so a second push finds everything there and moves nothing.
"""

from __future__ import annotations

from ...grammars.codecs.pack import pack
from ...grammars.codecs.recipe import recipe
from ...grammars.codecs.stream import check_level, decompress, media_codec
from ...ground.work.pipe import Stopped
from ...words.digest import Digest, Verifier
from ...words.oci import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
)
from ...words.value import Value
from .compressed import is_here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from threading import Event

    from ...stores.store import Store
    from ...words.progress import Task
    from ..model.source import Content, Sink
    from .compressed import CompressedForms

_CHUNKED = "zstd:chunked"
_TYPES = {"gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD, _CHUNKED: OCI_LAYER_ZSTD, "none": OCI_LAYER}
_DOCKER_TYPES = {"gzip": DOCKER_LAYER_GZIP, "none": DOCKER_LAYER}
_LAYERS = frozenset((*_TYPES.values(), *_DOCKER_TYPES.values()))


class Packing(Value):
    """How layers are to be compressed. `force`: also those that are in this form already, anew.

    Raises UsageError for a level that the codec has not, Unsupported for an unknown codec.
    """

    codec: str
    level: int | None = None
    force: bool = False

    def _check(self) -> None:
        check_level(self.codec, self.level)


def form(layer: Descriptor) -> str:
    """What a descriptor says that its layer is: gzip, zstd, zstd:chunked, none; "" if no layer of files."""
    from ...grammars.chunked.toc import announced

    if layer.media_type not in _LAYERS:
        return ""
    codec = media_codec(layer.media_type) or "none"
    return _CHUNKED if codec == "zstd" and announced(layer) else codec


class Repacker:
    """Layers of one push. Safe for threads."""

    def __init__(
        self, store: Store, packing: Packing, sink: Sink, forms: CompressedForms, manifest: Manifest
    ) -> None:
        """`forms` gives layers that are not here in a file."""
        self._store, self._packing, self._sink, self._forms = store, packing, sink, forms
        self._made: list[tuple[Digest, Digest]] = []
        docker = manifest.media_type == DOCKER_MANIFEST and packing.codec in _DOCKER_TYPES
        self._types = _DOCKER_TYPES if docker else _TYPES

    def layer(self, layer: Descriptor, diff_id: Digest, task: Task, stop: Event | None = None) -> Descriptor:
        """The layer in the wanted form, its blob in the store or at the sink.

        Raises NotFound when the layer is nowhere to be had, DigestMismatch, Stopped, StoreError.
        """
        there = form(layer)
        if not there or (there == self._packing.codec and not self._packing.force):
            kind = self._types.get(there, layer.media_type)
            return layer.replace(media_type=kind)
        name = recipe(self._packing.codec, self._packing.level)
        known = self._store.layers.packed(diff_id, name)
        if known is not None and (is_here(self._store, known) or self._sink.has(known)):
            return known.replace(media_type=self._types[self._packing.codec])
        made = self._make(layer, diff_id, name, task, stop)
        self._store.layers.remember_packed(diff_id, name, made)
        return made

    def tidy(self) -> None:
        """Drop the blobs that were made for this push and can be made again of their trees."""
        for digest, diff_id in self._made:
            if self._store.trees.can_tar(diff_id):
                self._store.blobs.delete(digest)

    def _make(
        self, layer: Descriptor, diff_id: Digest, name: str, task: Task, stop: Event | None
    ) -> Descriptor:
        verifier = Verifier(diff_id, what=f"layer {layer.digest.short}")
        with self._store.blobs.ingest() as ingest:
            with _tar(self._store, self._forms, layer, diff_id) as content:
                size = self._store.trees.rows.size(diff_id) if content.plain else layer.size
                task.phase("Compressing", size)
                reader = _WatchedTar(content, verifier, task, stop)
                notes = pack(
                    reader, ingest.write, self._packing.codec, self._store.budget, self._packing.level
                )
            verifier.verify()
            digest, size = ingest.commit(), ingest.offset
        kind = self._types[self._packing.codec]
        if self._store.layers.recipe(digest) is None:  # else it was somebody's before
            self._made.append((digest, diff_id))
        self._store.layers.record(digest, diff_id, kind, size, name)
        return Descriptor(kind, digest, size, annotations=tuple(sorted(notes.items())))


def manifest_of(old: Manifest, packing: Packing, layers: Mapping[Digest, Descriptor]) -> Manifest:
    """The manifest with the layers that took the places of the old ones.

    zstd is unknown to docker's own manifest, so such an image becomes one of OCI's kind.
    """
    changed = old.replace(layers=tuple(layers[layer.digest] for layer in old.layers))
    if old.media_type != DOCKER_MANIFEST or packing.codec in _DOCKER_TYPES:
        return changed
    config = old.config
    if config.media_type == DOCKER_CONFIG:
        config = config.replace(media_type=OCI_CONFIG)
    return changed.replace(media_type=OCI_MANIFEST, config=config)


class _LayerTar:
    """The uncompressed layer; `with` it. `plain`: it comes as it lies in the store."""

    def __init__(self, file: Content, plain: bool) -> None:
        self._file, self.plain = file, plain
        self.taken = 0
        """Bytes that were read of the form that is here."""
        self._tar = None if plain else decompress(_Taking(self))

    def read(self, size: int, /) -> bytes:
        return self._tar.read(size) if self._tar is not None else self.take(size)

    def take(self, size: int) -> bytes:
        """The next bytes of the form that is here."""
        data = self._file.read(size)
        self.taken += len(data)
        return data

    def __enter__(self) -> _LayerTar:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._file.close()


class _Taking:
    """What a decompressor reads."""

    def __init__(self, tar: _LayerTar) -> None:
        self._tar = tar

    def read(self, size: int, /) -> bytes:
        return self._tar.take(size)


def _tar(store: Store, forms: CompressedForms, layer: Descriptor, diff_id: Digest) -> _LayerTar:
    if store.trees.can_tar(diff_id):
        return _LayerTar(store.trees.tar(diff_id), True)
    for blob in store.layers.blobs_of(diff_id):  # kept as files: then only a blob gives the tar
        if store.blobs.has(blob.digest):
            return _LayerTar(store.blobs.open(blob.digest), False)
    return _LayerTar(forms.open(layer), False)


class _WatchedTar:
    """A tar on its way: verified, counted, and ended when told to stop."""

    def __init__(self, content: _LayerTar, verifier: Verifier, task: Task, stop: Event | None) -> None:
        self._content, self._verifier, self._task, self._stop = content, verifier, task, stop
        self._at = 0

    def read(self, size: int, /) -> bytes:
        if self._stop is not None and self._stop.is_set():
            raise Stopped("the push was stopped")
        data = self._content.read(size)
        self._verifier.update(data)
        at = self._content.taken
        self._task.advance(at - self._at)
        self._at = at
        return data
