"""Push: store → sink.

Layers go first, then the config, then the manifest: a registry never sees a manifest without its parts.
"""

from __future__ import annotations

from ...ground.work.forkmap import AtFork, fork_map
from ...ground.work.threads import in_parallel
from ...words.digest import Digest
from ...words.oci import Descriptor, ImageConfig, Manifest
from ...words.progress import NullProgress, Progress
from ...words.value import Value
from ..layers.compressed import CompressedForms
from ..layers.division import processes_for
from ..layers.receive import image_manifest, remember_source, size_down
from ..layers.sender import SILENT, BlobSender, task_of
from ..model.schema import converted, put_in_form
from ..model.source import ForkSafe, TagAwareSink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from threading import Event

    from ...ground.work.budget import Budget
    from ...stores.store import Store
    from ...words.progress import Task
    from ..layers.compressed import Sources
    from ..layers.repack import Packing, Repacker
    from ..model.schema import Document
    from ..model.source import Content, Sink

_MAX_MOUNTS = 16


class PushResult(Value):
    """What a push did: the manifest's digest and size; bytes of blobs uploaded, mounted, there already."""

    digest: Digest
    size: int
    moved: int
    mounted: int
    existing: int


class Sending(Value):
    """How an image is sent.

    `packing` asks for layers compressed in another way, `form` (`words.oci.OCI` or `DOCKER`) for the other
    kind of manifest. `sources` give what was not kept in its compressed form. `budget` None: the store's.
    """

    packing: Packing | None = None
    form: str = ""
    sources: Sources | None = None
    budget: Budget | None = None


def push(
    store: Store, descriptor: Descriptor, sink: Sink, target: str, how: Sending | None = None,
    progress: Progress | None = None,
) -> PushResult:  # fmt: skip
    """Send the image of a manifest to `sink` under `target` (tag or digest).

    Only what the far side lacks is sent: a layer it has is skipped, one that another of its
    repositories is known to hold is mounted, one that was not kept in its compressed form is made again or
    passed through from another repository (`compressed.Forms`). The manifest is sent exactly as stored, last;
    unless `how` asks for another one or the registry refuses this kind: then it has another digest. Raises
    RegistryError, NotFound for a layer that is nowhere to be had in its form, and Unsupported for one that
    would get another digest.
    """
    how, progress = how or Sending(), progress or NullProgress()
    with store.leases.hold():
        data = store.blobs.read(descriptor.digest)
        manifest = image_manifest(data, descriptor)
        delivery = PushDelivery(store, sink, how.sources)
        tasks = {layer.digest: task_of(progress, layer.digest, "Preparing") for layer in manifest.layers}
        budget = how.budget or store.budget
        wanted = _formed(manifest, data, how.form if how.packing is None else "")[0]
        there = how.packing is None and isinstance(sink, TagAwareSink) and sink.holds(target, wanted)
        layers = LayersPush(delivery, manifest, how.packing)
        layers.send(tasks, budget.limited(processes=1) if there else budget)
        manifest, data = layers.after(data)
        delivery.send(manifest.config, SILENT)
        sent = _formed(manifest, data, how.form)
        if not there or delivery.gave:
            sent = put_in_form(sink, target, sent, how.form, progress)
        digest = sent[0].digest
        if "/" in sink.where:
            store.refs.add_digest(sink.where, digest, descriptor.digest)
    tally = delivery.tally
    return PushResult(digest, sent[0].size, tally["moved"], tally["mounted"], tally["existing"])


def _formed(manifest: Manifest, data: bytes, form: str) -> Document:
    document = Descriptor.of(data, manifest.media_type), data
    return converted(document, form) if form else document


class LayersPush:
    """The layers of one push, each compressed in another way before if `packing` says so."""

    def __init__(
        self, delivery: PushDelivery, manifest: Manifest, packing: Packing | None,
        diff_ids: Sequence[Digest] = (),
    ) -> None:  # fmt: skip
        """`diff_ids` are those of the layers; () reads them in the image config."""
        self._delivery, self._store = delivery, delivery.store
        self._manifest, self._packing = manifest, packing
        self._layers = sorted({layer.digest: layer for layer in manifest.layers}.values(), key=size_down)
        self._made: dict[Digest, Descriptor] = {}
        self._repacker: Repacker | None = None
        if packing is not None:
            self._prepare(packing, diff_ids)

    def _prepare(self, packing: Packing, diff_ids: Sequence[Digest]) -> None:
        from ..layers.repack import Repacker

        if not diff_ids:
            diff_ids = ImageConfig.parse(self._store.blobs.read(self._manifest.config.digest)).diff_ids
        pairs = zip(self._manifest.layers, diff_ids, strict=True)
        self._diff_ids = {layer.digest: diff_id for layer, diff_id in pairs}
        delivery = self._delivery
        self._repacker = Repacker(self._store, packing, delivery.sink, delivery.forms, self._manifest)

    def send(self, tasks: Mapping[Digest, Task], budget: Budget) -> None:
        """Send them side by side."""
        sink, processes = self._delivery.sink, self._processes(budget)
        lines = [tasks[layer.digest] for layer in self._layers]
        try:
            if isinstance(sink, ForkSafe) and processes > 1:
                at_fork = AtFork(self._store.rest, sink.forked, self._tidy)
                for found in fork_map(self._one, lines, budget.limited(processes=processes), at_fork):
                    self._note(*found)
            else:
                numbers = range(len(lines))
                in_parallel(
                    lambda n, stop: self._note(*self._one(n, lines[n], stop)), numbers, budget.transfers
                )
        finally:
            self._tidy()

    def _processes(self, budget: Budget) -> int:
        """The far side is asked what it has only where that could make a difference."""
        sink = self._delivery.sink
        if processes_for(sink, [layer.size for layer in self._layers], budget) == 1:
            return 1
        return processes_for(sink, [layer.size for layer in self._lacking(budget.transfers)], budget)

    def _lacking(self, at_once: int) -> list[Descriptor]:
        """Those that must be compressed or sent, as far as that can be said now."""
        if self._packing is not None:
            return self._layers
        lacking: list[Descriptor] = []

        def ask(layer: Descriptor, _stop: Event) -> None:
            if not self._delivery.sink.has(layer):
                lacking.append(layer)

        in_parallel(ask, self._layers, at_once)
        return sorted(lacking, key=size_down)

    def _one(self, number: int, task: Task, stop: Event) -> tuple[Digest, Descriptor, str]:
        """The layer, the form it was sent in, and what became of it."""
        layer = packed = self._layers[number]
        if self._repacker is not None:
            packed = self._repacker.layer(layer, self._diff_ids[layer.digest], task, stop)
        return layer.digest, packed, self._delivery.sent(packed, task, stop)

    def _note(self, layer: Digest, packed: Descriptor, kind: str) -> None:
        self._made[layer] = packed
        self._delivery.tally.add(kind, packed.size)

    def _tidy(self) -> None:
        if self._repacker is not None:
            self._repacker.tidy()

    def after(self, data: bytes) -> tuple[Manifest, bytes]:
        """The manifest of what was sent, with its bytes; `data` are those of the old one."""
        if self._packing is None:
            return self._manifest, data
        from ..layers.repack import manifest_of

        after = manifest_of(self._manifest, self._packing, self._made)
        return after, data if after == self._manifest else after.encode()


class PushDelivery(BlobSender):
    """Blobs of one push, and where they came from."""

    def __init__(self, store: Store, sink: Sink, sources: Sources | None) -> None:
        super().__init__(sink)
        self.store, self.forms = store, CompressedForms(store, sources, sink.where)
        self._refused: dict[Digest, list[str]] = {}

    def opened(self, blob: Descriptor) -> Content:
        """In the form that the manifest names."""
        return self.forms.open(blob)

    def learn(self, digest: Digest) -> None:
        """Now the sink has it. Who refused a mount is forgotten only here: the bytes may come from there."""
        for where in self._refused.pop(digest, ()):
            self.store.layers.drop_source(digest, where)
        remember_source(self.store, digest, self.sink.where)

    @property
    def gave(self) -> bool:
        """Whether the sink lacked anything."""
        return bool(self.tally["moved"] or self.tally["mounted"])

    def mount(self, blob: Descriptor) -> str | None:
        """Those repositories that turn out not to have it are noted."""
        registry = self.sink.where.partition("/")[0] + "/"
        known = self.store.layers.sources(blob.digest)
        known = [where for where in known if where != self.sink.where and where.startswith(registry)]
        known = known[:_MAX_MOUNTS]
        origin = self.sink.mount(blob, known) if known else None
        self._refused[blob.digest] = known[: known.index(origin)] if origin in known else known
        return origin
