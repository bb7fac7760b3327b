"""Pull: source → store.

The name is set last, so whoever asks for it finds the old image or the whole new one.
"""

from __future__ import annotations

from typing import cast

from ...ground.work.threads import in_parallel
from ...words.digest import Digest
from ...words.errors import ContentError, InvalidDocument, NotFound
from ...words.oci import Descriptor, Manifest, Platform, parse_document
from ...words.progress import NullProgress, Progress
from ...words.value import Value
from ..layers.receive import take
from ..layers.sender import distinct
from ..model.image import Image, by_name
from ..model.platforms import select
from ..model.source import ConditionalSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...grammars.accessprofile import AccessProfile
    from ...ground.work.budget import Budget
    from ...stores.store import Store
    from ...words.reference import Reference
    from ..layers.job import LayerJob
    from ..layers.lazy import LazyLayer
    from ..layers.receive import LayingSteps
    from ..model.schema import Document
    from ..model.source import Ranged, Source

_MAX_INDEX_DEPTH = 4
_AT_ONCE = 12


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


def pull(
    source: Source, reference: Reference, store: Store, *,
    platform: Platform | None = None, progress: Progress | None = None, budget: Budget | None = None,
) -> PullResult:  # fmt: skip
    """Bring the image that `reference` names at `source` into the store and give it that name.

    Of an index the entry for `platform` (None: this machine) is taken. Layers come side by side as `budget`
    (None: the store's) allows, in several processes where that pays and this one has no other thread; what
    the store has is not fetched. Interrupted or failed, the name is as before and partial blobs wait for the
    next try. Raises NotFound, RegistryError, ContentError, Unsupported, StoreError.
    """
    progress = progress or NullProgress()
    progress.line(f"{reference.target}: Pulling from {reference.repository}")
    return bring(source, store, WantedImage(reference, reference, platform), progress, budget)


class LazyPull(Value):
    """What a lazy pull did, the layers whose content is still to come, and what should come first."""

    result: PullResult
    layers: tuple[LazyLayer, ...]
    profile: AccessProfile | None = None


class _Referrers:
    """What is attached to an image; asked for once, by one thread after the other."""

    def __init__(self, source: Source, reference: Reference, digest: Digest) -> None:
        self._source, self._reference, self._digest = source, reference, digest
        self._artifacts: list[Descriptor] | None = None
        self._found: list[Descriptor] | None = None

    def ask(self) -> list[Descriptor]:
        """What there is, without what it consists of: one round trip of several."""
        from .sideindexes import artifacts

        if self._artifacts is None:
            self._artifacts = artifacts(self._source, self._digest)
        return self._artifacts

    def all(self) -> list[Descriptor]:
        """Everything of the types that are known here."""
        from .sideindexes import content_of

        if self._found is None:
            self._found = content_of(self._source, self._reference, self._digest, self.ask())
        return self._found

    def indexes(self) -> list[Descriptor]:
        """What may tell where the content of layers is; nothing of an image that was named by digest.

        Who may attach something may also change what a tag means, but not what a digest does. So an index
        tells whoever goes by a tag nothing that the tag could not, and must tell nobody else anything.
        """
        return self.all() if self._reference.digest is None else []


class WantedImage(Value):
    """The image that `reference` names at a source, for one `platform`; its `name` here.

    `top` is what the source has answered already, so that a tag that moves meanwhile counts once.
    """

    reference: Reference
    name: Reference
    platform: Platform | None = None
    top: Document | None = None


def pull_lazily(
    source: Source, reference: Reference, store: Store, *,
    platform: Platform | None = None, progress: Progress | None = None, budget: Budget | None = None,
) -> LazyPull:  # fmt: skip
    """As `pull`, but the content of layers with a table of contents is still to come.

    They must be filled by this process, or one that it forks: see `stores.trees.lazy`. Raises as `pull`; no
    layer is held then.
    """
    limits = budget or store.budget
    laying = _Laying(source, reference, store, limits)
    progress = progress or NullProgress()
    progress.line(f"{reference.target}: Pulling from {reference.repository}")
    wanted = WantedImage(reference, reference, platform)
    try:
        result = bring(source, store, wanted, progress, limits, laying)
        return LazyPull(result, tuple(laying.laid), laying.profile)
    except BaseException:
        for layer in laying.laid:
            store.trees.lazy.let_go(layer.tree)
        raise


class _Laying:
    """Lays the layers of an image (`receive.LayingSteps`). Each question is asked as soon as it can be:

    manifest ─┬─► config ────────────┬─► trees are made, beside that: profile
              ├─► tables of contents ┤
              └─► what is attached ──┴─► indexes, of layers without a table
    """

    _referrers: _Referrers

    def __init__(self, source: Source, reference: Reference, store: Store, budget: Budget) -> None:
        from ..layers.lazy import Tables

        self._source, self._reference, self._store, self._budget = source, reference, store, budget
        self._tables = Tables(cast("Ranged", source))
        self.laid: list[LazyLayer] = []
        self.profile: AccessProfile | None = None

    def ask(self, image: Descriptor, manifest: Manifest) -> None:
        """For what is needed of layers that are not known to be here."""
        self._referrers = _Referrers(self._source, self._reference, image.digest)
        missing = [layer for layer in manifest.layers if not self._is_here(layer)]
        if missing:
            questions = [self._referrers.ask, *self._tables.fetches(missing)]
            in_parallel(lambda ask, _stop: ask(), questions, _AT_ONCE)

    def _is_here(self, layer: Descriptor) -> bool:
        diff_id = self._store.layers.diff_id(layer.digest)
        return diff_id is not None and self._store.trees.has(diff_id)

    def prepare(self, jobs: Sequence[LayerJob]) -> None:
        """Lay those that can be lazy."""
        from ..layers.lazy import lay_lazily

        found = self._referrers.indexes
        lay_lazily(
            jobs, self.laid, self._budget, tables=self._tables, attached=found, beside=self._find_profile
        )

    def _find_profile(self) -> None:
        from .profile import find_profile

        self.profile = find_profile(self._source, self._referrers.all())


def bring(
    source: Source, store: Store, wanted: WantedImage, progress: Progress, budget: Budget | None = None,
    first: LayingSteps | None = None,
) -> PullResult:  # fmt: skip
    """As `pull`, under another name perhaps; `first` as in `receive.take`."""
    with store.leases.hold():
        top, data = wanted.top or _top(source, store, wanted.reference)
        document = choose(source, store, wanted.reference, top, data, wanted.platform)
        descriptor = document[0]
        image, moved = take(source, store, document, progress, budget or store.budget, first)
        if descriptor.digest != top.digest:
            store.blobs.add(data, top.digest)  # so that the next pull need only ask whether it changed
        changed = _name(store, wanted.name, descriptor)
        if "/" in source.where:
            store.refs.add_digest(source.where, top.digest, descriptor.digest)
    manifest = image.manifest
    total = sum(size for _, size in distinct((manifest.config, *manifest.layers)))
    return PullResult(image, top.digest, moved, max(0, total - moved), changed)


def _top(source: Source, store: Store, reference: Reference) -> tuple[Descriptor, bytes]:
    """What the name means there; for a name that the store knows, a source may ask without moving it."""
    if not isinstance(source, ConditionalSource) or by_name(store, reference) is None:
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


def _name(store: Store, reference: Reference, descriptor: Descriptor) -> bool:
    """Set the name; False if it meant this before. With a digest the tag counts for nothing, as docker."""
    before = by_name(store, reference)
    if reference.digest is not None:
        reference = reference.replace(tag="", digest=reference.digest)
    store.refs.set(str(reference), descriptor)
    return before is None or before.digest != descriptor.digest


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
