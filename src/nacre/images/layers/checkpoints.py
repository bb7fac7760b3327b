"""Making the index of a layer that has no table of contents, while its compressed form passes once.

    blob ──► checkpoints ──► spans, and the SHA-256 of each          (`grammars.codecs.checkpoints`)
                        └──► skeleton of the tar                     (`grammars.tar.skeleton`)

The blob and the tar are verified by the digests that the image gives: no index is made of another layer.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from hashlib import sha256

from ...grammars.chunked.forms import has_table
from ...grammars.codecs.checkpoints import Checkpoint, GzipCheckpoints, PlainCheckpoints
from ...grammars.codecs.stream import PrefixedReader, sniff
from ...grammars.sideindex import INDEX, LAYER, MAX_SPAN, LayerIndex, TarSpan, span_of
from ...grammars.tar.read import read_tar
from ...grammars.tar.skeleton import Recording, SkeletonWriter
from ...words.digest import Digest, Verifier
from ...words.errors import DigestMismatch, TooLarge, Unsupported
from ...words.oci import Descriptor
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ...grammars.tar.entry import Reader

APART = {"gzip": 4 << 20, "none": 1 << 20}
"""Bytes of the tar between two checkpoints: fewer make an index larger, and what is read at once smaller."""
_HEAD = 6


class IndexLimits(Value):
    """How much is read of one layer: bytes of its tar, and entries."""

    bytes: int = 1 << 40
    entries: int = 1_000_000


def make_index(
    stream: Reader, layer: Descriptor, diff_id: Digest, limits: IndexLimits | None = None,
    check: Callable[[], object] = lambda: None,
) -> tuple[Descriptor, bytes]:  # fmt: skip
    """The index of a layer, as it is attached to images; `stream` is its blob, read to the end.

    `check` is called now and then, and ends it by raising. Raises Unsupported for a layer that has a table,
    or that cannot be shown before its content is here; InvalidArchive, TooLarge, DigestMismatch for another.
    """
    limits = limits or IndexLimits()
    if has_table(layer):
        raise Unsupported(f"layer {layer.digest.short} has a table of contents of its own")
    with ExitStack() as end:
        blob = _VerifiedBlob(stream, layer, check)
        codec, points = _checkpoints(blob, end)
        spans = _Spans(points, APART[codec], layer, limits.bytes)
        skeleton = _skeleton(spans, limits.entries)
        blob.verify()
        if spans.verify() != diff_id:
            raise DigestMismatch(diff_id, spans.verify(), what=f"layer {layer.digest.short}")
    index = LayerIndex(
        layer.digest, layer.size, diff_id, codec, spans.length, tuple(spans.found), skeleton
    ).encode()
    return Descriptor.of(index, INDEX).replace(annotations=((LAYER, str(layer.digest)),)), index


def _checkpoints(blob: Reader, end: ExitStack) -> tuple[str, GzipCheckpoints | PlainCheckpoints]:
    head = b""
    while len(head) < _HEAD and (more := blob.read(_HEAD - len(head))):
        head += more
    codec, stream = sniff(head), PrefixedReader(head, blob)
    if codec == "gzip":
        return codec, end.enter_context(closing(GzipCheckpoints(stream)))
    if codec:
        raise Unsupported(f"a layer in {codec} can be read from its beginning only")
    return "none", PlainCheckpoints(stream)


def _skeleton(stream: Reader, entries: int) -> bytes:
    parts: list[bytes] = []
    recording = Recording(stream, SkeletonWriter(parts.append))
    for entry, _payload in read_tar(recording, entries):
        if entry.sparse is not None:
            raise Unsupported("the layer has sparse files")
        recording.file(entry, b"")
    recording.drain()
    return b"".join(parts)


class _VerifiedBlob:
    """The blob on its way."""

    def __init__(self, stream: Reader, layer: Descriptor, check: Callable[[], object]) -> None:
        self._stream, self._check = stream, check
        self._verifier = Verifier(layer.digest, layer.size, f"layer {layer.digest.short}")

    def read(self, count: int, /) -> bytes:
        self._check()
        data = self._stream.read(count)
        self._verifier.update(data)
        return data

    def verify(self) -> None:
        self._verifier.verify()


class _Spans:
    """The tar on its way, cut at checkpoints."""

    def __init__(
        self, points: GzipCheckpoints | PlainCheckpoints, apart: int, layer: Descriptor, most: int
    ) -> None:
        self._points, self._apart, self._layer, self._most = points, apart, layer, most
        self._from, self._size, self._hash = Checkpoint(0), 0, sha256()
        self._whole = sha256()
        self.length, self.found = 0, list[TarSpan]()
        self._ended = False

    def read(self, count: int, /) -> bytes:
        """The next bytes of the tar. Raises Unsupported, InvalidArchive, TooLarge."""
        data = self._points.read(min(count, self._room()))
        if data:
            self._take(data)
        elif not self._ended:
            self._ended = True
            self._cut(self._layer.size)
        return data

    def _room(self) -> int:
        """A piece ends where the next span may begin, if that may be anywhere."""
        return max(1, self._apart - self._size) if isinstance(self._points, PlainCheckpoints) else 1 << 20

    def _take(self, data: bytes) -> None:
        self._hash.update(data)
        self._whole.update(data)
        self._size += len(data)
        self.length += len(data)
        if self.length > self._most:
            raise TooLarge(f"layer {self._layer.digest.short} has more than {self._most} bytes")
        if self._size >= self._apart and (point := self._points.checkpoint()) is not None:
            self._cut(point.start + bool(point.skip))
            self._from = point
        elif self._size > MAX_SPAN:
            raise Unsupported("the layer is compressed in blocks that are too large")

    def _cut(self, end: int) -> None:
        if self._size:
            self.found.append(span_of(self._size, self._from, end, self._hash.digest()))
        self._size, self._hash = 0, sha256()

    def verify(self) -> Digest:
        """The diff id of what has passed."""
        return Digest(f"sha256:{self._whole.hexdigest()}")
