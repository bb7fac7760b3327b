"""Pull and push: source → store, store → sink.

A pull sets the name last, so whoever asks for it finds the old image or the whole new one. A push
sends layers, then the config, then the manifest: a registry never sees a manifest without its parts.
"""

from __future__ import annotations

from ..words.digest import Digest, Verifier
from ..words.errors import ContentError, InvalidDocument, NotFound, TooLarge, Unsupported
from ..words.oci import (
    MAX_DOCUMENT,
    Descriptor,
    ImageConfig,
    Manifest,
    Platform,
    parse_document,
)
from ..words.processors import processors
from ..words.progress import NullProgress, Progress
from ..words.value import Value
from .compressed import Forms
from .delivery import SILENT, Delivery, Tally, distinct, task_of
from .helping import ALONE, divided, share
from .image import Image, by_name, check_image, check_layers
from .layers import ingest_layer
from .pipes import side_by_side
from .platforms import select
from .schema import converted, put_in_form
from .source import Careful, Divisible, Knowing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from threading import Event

    from ..stores.store import Store
    from ..words.progress import Task
    from ..words.reference import Reference
    from .compressed import Sources
    from .repack import Packing, Repacker
    from .schema import Document
    from .source import Content, Sink, Source

    Row = tuple[Descriptor, Digest]

MAX_LAYERS_AT_ONCE = 8
_MAX_INDEX_DEPTH = 4
_MAX_MOUNTS = 16


class PullResult(Value):
    """What a pull did.

    `digest` is that of what the name resolved to (an index, if it is one). `moved` and `reused` are
    bytes of config and layers, compressed: fetched, and not fetched since the store had them.
    `changed` is False when the name meant this image before.
    """

    image: Image
    digest: Digest
    moved: int
    reused: int
    changed: bool

    @property
    def status(self) -> str:
        """Docker's words: `Downloaded newer image` or `Image is up to date`."""
        return "Downloaded newer image" if self.changed else "Image is up to date"


class PushResult(Value):
    """What a push did: the manifest's digest and size; bytes of blobs uploaded, mounted, there already."""

    digest: Digest
    size: int
    moved: int
    mounted: int
    existing: int


def pull(
    source: Source, reference: Reference, store: Store, *,
    platform: Platform | None = None, progress: Progress | None = None, at_once: int = 0, forks: bool = False,
) -> PullResult:  # fmt: skip
    """Bring the image that `reference` names at `source` into the store and give it that name.

    Of an index the entry for `platform` (None: this machine) is taken. Layers come side by side,
    `at_once` of them (0: the usual number), with `forks` in several processes where that pays and this one
    has no other thread; what the store has is not fetched. Interrupted or failed, the
    name is as before and partial blobs wait for the next try. Raises NotFound, RegistryError, ContentError,
    Unsupported, StoreError.
    """
    progress = progress or NullProgress()
    progress.line(f"{reference.target}: Pulling from {reference.repository}")
    return bring(source, reference, store, reference, platform, progress, at_once, forks=forks)


def bring(
    source: Source, reference: Reference, store: Store, name: Reference, platform: Platform | None,
    progress: Progress, at_once: int = 0, *, forks: bool = False,
) -> PullResult:  # fmt: skip
    """As `pull`, under another name perhaps."""
    with store.leases.hold():
        top, data = _top(source, store, reference)
        descriptor, manifest_data = choose(source, store, reference, top, data, platform)
        image, moved = take(source, store, descriptor, manifest_data, progress, at_once, forks=forks)
        if descriptor.digest != top.digest:
            store.blobs.add(data, top.digest)  # so that the next pull need only ask whether it changed
        changed = _name(store, name, descriptor)
        if "/" in source.where:
            store.refs.add_digest(source.where, top.digest, descriptor.digest)
    manifest = image.manifest
    total = sum(size for _, size in distinct((manifest.config, *manifest.layers)))
    return PullResult(image, top.digest, moved, max(0, total - moved), changed)


def _top(source: Source, store: Store, reference: Reference) -> tuple[Descriptor, bytes]:
    """What the name means there; for a name that the store knows, a source may ask without moving it."""
    if not isinstance(source, Careful) or by_name(store, reference) is None:
        return source.resolve(reference)

    data = _stored(store, reference.digest) if reference.digest else None
    if reference.digest and data is not None:  # a digest means the same everywhere and for ever
        return Descriptor(parse_document(data).media_type, reference.digest, len(data)), data
    return source.resolve(reference, lambda digest: _stored(store, digest))


def _stored(store: Store, digest: Digest) -> bytes | None:
    """A document that the store has, whole."""
    try:
        return store.blobs.read(digest)
    except (NotFound, ContentError):
        return None


def take(
    source: Source, store: Store, descriptor: Descriptor, data: bytes, progress: Progress, at_once: int = 0,
    *, forks: bool = False,
) -> tuple[Image, int]:  # fmt: skip
    """Bring in the image of a manifest without naming it, and make it known; also the bytes fetched.

    `data` are the manifest's bytes. The caller holds a lease. Raises as `pull`.
    """
    manifest = _image_manifest(data, descriptor)
    at_once = at_once or MAX_LAYERS_AT_ONCE
    config_moved, config = _config(source, store, manifest)
    check_layers(manifest, config)
    moved = config_moved + _layers(source, store, manifest, config, progress, at_once, forks)
    store.blobs.add(data, descriptor.digest)
    store.refs.remember(descriptor)
    _remember_source(store, manifest.config.digest, source.where)
    return Image(store, descriptor, manifest, config), moved


def _name(store: Store, reference: Reference, descriptor: Descriptor) -> bool:
    """Set the name; False if it meant this before. With a digest the tag counts for nothing, as docker."""
    before = by_name(store, reference)
    if reference.digest is not None:
        reference = reference.replace(tag="", digest=reference.digest)
    store.refs.set(str(reference), descriptor)
    return before is None or before.digest != descriptor.digest


def _image_manifest(data: bytes, descriptor: Descriptor) -> Manifest:
    document = parse_document(data, descriptor.media_type)
    if not isinstance(document, Manifest):
        raise Unsupported(f"{descriptor.digest} is an index of indexes deeper than {_MAX_INDEX_DEPTH}")
    check_image(document)
    return document


def choose(
    source: Source, store: Store | None, reference: Reference, top: Descriptor, data: bytes,
    platform: Platform | None,
) -> tuple[Descriptor, bytes]:  # fmt: skip
    """From what a name resolved to, down to the manifest of one platform: its descriptor and bytes.

    Entries of an index come from `store` where it has them.
    """
    descriptor = top
    for _ in range(_MAX_INDEX_DEPTH):
        document = parse_document(data, descriptor.media_type)
        if isinstance(document, Manifest):
            break
        descriptor = select(document, platform, reference.familiar)
        data = _document(source, store, reference, descriptor)
    return Descriptor(document.media_type, descriptor.digest, len(data)), data


def _document(source: Source, store: Store | None, reference: Reference, descriptor: Descriptor) -> bytes:
    """An entry of an index: from the store if it is there, else by digest from the source."""
    data = _stored(store, descriptor.digest) if store else None
    if data is None:
        _, data = source.resolve(reference.replace(tag="", digest=descriptor.digest))
    if len(data) != descriptor.size:
        raise InvalidDocument(f"manifest {descriptor.digest} has {len(data)} bytes, not {descriptor.size}")
    return data


def _config(source: Source, store: Store, manifest: Manifest) -> tuple[int, ImageConfig]:
    """The config, fetched if need be, with the bytes fetched. It names the diff ids, so it comes first."""
    descriptor = manifest.config
    if descriptor.size > MAX_DOCUMENT:
        raise TooLarge(f"image config has {descriptor.size} bytes, more than the {MAX_DOCUMENT} allowed")
    moved = 0
    try:
        data = store.blobs.read(descriptor.digest)
    except (NotFound, ContentError):
        moved, data = _once(source, store, descriptor, "image config")
    config = ImageConfig.parse(data)
    store.blobs.add(data, descriptor.digest)
    return moved, config


def _once(source: Source, store: Store, descriptor: Descriptor, what: str) -> tuple[int, bytes]:
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


def _layers(
    source: Source, store: Store, manifest: Manifest, config: ImageConfig, progress: Progress, at_once: int,
    forks: bool,
) -> int:  # fmt: skip
    """Bring all layers in side by side; the bytes fetched. None is left to run alone at the end."""
    tally = Tally()
    pairs = zip(manifest.layers, config.diff_ids, strict=True)
    rows = sorted({p[0].digest: p for p in pairs}.values(), key=lambda row: _size_down(row[0]))
    digests = dict.fromkeys(layer.digest for layer in manifest.layers)
    tasks = {digest: task_of(progress, digest, "Pulling fs layer") for digest in digests}

    def bring(row: Row, task: Task, stop: Event) -> int:
        try:
            done = ingest_layer(store, *row, source, task, stop)
        except ContentError:
            if not isinstance(source, Careful) or not source.doubt(row[0].digest):
                raise
            return bring(row, task, stop)
        _remember_source(store, row[0].digest, source.where)
        return done.moved

    parts = share(source, _missing(store, rows), at_once) if forks else ALONE
    if isinstance(source, Divisible) and parts.processes > 1:
        lines = [tasks[layer.digest] for layer, _ in rows]
        return sum(divided(store, source, lines, lambda n, task, stop: bring(rows[n], task, stop), parts))

    def alone(row: Row, stop: Event) -> None:
        tally.add("moved", bring(row, tasks[row[0].digest], stop))

    side_by_side(alone, rows, at_once, processors() + 1)
    return tally["moved"]


def _missing(store: Store, rows: Sequence[Row]) -> list[int]:
    """Compressed sizes of the layers that are not here, in order."""
    missing = set(store.trees.missing([diff_id for _, diff_id in rows]))
    return [layer.size for layer, diff_id in rows if diff_id in missing]


def _size_down(layer: Descriptor) -> int:
    return -layer.size


def _remember_source(store: Store, digest: Digest, where: str) -> None:
    """Note the repository for cross-repository mounts; a `where` without a registry is none."""
    if "/" in where:
        store.layers.add_source(digest, where)


def push(
    store: Store, descriptor: Descriptor, sink: Sink, target: str, *, progress: Progress | None = None,
    sources: Sources | None = None, at_once: int = 0, packing: Packing | None = None, forks: bool = False,
    form: str = "",
) -> PushResult:  # fmt: skip
    """Send the image of a manifest to `sink` under `target` (tag or digest).

    Only what the far side lacks is sent: a layer it has is skipped, one that another of its
    repositories is known to hold is mounted, one that was not kept in its compressed form is made again or
    passed through from a repository that `sources` gives (`compressed.Forms`). The manifest is sent exactly
    as stored, last; unless `packing` asks for layers compressed in another way, `form` (`schema.OCI` or
    `DOCKER`) for the other kind of manifest, or the registry refuses this kind: then it is another one, with
    another digest. `forks` as for `pull`. Raises RegistryError, NotFound for a layer that is nowhere to be
    had in its form, and Unsupported for one that would get another digest.
    """
    progress = progress or NullProgress()
    with store.leases.hold():
        data = store.blobs.read(descriptor.digest)
        manifest = _image_manifest(data, descriptor)
        delivery = _Delivery(store, sink, sources)
        tasks = {layer.digest: task_of(progress, layer.digest, "Preparing") for layer in manifest.layers}
        at_once = at_once or MAX_LAYERS_AT_ONCE
        wanted = _formed(manifest, data, form if packing is None else "")[0]
        there = packing is None and isinstance(sink, Knowing) and sink.holds(target, wanted)
        sending = _Sending(delivery, manifest, packing)
        sending.all(tasks, at_once, forks and not there)
        manifest, data = sending.after(data)
        delivery.send(manifest.config, SILENT)
        sent = _formed(manifest, data, form)
        if not there or delivery.gave:
            sent = put_in_form(sink, target, sent, form, progress)
        digest = sent[0].digest
        if "/" in sink.where:
            store.refs.add_digest(sink.where, digest, descriptor.digest)
    tally = delivery.tally
    return PushResult(digest, sent[0].size, tally["moved"], tally["mounted"], tally["existing"])


def _formed(manifest: Manifest, data: bytes, form: str) -> Document:
    document = Descriptor.of(data, manifest.media_type), data
    return converted(document, form) if form else document


class _Sending:
    """The layers of one push, each compressed in another way before if `packing` says so."""

    def __init__(self, delivery: _Delivery, manifest: Manifest, packing: Packing | None) -> None:
        self._delivery, self._store = delivery, delivery.store
        self._manifest, self._packing = manifest, packing
        self._layers = sorted({layer.digest: layer for layer in manifest.layers}.values(), key=_size_down)
        self._made: dict[Digest, Descriptor] = {}
        self._repacker: Repacker | None = None
        if packing is not None:
            self._prepare(packing)

    def _prepare(self, packing: Packing) -> None:
        from .repack import Repacker

        config = ImageConfig.parse(self._store.blobs.read(self._manifest.config.digest))
        pairs = zip(self._manifest.layers, config.diff_ids, strict=True)
        self._diff_ids = {layer.digest: diff_id for layer, diff_id in pairs}
        delivery = self._delivery
        self._repacker = Repacker(self._store, packing, delivery.sink, delivery.forms, self._manifest)

    def all(self, tasks: Mapping[Digest, Task], at_once: int, forks: bool) -> None:
        """Send them side by side."""
        layers, sink, parts = self._layers, self._delivery.sink, ALONE
        if forks and share(sink, [layer.size for layer in layers], at_once).processes > 1:
            lacking = self._lacking(at_once)
            parts = share(sink, [layer.size for layer in lacking], at_once)
        lines = [tasks[layer.digest] for layer in layers]
        try:
            if isinstance(sink, Divisible) and parts.processes > 1:
                sent = divided(self._store, sink, lines, self._one, parts, self._tidy)
                for found in sent:
                    self._note(*found)
            else:
                numbers = range(len(layers))
                side_by_side(lambda n, stop: self._note(*self._one(n, lines[n], stop)), numbers, at_once)
        finally:
            self._tidy()

    def _lacking(self, at_once: int) -> list[Descriptor]:
        """Those that must be compressed or sent, as far as that can be said now."""
        if self._packing is not None:
            return self._layers
        lacking: list[Descriptor] = []

        def ask(layer: Descriptor, _stop: Event) -> None:
            if not self._delivery.sink.has(layer):
                lacking.append(layer)

        side_by_side(ask, self._layers, at_once)
        return sorted(lacking, key=_size_down)

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
        from .repack import manifest_of

        after = manifest_of(self._manifest, self._packing, self._made)
        return after, data if after == self._manifest else after.encode()


class _Delivery(Delivery):
    """Blobs of one push, and where they came from."""

    def __init__(self, store: Store, sink: Sink, sources: Sources | None) -> None:
        super().__init__(sink)
        self.store, self.forms = store, Forms(store, sources, sink.where)
        self._refused: dict[Digest, list[str]] = {}

    def opened(self, blob: Descriptor) -> Content:
        """In the form that the manifest names."""
        return self.forms.open(blob)

    def learn(self, digest: Digest) -> None:
        """Now the sink has it. Who refused a mount is forgotten only here: the bytes may come from there."""
        for where in self._refused.pop(digest, ()):
            self.store.layers.drop_source(digest, where)
        _remember_source(self.store, digest, self.sink.where)

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
