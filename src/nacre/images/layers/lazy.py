"""A layer whose content comes when it is read: laid by its table of contents, which says where each piece is.

    table ──► headers, and how long each content is ──► tar with holes, and its index   (`stores.trees.lazy`)
          └─► extents: where a piece lies in the tar, where in the blob, and its digest  (`filler`)

Every piece must have a digest in the table, which the manifest covers; what does not match is not written.
"""

from __future__ import annotations

import mmap
import os
import pickle
from array import array
from bisect import bisect_right
from contextlib import ExitStack, suppress
from hashlib import sha256
from io import BytesIO
from typing import cast

from ...grammars.codecs.piece import PieceDecoder
from ...grammars.codecs.stream import decompress
from ...ground.files import write_at
from ...ground.work.forkmap import AtFork, fork_map
from ...ground.work.threads import in_parallel
from ...stores.trees.lazy import LazyTree
from ...words.errors import ContentError, InvalidArchive, NotFound, RegistryError, Unsupported
from ...words.value import Value
from ..model.source import ForkSafe
from .division import processes_for
from .partial import LEAST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO

    from ...grammars.chunked.layout import TableOfContents
    from ...grammars.tar.entry import Reader
    from ...ground.work.budget import Budget
    from ...stores.trees.lazy import LazyMaking
    from ...stores.trees.model import TreeInfo
    from ...words.oci import Descriptor
    from ...words.progress import Task
    from ..model.source import Ranged
    from .job import LayerJob

MOST_PIECE = 64 << 20
"""Bytes of the largest piece, plain or compressed, that is held in memory."""
_AT_ONCE = 12
_WHOLE = (ContentError, RegistryError, NotFound, Unsupported)
"""What has a layer come whole."""
_PIECE = 1 << 18


class Extents:
    """Where the pieces of a layer are, in the order of its tar; `here` is shared with forked processes."""

    def __init__(self, codec: str = "") -> None:
        """`codec` is that of the pieces."""
        self.codec = codec
        self._decoder = PieceDecoder(codec)
        self.at, self.size, self.start, self.end = (array("Q") for _ in range(4))
        self.digests: list[str] = []
        self.here: mmap.mmap | bytearray = bytearray()

    def __len__(self) -> int:
        return len(self.at)

    def add(self, at: int, size: int, blob: tuple[int, int], digest: str) -> None:
        """The next piece. Raises Unsupported for one without a digest, or too large to be verified first."""
        if not digest:
            raise Unsupported("its table of contents has pieces without a digest")
        if max(size, blob[1] - blob[0]) > MOST_PIECE:
            raise Unsupported("its table of contents has pieces that are too large")
        self.at.append(at)
        self.size.append(size)
        self.start.append(blob[0])
        self.end.append(blob[1])
        self.digests.append(digest)

    def seal(self) -> None:
        """There are no more."""
        if self.at:
            self.here = mmap.mmap(-1, len(self.at))

    def within(self, offset: int, count: int) -> range:
        """The pieces that these bytes of the tar touch; all of them for (0, 0)."""
        if not count:
            return range(len(self.at))
        first = max(0, bisect_right(self.at, offset) - 1)
        if self.at and self.at[first] + self.size[first] <= offset:
            first += 1
        return range(first, max(first, bisect_right(self.at, offset + count - 1)))

    def missing(self, numbers: Sequence[int]) -> list[int]:
        """Those of them that are not here."""
        here = self.here
        return [number for number in numbers if not here[number]]

    def unpack(self, number: int, packed: memoryview) -> bytes:
        """A piece out of its bytes of the blob, verified. Raises InvalidArchive for anything else."""
        size = self.size[number]
        plain = self._decoder.unpack(packed, size)
        return self.verified(number, plain or first_bytes(decompress(BytesIO(packed), self.codec), size))

    def verified(self, number: int, plain: bytes) -> bytes:
        """The same bytes. Raises InvalidArchive unless they are those of the piece."""
        if len(plain) != self.size[number] or sha256(plain).hexdigest() != self.digests[number]:
            raise InvalidArchive("a piece of a layer is not what its table of contents says")
        return plain

    def write(self, tar: int, number: int, plain: bytes) -> None:
        """Put a piece into the tar. Raises OSError."""
        write_at(tar, plain, self.at[number])

    @property
    def bytes_here(self) -> int:
        """Bytes of content that have come."""
        return sum(size for size, here in zip(self.size, self.here[:], strict=True) if here)

    @property
    def is_complete(self) -> bool:
        """Whether everything has come."""
        return self.here.find(b"\0") < 0


def first_bytes(stream: Reader, count: int) -> bytes:
    """So many bytes of a stream, fewer if it ends. Raises InvalidArchive where it is damaged."""
    parts: list[bytes] = []
    while count and (data := stream.read(count)):
        parts.append(data)
        count -= len(data)
    return b"".join(parts)


class LazyLayer(Value):
    """A layer that was laid, and what has to come."""

    tree: LazyTree
    layer: Descriptor
    extents: Extents


def lay_lazily(
    jobs: Sequence[LayerJob],
    laid: list[LazyLayer],
    budget: Budget,
    beside: Callable[[], object] | None = None,
) -> None:
    """Lay those layers that have a table of contents; the others are left to be fetched whole.

    Tables are read side by side in threads, and made into trees in the processes of the budget: both take
    long. Each layer goes into `laid` at once: this process holds it, whatever becomes of the others. `beside`
    is called in another thread meanwhile, if there are such layers. Raises Stopped, StoreError.
    """
    wanted = [job for job in jobs if not job.has_tree and job.layer.size >= LEAST]
    with ExitStack() as stack:
        begun = [each for job in wanted if (each := _begun(job, stack)) is not None]
        fetches = [each.fetch for each in begun]
        in_parallel(
            lambda fetch, _stop: fetch(), [beside, *fetches] if begun and beside else fetches, _AT_ONCE
        )
        for each in _filled(begun, budget):
            info, extents = each.result()
            if info is not None:
                extents.seal()
                laid.append(LazyLayer(each.laying.publish(info), each.job.layer, extents))


def _begun(job: LayerJob, stack: ExitStack) -> _LazyJob | None:
    """None for a layer without a table, or that is here or being made by now."""
    from ...grammars.chunked.forms import spans

    needed = spans(job.layer)
    laying = job.store.trees.lazy.begin(job.diff_id) if needed is not None else None
    if laying is None:
        return None
    stack.callback(laying.end)
    return _LazyJob(job, laying, needed or (), stack.enter_context(open(os.memfd_create("layer"), "w+b")))


def _filled(begun: Sequence[_LazyJob], budget: Budget) -> Sequence[_LazyJob]:
    """The largest table first, in several processes where that pays."""
    begun = sorted(begun, key=lambda each: -each.size)
    source = begun[0].job.source if begun else None
    processes = processes_for(source, [each.job.layer.size for each in begun], budget)
    if processes > 1 and isinstance(source, ForkSafe):
        tasks, at_fork = [each.job.task for each in begun], AtFork(begun[0].job.store.rest, source.forked)
        limited = budget.limited(processes=processes, transfers=processes)
        fork_map(lambda number, task, _stop: begun[number].fill(task), tasks, limited, at_fork)
    else:
        in_parallel(lambda each, _stop: each.fill(each.job.task), begun, _AT_ONCE)
    return begun


class _LazyJob:
    """One layer while it is laid; `fill` may be done in a fork, and leaves its result in a file."""

    def __init__(
        self, job: LayerJob, laying: LazyMaking, needed: Sequence[tuple[int, int]], file: BinaryIO
    ) -> None:
        self.job, self.laying, self._needed, self._file = job, laying, needed, file
        self._known: dict[tuple[int, int], bytes] = {}

    @property
    def size(self) -> int:
        """Bytes of the table."""
        return sum(map(len, self._known.values()))

    def fetch(self) -> None:
        """Have the parts of the blob at hand that are needed first."""
        with suppress(*_WHOLE):  # `fill` will say it
            self._known = {span: _read(self.job, *span) for span in self._needed}

    def fill(self, task: Task) -> None:
        """Make the tree; where that cannot be the line of the layer says why. Raises Stopped, StoreError."""
        from ...grammars.chunked.forms import open_layout

        try:
            layout = open_layout(self.job.layer, self._part)
            if layout is not None and layout.variants == 1:
                extents = Extents(layout.codec)
                pickle.dump((self.laying.fill(_pieces(layout, extents)), extents), self._file)
                self._file.flush()
        except _WHOLE as error:
            task.phase(f"Comes whole: {error.message}", self.job.layer.size)

    def _part(self, start: int, end: int) -> bytes:
        known = self._known.get((start, end))
        return _read(self.job, start, end) if known is None else known

    def result(self) -> tuple[TreeInfo | None, Extents]:
        """What the row of the tree will hold, and where its pieces are; None where it comes whole."""
        self._file.seek(0)
        try:
            found: tuple[TreeInfo, Extents] = pickle.load(self._file)  # of our own child
            return found
        except EOFError:
            return None, Extents()


def _read(job: LayerJob, start: int, end: int) -> bytes:
    job.task.phase("Reading table of contents", end - start)
    return fetched(cast("Ranged", job.source), job.layer, start, end)


def fetched(source: Ranged, layer: Descriptor, start: int, end: int) -> bytes:
    """Some bytes of a blob, few enough for memory. Raises RegistryError."""
    parts: list[bytes] = []
    left = end - start
    with source.fetch_range(layer, start, end) as reader:
        while left and (data := reader.read(min(left, _PIECE))):
            parts.append(data)
            left -= len(data)
    if left:
        raise RegistryError(f"layer {layer.digest.short} came with {left} bytes too few in a range")
    return b"".join(parts)


def _pieces(layout: TableOfContents, extents: Extents) -> Iterator[bytes | int]:
    """The tar, literal where it is not content, while the places of the contents are noted."""
    at = 0
    for segment in layout.segments():
        if isinstance(segment, bytes):
            at += len(segment)
            yield segment
            continue
        for chunk in segment.chunks:
            extents.add(at + chunk.offset, chunk.size, (chunk.start, chunk.end), chunk.digest)
        at += segment.size
        yield segment.size
