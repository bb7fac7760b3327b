"""Build caches that travel: steps and their layers to a sink, and what they are at a source.

Layers go first, then the document, then the manifest, as with a push. What is read back is verified by
digest, but that a key stands for a layer is what the writer of the cache says.
"""

from __future__ import annotations

from io import BytesIO

from ...grammars import buildcache
from ...words.digest import Digest
from ...words.errors import NotFound, TooLarge
from ...words.oci import MAX_DOCUMENT, Descriptor, Manifest, parse_document
from ...words.value import Value
from ..layers.compressed import Fetched, is_here
from ..layers.receive import fetch_small, remember_source, take_layers
from ..layers.sender import SILENT, task_of
from ..model.source import ForkSafe, TagAwareSink
from .pull import choose
from .push import LayersPush, PushDelivery, Sending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...grammars.buildcache import CachedStep
    from ...ground.work.budget import Budget
    from ...stores.store import Store
    from ...words.oci import Platform
    from ...words.progress import Progress
    from ...words.reference import Reference
    from ..model.source import Content, Sink, Source


class CacheImport:
    """A cache that was found: its steps by key, and the source that gives their layers."""

    def __init__(self, name: str, source: Source, steps: Sequence[CachedStep]) -> None:
        self.name, self.source = name, source
        held_last = sorted(steps, key=lambda step: not step.is_absent)
        self.steps: Mapping[str, CachedStep] = {step.key: step for step in held_last}

    def forked(self) -> None:
        """This is a fork, in its only thread, and uses the source from now on."""
        if isinstance(self.source, ForkSafe):
            self.source.forked()

    def bring(
        self, store: Store, layers: Sequence[tuple[Descriptor, Digest]], progress: Progress, budget: Budget
    ) -> None:
        """Bring layers into the store, side by side. Raises as `pull`."""
        rows = {layer.digest: (layer, diff_id) for layer, diff_id in layers}
        take_layers(self.source, store, rows, progress, budget)


def load(
    name: str, source: Source, reference: Reference, platforms: Sequence[Platform | None]
) -> CacheImport:
    """The cache that `reference` names: of an index those for `platforms`, as far as it has them.

    Raises NotFound, RegistryError, ContentError; Unsupported for what is no cache of nacre.
    """
    top, data = source.resolve(reference)
    chosen, missing = {}, None
    for platform in platforms:
        try:
            descriptor, document = choose(source, None, reference, top, data, platform)
            chosen[descriptor.digest] = document
        except NotFound as error:
            missing = error
    if not chosen and missing:
        raise missing
    steps = [step for document in chosen.values() for step in _steps(source, document)]
    return CacheImport(name, source, steps)


def _steps(source: Source, document: bytes) -> list[CachedStep]:
    manifest = parse_document(document)
    assert isinstance(manifest, Manifest)
    if manifest.config.size > MAX_DOCUMENT:
        raise TooLarge(f"its config has {manifest.config.size} bytes, more than the {MAX_DOCUMENT} allowed")
    return buildcache.decode(manifest, fetch_small(source, manifest.config, "build cache"))


class Exported(Value):
    """What an export did: the digest of the manifest, and bytes of layers uploaded, mounted, there already.

    `unchanged`: the name meant just this before, and nothing was asked for but that.
    """

    digest: Digest
    moved: int = 0
    mounted: int = 0
    existing: int = 0
    unchanged: bool = False


class CacheSending(Sending):
    """As for an image; `elsewhere` are layers that are not in the store, and where they are."""

    elsewhere: tuple[tuple[Digest, Source], ...] = ()


def export(
    store: Store, steps: Sequence[CachedStep], sink: Sink, target: str, how: CacheSending, progress: Progress
) -> Exported:
    """Send steps and those of their layers that the far side lacks; `target` is a tag or a name.

    Raises as `push`.
    """
    with store.leases.hold():
        manifest, config, diff_ids = buildcache.encode(steps)
        data = manifest.encode()
        if _is_there(sink, target, Descriptor.of(data, manifest.media_type), how):
            return Exported(Digest.of(data), unchanged=True)
        delivery = CacheDelivery(store, sink, how, config)
        layers = LayersPush(delivery, manifest, how.packing, diff_ids)
        tasks = {layer.digest: task_of(progress, layer.digest, "Preparing") for layer in manifest.layers}
        budget = how.budget or store.budget
        layers.send(tasks, budget.limited(processes=1) if how.elsewhere else budget)
        tally = delivery.tally
        moved, mounted, existing = tally["moved"], tally["mounted"], tally["existing"]
        manifest, data = layers.after(data)
        delivery.send(manifest.config, SILENT)
        sink.put_manifest(target, data, manifest.media_type)
    return Exported(Digest.of(data), moved, mounted, existing)


def send_layer(store: Store, layer: Descriptor, sink: Sink, how: CacheSending) -> None:
    """Send a layer before the cache that will name it, if the far side lacks it. Raises as `push`."""
    with store.leases.hold():
        CacheDelivery(store, sink, how, b"").send(layer, SILENT)


def _is_there(sink: Sink, target: str, wanted: Descriptor, how: Sending) -> bool:
    return how.packing is None and isinstance(sink, TagAwareSink) and sink.holds(target, wanted)


class CacheDelivery(PushDelivery):
    """Blobs of one export; those that are not in the store pass through from where they are."""

    def __init__(self, store: Store, sink: Sink, how: CacheSending, config: bytes) -> None:
        super().__init__(store, sink, how.sources)
        self._elsewhere, self._config = dict(how.elsewhere), config
        for digest, source in how.elsewhere:
            remember_source(store, digest, source.where)

    def opened(self, blob: Descriptor) -> Content:
        """In the form that the manifest names."""
        if blob.media_type == buildcache.CONFIG:
            return BytesIO(self._config)
        source = self._elsewhere.get(blob.digest)
        if source is not None and not is_here(self.store, blob):
            return Fetched(blob, source)
        return super().opened(blob)
