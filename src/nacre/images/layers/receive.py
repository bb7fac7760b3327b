"""Receives an image from a source: config, layers in parallel, then the manifest, without a name."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Protocol

from ...ground.work.forkmap import AtFork, fork_map
from ...ground.work.threads import Worker, paced, running
from ...words.digest import Digest, Verifier
from ...words.errors import ContentError, NotFound, TooLarge, Unsupported
from ...words.oci import MAX_DOCUMENT, Descriptor, ImageConfig, Manifest, parse_document
from ...words.progress import Progress
from ..model.image import Image, check_image, check_layers
from ..model.source import ConditionalSource, ForkSafe
from .division import processes_for
from .ingest import ingest_layer
from .job import LayerJob
from .sender import TransferTotals, task_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from threading import Event

    from ...ground.work.budget import Budget
    from ...stores.store import Store
    from ...words.progress import Task
    from ..model.schema import Document
    from ..model.source import Source

    Row = tuple[Descriptor, Digest]


def take(
    source: Source, store: Store, document: Document, progress: Progress, budget: Budget,
    first: LayingSteps | None = None,
) -> tuple[Image, int]:  # fmt: skip
    """Bring in the image of a manifest without naming it, and make it known; also the bytes fetched.

    The caller holds a lease. `first` sees the image and its layers before any is fetched. Raises as `pull`.
    """
    descriptor, data = document
    manifest = image_manifest(data, descriptor)
    with _asking(first, descriptor, manifest):
        config_moved, config = _config(source, store, manifest)
    check_layers(manifest, config)
    rows = _rows(manifest, config)
    if first is not None:
        lines = [(row, task_of(progress, row[0].digest, "")) for row in rows.values()]
        first.prepare([LayerJob(store, *row, source, task) for row, task in lines])
    moved = config_moved + take_layers(source, store, rows, progress, budget)
    store.blobs.add(data, descriptor.digest)
    store.refs.remember(descriptor)
    remember_source(store, manifest.config.digest, source.where)
    return Image(store, descriptor, manifest, config), moved


class LayingSteps(Protocol):
    """What comes before the layers of an image are fetched."""

    def ask(self, image: Descriptor, manifest: Manifest) -> object:
        """In another thread while the config comes: what else takes round trips. Raises no NacreError."""

    def prepare(self, jobs: Sequence[LayerJob]) -> object:
        """The layers are known; those that are here afterwards are not fetched."""


@contextmanager
def _asking(first: LayingSteps | None, image: Descriptor, manifest: Manifest) -> Iterator[None]:
    if first is None:
        yield
        return
    asking = first.ask
    with running([Worker(lambda: asking(image, manifest))], ()):
        yield


def image_manifest(data: bytes, descriptor: Descriptor) -> Manifest:
    """The manifest in these bytes. Raises InvalidDocument; Unsupported for what is no image."""
    document = parse_document(data, descriptor.media_type)
    if not isinstance(document, Manifest):
        raise Unsupported(f"{descriptor.digest} has too many levels of indexes")
    check_image(document)
    return document


def _config(source: Source, store: Store, manifest: Manifest) -> tuple[int, ImageConfig]:
    """The config, fetched if need be, with the bytes fetched. It names the diff ids, so it comes first."""
    descriptor = manifest.config
    if descriptor.size > MAX_DOCUMENT:
        raise TooLarge(f"image config has {descriptor.size} bytes, more than the {MAX_DOCUMENT} allowed")
    moved = 0
    try:
        data = store.blobs.read(descriptor.digest)
    except (NotFound, ContentError):
        moved, data = fetch_once(source, store, descriptor, "image config")
    config = ImageConfig.parse(data)
    store.blobs.add(data, descriptor.digest)
    return moved, config


def fetch_once(source: Source, store: Store, descriptor: Descriptor, what: str) -> tuple[int, bytes]:
    """A small blob that others may want at the same time: one of them fetches it. Also the bytes fetched."""
    with store.blobs.ingest(descriptor.digest, descriptor.size) as ingest:
        if ingest.exists:
            return 0, store.blobs.read(descriptor.digest)
        data = fetch_small(source, descriptor, what)
        ingest.restart()
        ingest.write(data)
        ingest.commit()
    return len(data), data


def fetch_small(source: Source, descriptor: Descriptor, what: str) -> bytes:
    """A small blob, verified. Raises DigestMismatch, TooLarge, RegistryError."""
    verifier, parts = Verifier(descriptor.digest, descriptor.size, what), []
    with source.fetch(descriptor) as reader:
        while data := reader.read(1 << 16):
            verifier.update(data)
            parts.append(data)
    verifier.verify()
    return b"".join(parts)


def take_layers(
    source: Source, store: Store, rows: dict[Digest, Row], progress: Progress, budget: Budget
) -> int:
    """Bring all layers in side by side; the bytes fetched. None is left to run alone at the end."""
    tally = TransferTotals()
    by_digest = {digest: task_of(progress, digest, "Pulling fs layer") for digest in rows}
    largest = sorted(rows.values(), key=lambda row: size_down(row[0]))
    tasks = [by_digest[layer.digest] for layer, _ in largest]

    def bring(number: int, task: Task, stop: Event) -> int:
        row = largest[number]
        try:
            done = ingest_layer(LayerJob(store, *row, source, task, stop))
        except ContentError:
            if not isinstance(source, ConditionalSource) or not source.doubt(row[0].digest):
                raise
            return bring(number, task, stop)
        remember_source(store, row[0].digest, source.where)
        return done.moved

    processes = processes_for(source, _missing(store, largest), budget)
    if isinstance(source, ForkSafe) and processes > 1:
        at_fork = AtFork(store.rest, source.forked)
        return sum(fork_map(bring, tasks, budget.limited(processes=processes), at_fork))

    def here(number: int, stop: Event) -> None:
        tally.add("moved", bring(number, tasks[number], stop))

    paced(here, range(len(tasks)), budget)
    return tally["moved"]


def _rows(manifest: Manifest, config: ImageConfig) -> dict[Digest, Row]:
    """Each layer once, in order, with its diff id."""
    return {row[0].digest: row for row in zip(manifest.layers, config.diff_ids, strict=True)}


def _missing(store: Store, rows: Sequence[Row]) -> list[int]:
    """Compressed sizes of the layers that are not here, in order."""
    missing = set(store.trees.missing([diff_id for _, diff_id in rows]))
    return [layer.size for layer, diff_id in rows if diff_id in missing]


def size_down(layer: Descriptor) -> int:
    """For sorting: the largest first."""
    return -layer.size


def remember_source(store: Store, digest: Digest, where: str) -> None:
    """Note the repository for cross-repository mounts; a `where` without a registry is none."""
    if "/" in where:
        store.layers.add_source(digest, where)
