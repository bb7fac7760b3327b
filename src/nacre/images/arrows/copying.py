"""Copy: any source → any sink, without the store in between.

    resolve ──► the documents below it, level by level   (those that the sink has are left alone)
            ──► their blobs side by side: there? mounted? else passed through
            ──► the documents, deepest first; what the target names, last
            ──► with `referrers`, the same for whatever refers to one of them

So a registry never sees a document without its parts, and a name changes when everything is there. Nothing
is altered: every digest stays.
"""

from __future__ import annotations

from threading import Lock

from ...ground.work.budget import Budget
from ...ground.work.threads import in_parallel
from ...words.digest import Digest
from ...words.errors import ContentError, NotFound, RegistryError, TooLarge, Unsupported, UsageError
from ...words.oci import (
    DOCKER,
    DOCUMENT_TYPES,
    INDEX_TYPES,
    OCI,
    OCI_INDEX,
    Descriptor,
    Index,
    Manifest,
    Platform,
    parse_document,
)
from ...words.progress import NullProgress, Progress
from ...words.value import Value
from ..layers.sender import BlobSender, task_of
from ..layers.streamed import StreamedBlob
from ..model.schema import converted, converted_index, is_refusal, other_form, told
from ..model.source import ConditionalSource, Referring, Remembering, SequentialSink, TagAwareSink
from ..places.layout import OciLayout
from ..places.local import StoreSink, StoreSource, one_platform
from .attached import is_of_one_image, take_attached
from .pull import WantedImage, bring, choose

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from threading import Event

    from ...words.progress import Task
    from ...words.reference import Reference
    from ..model.blobinfo import BlobInfoCache
    from ..model.schema import Document
    from ..model.source import Content, Sink, Source
    from ..places.place import Place, Places

MAX_DOCUMENTS = 5000
MAX_DOCUMENT_BYTES = 64 << 20
MAX_DEPTH = 4
_MOST_ORIGINS = 16


class Claims:
    """Who sends which blob, so that copies to one sink at the same time move each once. Safe for threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: dict[Digest, Lock] = {}

    def of(self, digest: Digest) -> Lock:
        """To be held while it is asked for and sent."""
        with self._lock:
            return self._held.setdefault(digest, Lock())


class Choice(Value):
    """What is to be copied: one platform (None: this machine's), or all; what refers to it, too.

    `form` asks for a kind of manifest (`words.oci.OCI`, `DOCKER`); with `exact` every digest must stay;
    `more` are other names for the same at the target. `budget` None: this machine's.
    """

    platform: Platform | None = None
    all: bool = False
    referrers: bool = False
    budget: Budget | None = None
    form: str = ""
    exact: bool = False
    more: tuple[str, ...] = ()
    claims: Claims | None = None
    seen: BlobInfoCache | None = None


class Copied(Value):
    """What a copy did.

    Digest and size of what the target now names; bytes of blobs moved, mounted from a repository of the same
    registry, or there already; `changed` is False when the target meant this before.
    """

    digest: Digest
    size: int
    moved: int
    mounted: int
    existing: int
    manifests: int
    referrers: int
    changed: bool


def copy(
    source: Source, reference: Reference, sink: Sink, target: str, choice: Choice | None = None,
    progress: Progress | None = None,
) -> Copied:  # fmt: skip
    """Let `target` at `sink` name what `reference` names at `source`.

    Nothing moves that the sink has. Interrupted or failed, the target means what it meant before. Raises
    NotFound, RegistryError, ContentError, Unsupported, StoreError.
    """
    choice, progress = choice or Choice(), progress or NullProgress()
    if isinstance(sink, StoreSink):
        return _into_store(source, reference, sink, choice, progress)
    descriptor, data = source.resolve(reference)
    if choice.all and isinstance(source, StoreSource) and reference.digest is None:
        descriptor, data = source.attested() or (descriptor, data)
    if not choice.all:
        descriptor, data = choose(source, None, reference, descriptor, data, choice.platform)
    copier = Copier(source, reference, sink, choice, progress)
    descriptor, data = copier.formed((descriptor, data))
    try:
        changed = copier.put(descriptor, data, target)
    except RegistryError as error:
        other = copier.instead((descriptor, data), target, error)
        if other is None:
            raise
        descriptor, data = other
        changed = copier.put(descriptor, data, target)
        progress.line(told(sink.where, descriptor))
    for name in choice.more:
        sink.put_manifest(name, data, descriptor.media_type)
    if choice.referrers:
        copier.follow(descriptor, data)
    return copier.result(descriptor, changed)


def copy_between(
    places: Places, source: Place, target: Place, choice: Choice | None = None, *,
    progress: Progress | None = None, to: Places | None = None,
) -> Copied:  # fmt: skip
    """As `copy`, of what two places mean. What is a file is whole now.

    `to` opens the target where that is done in another way (other credentials, say).
    """
    choice = choice or Choice()
    with places.source(source, target, exact=choice.exact) as origin, (to or places).sink(target) as sink:
        return copy(origin, places.reference(source), sink, places.target(target), choice, progress)


def _into_store(
    source: Source, reference: Reference, sink: StoreSink, choice: Choice, progress: Progress
) -> Copied:
    """A pull: layers become trees while they come."""
    top = source.resolve(reference) if choice.all else None
    if top and not is_of_one_image(parse_document(top[1], top[0].media_type)):
        raise one_platform()
    if choice.form:
        raise UsageError(
            "the store keeps manifests unchanged", hint="choose the format when you push or copy the image"
        )
    assert sink.name is not None
    wanted = WantedImage(reference, sink.name, choice.platform, top)
    with sink.store.leases.hold():
        done = bring(source, sink.store, wanted, progress, choice.budget)
        if top and (index := take_attached(source, reference, sink.store, top, done.image.digest)):
            sink.store.refs.set(str(sink.name), done.image.descriptor, index)
    size, digest = done.image.descriptor.size, done.image.digest
    return Copied(digest, size, done.moved, 0, done.reused, int(done.changed), 0, done.changed)


class _Document(Value):
    descriptor: Descriptor
    data: bytes


class Copier:
    """Copies documents with all below them from one source to one sink. For one thread."""

    def __init__(
        self, source: Source, reference: Reference, sink: Sink, choice: Choice, progress: Progress
    ) -> None:
        """`reference` names anything of the source: its digests are asked for under that name."""
        self.source, self.sink, self.progress = source, sink, progress
        self._reference, self._delivery = (
            reference,
            _CopyDelivery(source, sink, choice.claims or Claims(), choice.seen),
        )
        self._choice = choice
        self._made: dict[Digest, bytes] = {}
        is_sequential = isinstance(sink, SequentialSink)
        self._at_once = 1 if is_sequential else (choice.budget or Budget.of_machine()).transfers
        self._tasks: dict[Digest, Task] = {}
        self._seen: set[Digest] = set()
        self._manifests = self._referrers = self._count = self._bytes = 0

    def result(self, descriptor: Descriptor, changed: bool) -> Copied:
        """What was done so far."""
        tally = self._delivery.tally
        return Copied(
            descriptor.digest, descriptor.size, tally["moved"], tally["mounted"], tally["existing"],
            self._manifests, self._referrers, changed,
        )  # fmt: skip

    def formed(self, document: Document, form: str = "") -> Document:
        """A document, and all that an index names, in the form that was asked for. Raises UsageError."""
        form = form or self._choice.form
        if not form:
            return document
        made = self._converted(document, form)
        if made[0].digest != document[0].digest and (self._choice.exact or self._choice.referrers):
            what = "--preserve-digests" if self._choice.exact else "--referrers"
            raise UsageError(f"the form {form!r} gives the image another digest, which {what} excludes")
        return made

    def _converted(self, document: Document, form: str) -> Document:
        if document[0].media_type not in INDEX_TYPES:
            return converted(document, form)
        made, children = converted_index(document, form, self._child)
        self._made |= {child.digest: data for child, data in children}
        return made

    def _child(self, entry: Descriptor) -> Document:
        found, data = self.source.resolve(self._reference.replace(tag="", digest=entry.digest))
        self._check(entry, data)
        return found.replace(platform=entry.platform, annotations=entry.annotations), data

    def instead(self, document: Document, target: str, error: RegistryError) -> Document | None:
        """What to put where a registry has refused this kind of manifest; None if there is nothing else."""
        choice = self._choice
        if choice.form or choice.exact or choice.referrers or ":" in target or "/" not in self.sink.where:
            return None
        if document[0].media_type in INDEX_TYPES:
            form = DOCKER if document[0].media_type == OCI_INDEX else OCI
            try:
                return self._converted(document, form) if is_refusal(error) else None
            except Unsupported as reason:
                error.hint = error.hint or reason.message
                return None
        return other_form(document, error)

    def put(self, descriptor: Descriptor, data: bytes, target: str) -> bool:
        """Everything below a document, then itself; False if the target means it already."""
        top = _Document(descriptor, data)
        if isinstance(self.sink, TagAwareSink) and self.sink.holds(target, descriptor):
            document = parse_document(data, descriptor.media_type)
            if isinstance(document, Manifest):
                self._delivery.leave(document, {})
            return False
        levels = self._levels(top)
        self._blobs(document for level in levels for document in level)
        for level in reversed(levels[1:]):
            self._documents(level)
        self.sink.put_manifest(target, data, descriptor.media_type)
        self._manifests += 1
        self._delivery.remember()
        return True

    def _levels(self, top: _Document) -> list[list[_Document]]:
        """What an index names, and what that names, without what the sink has."""
        levels, level = [[top]], [top]
        for _ in range(MAX_DEPTH):
            wanted = {entry.digest: entry for each in level for entry in _children(each)}
            level = self._fetched([entry for entry in wanted.values() if entry.digest not in self._seen])
            if not level:
                return levels
            levels.append(level)
        if any(map(_children, level)):
            raise TooLarge(f"{top.descriptor.digest} has more than {MAX_DEPTH} levels of indexes")
        return levels

    def _fetched(self, entries: list[Descriptor]) -> list[_Document]:
        found: dict[Digest, _Document] = {}

        def work(entry: Descriptor, _stop: Event) -> None:
            if not self.sink.has(entry):
                data = self._made.get(entry.digest)
                if data is None:
                    data = self._child(entry)[1]
                found[entry.digest] = _Document(entry, data)

        in_parallel(work, entries, self._at_once)
        self._seen |= {entry.digest for entry in entries}
        return [found[entry.digest] for entry in entries if entry.digest in found]

    def _check(self, entry: Descriptor, data: bytes) -> None:
        if len(data) != entry.size:
            raise ContentError(f"manifest {entry.digest} has {len(data)} bytes, not {entry.size}")
        self._count, self._bytes = self._count + 1, self._bytes + len(data)
        if self._count > MAX_DOCUMENTS or self._bytes > MAX_DOCUMENT_BYTES:
            raise TooLarge(f"{self._reference.familiar} has more manifests than can be copied")

    def _blobs(self, documents: Iterable[_Document]) -> None:
        """Layers side by side, then configs and the like, each once."""
        blobs: dict[Digest, Descriptor] = {}
        for each in documents:
            for blob in _parts(each):
                blobs.setdefault(blob.digest, blob)
        wanted = [blob for blob in blobs.values() if blob.digest not in self._tasks]
        for blob in wanted:
            self._tasks[blob.digest] = task_of(self.progress, blob.digest, "Waiting")
        in_parallel(
            lambda blob, stop: self._delivery.send(blob, self._tasks[blob.digest], stop),
            wanted, self._at_once,
        )  # fmt: skip

    def _documents(self, level: list[_Document]) -> None:
        def work(each: _Document, _stop: Event) -> None:
            self.sink.put_manifest(each.descriptor.digest, each.data, each.descriptor.media_type)

        in_parallel(work, level, self._at_once)
        self._manifests += len(level)

    def follow(self, descriptor: Descriptor, data: bytes, depth: int = 0) -> None:
        """Copy what refers to a document or to one below it. Raises as `copy`."""
        if not isinstance(self.source, Referring):
            return
        for each in (descriptor, *_children(_Document(descriptor, data))):
            for entry in self.source.referrers(each.digest):
                self._refers(entry, depth)
            if not isinstance(self.sink, SequentialSink) or self.sink.keeps_tags:
                for tag in cosign_tags(each.digest):
                    self._tagged(tag)

    def _tagged(self, tag: str) -> None:
        """What refers to a document only by the name of its tag, if there is such a tag."""
        try:
            if isinstance(self.source, OciLayout):
                found, data = self.source.listed(self.source.find(tag))
            else:
                found, data = self.source.resolve(self._reference.replace(tag=tag, digest=None))
        except NotFound:
            return
        self._check(found, data)
        self._referrers += self.put(found, data, tag)

    def _refers(self, entry: Descriptor, depth: int) -> None:
        if depth >= MAX_DEPTH or entry.media_type not in DOCUMENT_TYPES:
            return
        found, data = self.source.resolve(self._reference.replace(tag="", digest=entry.digest))
        self._check(entry, data)
        self._referrers += self.put(found, data, entry.digest)
        self.follow(found, data, depth + 1)


def cosign_tags(digest: Digest) -> list[str]:
    """Tags of what cosign attaches without a subject. Source: cosign, SIGNATURE_SPEC.md."""
    return [f"{digest.algorithm}-{digest.hex}.{kind}" for kind in ("sig", "att", "sbom")]


def _children(document: _Document) -> list[Descriptor]:
    """The documents that an index names."""
    found = parse_document(document.data, document.descriptor.media_type)
    entries = found.manifests if isinstance(found, Index) else ()
    return [entry for entry in entries if entry.media_type in DOCUMENT_TYPES]


def _parts(document: _Document) -> list[Descriptor]:
    """The blobs that a document names, big ones first; those that may not be spread are left out.

    Source: OCI image-spec, layer.md, "Non-Distributable Layers".
    """
    found = parse_document(document.data, document.descriptor.media_type)
    if isinstance(found, Index):
        return [entry for entry in found.manifests if entry.media_type not in DOCUMENT_TYPES]
    blobs = [layer for layer in found.layers if not _is_foreign(layer)]
    return [*sorted(blobs, key=lambda blob: -blob.size), found.config]


def _is_foreign(layer: Descriptor) -> bool:
    return "nondistributable" in layer.media_type or ".foreign." in layer.media_type


class _CopyDelivery(BlobSender):
    """Blobs passed through, or mounted when both ends are of one registry."""

    words = ("Copying", "Copied", "Already exists")

    def __init__(self, source: Source, sink: Sink, claims: Claims, seen: BlobInfoCache | None) -> None:
        super().__init__(sink)
        self._source, self._claims, self._seen = source, claims, seen
        self._passing: dict[Digest, StreamedBlob] = {}
        self._sent: list[Digest] = []

    def send(self, blob: Descriptor, task: Task, stop: Event | None = None) -> None:
        with self._claims.of(blob.digest):
            super().send(blob, task, stop)

    def opened(self, blob: Descriptor) -> Content:
        return self._passing[blob.digest].open()

    def mount(self, blob: Descriptor) -> str | None:
        registry, slash, _ = self.sink.where.partition("/")
        if not slash:
            return None
        known = [self._source.where] if "/" in self._source.where else []
        if isinstance(self._source, Remembering):
            known += self._source.origins(blob.digest)[:_MOST_ORIGINS]
        known += self._seen.repositories(registry, blob.digest) if self._seen else []
        known = [where for where in known if where.startswith(registry + "/") and where != self.sink.where]
        return self.sink.mount(blob, known) if known else None

    def remember(self) -> None:
        """Note for later copies what both ends have."""
        if self._seen:
            for where in (self._source.where, self.sink.where):
                self._seen.add(where, self._sent)

    def learn(self, digest: Digest) -> None:
        self._sent.append(digest)

    def upload(self, blob: Descriptor, task: Task, stop: Event | None) -> None:
        """As ever; a mirror that gave other bytes is not asked again."""
        while True:
            self._passing[blob.digest] = StreamedBlob(self._source, blob)
            try:
                return super().upload(blob, task, stop)
            except ContentError:
                if not isinstance(self._source, ConditionalSource) or not self._source.doubt(blob.digest):
                    raise
