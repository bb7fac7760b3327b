"""Layers on their way into the store and out of a writable tree.

A layer that comes in is read through these, in one thread, or three where there are processors to spare:

    source → hash → blob file ──ahead──→ decompress ──ahead──→ hash (diff id) → tree

Blob and tree become visible only when their digests are right. What fails midway leaves at most a
partial blob, from which the next attempt goes on. Where the blob need not stay beside the tree
(`stores.blobpolicy`) its file is written only for a transfer that takes long (`PartialBlob`), and goes once
the tree is whole; `compressed` gives its bytes from then on.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from time import monotonic

from ...ground.files import trace
from ...ground.work.pipe import CHUNK, Pipe, ProgressReader, copy
from ...ground.work.readahead import ReadAhead
from ...ground.work.threads import Worker, running
from ...words.digest import Digest, Verifier
from ...words.errors import ContentError, DigestMismatch, NacreError, NotFound
from ...words.oci import OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, Descriptor
from ...words.value import Value
from .compressed import is_here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, Self

    from ...grammars.tar.entry import Reader
    from ...ground.work.budget import Budget
    from ...stores.ingest import Ingest
    from ...stores.store import Store
    from ...stores.trees.actives import Active
    from ...words.progress import Task
    from .job import LayerJob

EMPTY_DIFF_ID = Digest("sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef")
"""The diff id of the empty tar: two blocks of zeros."""

_SOON, _LATER = 4, 16
"""Pieces after which a thread of its own may begin: first that which takes half of the work off another."""
_RECEIVED = 1 << 20
"""Most bytes that are taken from a connection at once: each time the interpreter lock is let go of twice."""
_HELD, _LOOK = 4 << 20, 1.0
"""Bytes that are held, and seconds, after which it is decided whether a partial blob is written."""
_LONG = 5.0
"""Seconds: a transfer that will take longer is worth going on with."""
_SMALL = 1 << 20
"""Bytes of a layer that needs no thread beside its writer."""
_MEDIA_TYPES = {"gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD, "none": OCI_LAYER}


class Ingested(Value):
    """What became of one layer: its tree, how many bytes were fetched, docker's word for it."""

    diff_id: Digest
    moved: int
    status: str


def ingest_layer(job: LayerJob) -> Ingested:
    """Bring one layer into the store; afterwards its tree is there and, if it is to be kept, its blob.

    A tree that is there is never fetched again, also when it came from another blob (other compression);
    a blob that is there without its tree is unpacked. Waits for another thread or process that fetches
    the same blob. Raises Stopped, DigestMismatch, TooLarge, InvalidArchive, RegistryError, StoreError;
    nothing half-made is visible then.
    """
    layer = job.layer
    with _named(layer):
        moved, status = _bring(job)
    job.store.layers.record(layer.digest, job.diff_id, layer.media_type, layer.size)
    job.task.done(status)
    return Ingested(job.diff_id, moved, status)


def _bring(job: LayerJob) -> tuple[int, str]:
    if job.has_tree:
        return 0, _present(job)
    if job.store.blobs.has(job.layer.digest):
        _unpack(job)
        return 0, "Pull complete"
    return _fetch(job)


@contextmanager
def _named(descriptor: Descriptor) -> Iterator[None]:
    """Let errors about content say which layer it was."""
    try:
        yield
    except ContentError as error:
        error.message = f"layer {descriptor.digest.short}: {error.message}"
        error.args = (error.message,)
        raise


def _present(job: LayerJob) -> str:
    """The status of a layer whose tree is here, perhaps out of a blob of another compression."""
    store, digest = job.store, job.layer.digest
    if not store.blobs.has(digest) and store.layers.diff_id(digest) != job.diff_id:
        for other in store.layers.blobs_of(job.diff_id):
            if other.digest != digest:
                return f"Already exists as {other.digest.short}"
    return "Already exists"


def _fetch(job: LayerJob) -> tuple[int, str]:
    moved, whole = 0, True
    with job.store.blobs.ingest(job.layer.digest, job.layer.size) as ingest:
        if not ingest.exists and not job.has_tree:
            if not ingest.offset:
                return _begin(job, ingest)
            job.phase("Downloading")
            moved, whole = _resume(job, ingest)
    if not whole:
        again, status = _fetch(job)
        return moved + again, status
    _unpack(job)
    return moved, "Pull complete"


def _begin(job: LayerJob, ingest: Ingest) -> tuple[int, str]:
    """Fetch a layer of which nothing is here: in part where its table of contents allows, else whole."""
    from .partial import try_partial

    tried = try_partial(job)
    moved = tried.moved
    if not tried.done:
        job.phase("Downloading")
        moved += _stream(job, ingest)
    return moved, tried.status(job.layer)


def _unpack(job: LayerJob) -> None:
    """Make the tree of a blob that is here; the blob goes if it is not to be kept."""
    job.phase("Extracting")
    ensure_tree(job.store, job.layer, job.diff_id, job.task)
    if not job.keeps_blob and job.store.trees.can_tar(job.diff_id):
        job.store.blobs.delete(job.layer.digest)


def _stream(job: LayerJob, ingest: Ingest) -> int:
    """Fetch a blob from its beginning and unpack it on the way."""
    keep = job.keeps_blob
    with job.source.fetch(job.layer) as reader:
        partial = None if keep else PartialBlob(ingest, job.layer.size)
        received = _Received(reader, partial.write if partial else _writing(ingest), job)
        try:
            _lay(job.store, received, job.diff_id, ingest.commit if keep else ingest.verify)
        except BaseException:
            if partial is not None:
                partial.keep()
            raise
    if not keep:
        trace("layer:unpacked")
        if job.store.trees.can_tar(job.diff_id):
            ingest.abort()
        else:
            received.count += _complete(job, ingest)
    return received.count


def _complete(job: LayerJob, ingest: Ingest) -> int:
    """The blob has to stay after all: fetch it once more if it was not written down. The bytes fetched."""
    moved = 0
    if not ingest.is_written:
        ingest.restart()
        with job.source.fetch(job.layer) as reader:
            moved = copy(_Received(reader, _writing(ingest), job), _ignore)
    ingest.commit()
    return moved


def _writing(ingest: Ingest) -> Callable[[bytes, float], object]:
    return lambda data, _waited: ingest.write(data)


class PartialBlob:
    """What is here of a blob that is not kept: of use only if the transfer breaks off.

    The first bytes are held in memory. If waiting for the rest will take long, they are written and all that
    follows, so that another pull can go on from there. What comes fast is never written: to fetch it again
    takes less than `_LONG` seconds, and each pull would pay for that with as many bytes on the disk.
    """

    def __init__(self, ingest: Ingest, size: int) -> None:
        self._ingest, self._size = ingest, size
        self._take: Callable[[bytes], object] | None = None
        self._held: list[bytes] = []
        self._waited = 0.0

    def write(self, data: bytes, waited: float) -> None:
        """The next bytes, and for how many seconds they were waited for. Raises TooLarge, StoreError."""
        if self._take is not None:
            self._take(data)
            return
        self._ingest.pass_by(data)
        self._held.append(data)
        self._waited += waited
        if self._ingest.offset >= _HELD or self._waited >= _LOOK:
            self._decide()

    def _decide(self) -> None:
        here, self._take = self._ingest.offset, self._ingest.pass_by
        if self._waited * (self._size - here) > _LONG * here:
            self._ingest.catch_up(self._held)
            self._take = self._ingest.write
        self._held = []

    def keep(self) -> None:
        """The transfer has failed: what is held is written, as far as that can be."""
        held, self._held = self._held, []
        with suppress(NacreError):
            self._ingest.catch_up(held)


class _Received:
    """What comes from a source; it is in the partial blob, as far as there is to be one, when it is given."""

    def __init__(self, reader: Reader, write: Callable[[bytes, float], object], job: LayerJob) -> None:
        self._reader, self._write, self._job = reader, write, job
        self.count = 0

    def read(self, size: int, /) -> bytes:
        """Raises also Stopped, and TooLarge at the first byte too many."""
        self._job.check()
        began = monotonic()
        data = self._reader.read(size)
        self._write(data, monotonic() - began)
        self.count += len(data)
        self._job.task.advance(len(data))
        return data


def _resume(job: LayerJob, ingest: Ingest) -> tuple[int, bool]:
    """Fetch what is missing of a blob, to be unpacked from its file; False if its beginning was bad."""

    def receive(data: bytes) -> None:
        job.check()
        ingest.write(data)
        job.task.advance(len(data))

    moved = 0
    job.task.advance(ingest.offset)
    if ingest.offset < job.layer.size:
        with job.source.fetch(job.layer, ingest.offset) as reader:
            moved = copy(reader, receive)
    try:
        ingest.commit()
    except DigestMismatch:
        if not ingest.resumed:
            raise
        return moved, False
    return moved, True


def _lay(store: Store, packed: Reader, diff_id: Digest, whole: Callable[[], object] | None = None) -> None:
    """Make a tree of compressed bytes, in as many threads as there are processors to spare.

    `whole` is called after the last byte, also when the content cannot be unpacked: by raising it tells
    that the far side is to blame.
    """
    with ReadAhead(packed, _RECEIVED, store.budget, _LATER) as received:
        failure = None
        try:
            with ReadAhead(_plain(received), CHUNK, store.budget, _SOON) as plain:
                store.trees.ingest(plain, diff_id)
        except ContentError as error:
            failure = error
        if whole is not None:
            copy(received, _ignore)
            whole()
        if failure is not None:
            raise failure


def _ignore(_data: bytes) -> None:
    pass


def _plain(packed: Reader) -> Reader:
    """By what the bytes show: media types lie in practice (gzip called plain, and the reverse)."""
    from ...grammars.codecs.stream import decompress

    return decompress(packed)


def ensure_tree(store: Store, descriptor: Descriptor, diff_id: Digest, task: Task | None = None) -> None:
    """Make the tree of a layer whose blob is in the store, unless it is there. Atomic, idempotent.

    Raises NotFound when the blob is not there, InvalidArchive, DigestMismatch, StoreError.
    """
    if store.trees.has(diff_id):
        return
    try:
        file = store.blobs.open(descriptor.digest)
    except NotFound:  # another process has unpacked it meanwhile, and does not keep the blob
        if store.trees.has(diff_id):
            return
        raise
    with file:
        _lay(store, ProgressReader(file, task) if task else file, diff_id)


def commit_layer(
    store: Store, active: Active, codec: str = "gzip", *, clamp: int | None = None, keep: bool = False
) -> tuple[Descriptor, Digest, int]:
    """Turn the difference of a writable tree into a layer: its descriptor, diff id, bytes of its tar.

    The bytes are 0 when nothing was changed (the layer is then the canonical empty one). The tar is
    written once and compressed in a second thread on its way. `clamp`, `keep` as `Actives.commit`. When this
    raises, no name or record knows of the layer; the active is as before if the tar failed.
    """
    with store.blobs.ingest() as ingest:
        meter = _Meter()
        with _Compression(codec, ingest, store.budget) as compression:
            write = meter.through(compression.write)
            diff_id = store.actives.commit(active, write, clamp=clamp, keep=keep)
        descriptor = _finish(store, ingest, codec, diff_id)
    return descriptor, diff_id, 0 if diff_id == EMPTY_DIFF_ID else meter.count


def add_layer(
    store: Store, stream: Reader, codec: str = "gzip", expected: Digest | None = None
) -> tuple[Descriptor, Digest]:
    """Store an uncompressed tar, read once, as a layer: the tree, and side by side its compressed form.

    The latter is kept as a blob only where the tree cannot give the tar again. `expected` is the diff id
    where known; when the tree is here and a compressed form is to be had, nothing is read. Raises
    InvalidArchive, DigestMismatch, StoreError; nothing half-made is visible then.
    """
    known = known_layer(store, expected) if expected else None
    if known and expected:
        return known, expected
    with store.blobs.ingest() as ingest:
        with _Compression(codec, ingest, store.budget) as compression:
            tee = _Tee(stream, compression.write)
            diff_id = store.trees.ingest(tee, expected)
            if not tee.begun:  # the tree was there already; the blob still wants the bytes, verified
                verifier = Verifier(diff_id, what="layer")
                copy(tee, verifier.update)
                verifier.verify()
        return _finish(store, ingest, codec, diff_id), diff_id


def known_layer(store: Store, diff_id: Digest) -> Descriptor | None:
    """A compressed form that is to be had of a tree that is here."""
    if not store.trees.has(diff_id):
        return None
    return next((blob for blob in store.layers.blobs_of(diff_id) if is_here(store, blob)), None)


class _Compression:
    """Compresses what is written to it: a large layer in a thread beside its writer, a small one at its end.

    For that a thread only costs: it is begun, loads modules while its writer does, and waits for each piece.
    `with` it; when the block fails, nothing more is compressed.
    """

    def __init__(self, codec: str, ingest: Ingest, budget: Budget) -> None:
        self._codec, self._ingest, self._budget = codec, ingest, budget
        self._held: list[bytes] = []
        self._size = 0
        self._pipe: Pipe | None = None
        self._beside = ExitStack()

    def write(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._pipe is not None:
            self._pipe.write(data)
            return
        self._held.append(data)
        self._size += len(data)
        if self._size > _SMALL:
            self._begin()

    def _begin(self) -> None:
        pipe = self._pipe = Pipe()
        worker = Worker(lambda: self._compress(iter(lambda: pipe.read(CHUNK), b"")), drains=pipe)
        self._beside.enter_context(running([worker], [pipe]))
        held, self._held = self._held, []
        for data in held:
            pipe.write(data)

    def _compress(self, pieces: Iterable[bytes]) -> None:
        from ...grammars.codecs.stream import Compressor

        compressor = Compressor(self._codec, self._ingest.write, self._budget)
        for data in pieces:
            compressor.write(data)
        compressor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: Any) -> None:
        if self._pipe is None and failure[0] is None:
            self._compress(self._held)
        elif self._pipe is not None and failure[0] is None:
            self._pipe.end()
        self._beside.__exit__(*failure)


def _finish(store: Store, ingest: Ingest, codec: str, diff_id: Digest) -> Descriptor:
    """One copy at rest: the tree that gives its tar, or the blob, which can make the tree again.

    The tree is synced when an image that needs it is written (`edit.write_image`).
    """
    from ...grammars.codecs.recipe import recipe

    if store.trees.can_tar(diff_id):
        digest, size = ingest.drop()
    else:
        digest = ingest.commit()
        size = store.blobs.size(digest)
    descriptor = Descriptor(_MEDIA_TYPES[codec], digest, size)
    store.layers.record(digest, diff_id, descriptor.media_type, size, recipe(codec))
    return descriptor


class _Meter:
    """Counts the bytes that pass."""

    def __init__(self) -> None:
        self.count = 0

    def through(self, write: Callable[[bytes], object]) -> Callable[[bytes], object]:
        def counted(data: bytes) -> object:
            self.count += len(data)
            return write(data)

        return counted


class _Tee:
    """A reader that hands every byte it gives to a second taker."""

    def __init__(self, stream: Reader, write: Callable[[bytes], object]) -> None:
        self._stream, self._write = stream, write
        self.begun = False

    def read(self, size: int = -1, /) -> bytes:
        self.begun = True
        data = self._stream.read(size if size >= 0 else CHUNK)
        self._write(data)
        return data
