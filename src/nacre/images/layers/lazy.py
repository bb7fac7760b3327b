"""A layer whose content comes when it is read: laid by its table of contents, which says where each piece is.

    table ──► headers, and how long each content is ──► tar with holes, and its index   (`stores.trees.lazy`)
          └─► extents: where a piece lies in the tar, where in the blob, and its digest  (`filler`)

Every piece must have a digest in the table, which the manifest covers; what does not match is not written.
A layer without a table may have an index that is attached to the image (`spans`), which no manifest covers.
"""

from __future__ import annotations

import os
import pickle
from contextlib import ExitStack, suppress
from functools import partial
from typing import cast

from ...ground.work.forkmap import AtFork, fork_map
from ...ground.work.threads import Worker, in_parallel, running
from ...stores.trees.lazy import LazyTree
from ...words.errors import ContentError, NotFound, RegistryError, Unsupported
from ...words.value import Value
from ..model.source import ForkSafe
from .division import processes_for
from .extents import Extents
from .partial import LEAST
from .spans import IndexedExtents, candidates, open_index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO

    from ...grammars.chunked.layout import TableOfContents
    from ...grammars.sideindex import LayerIndex
    from ...ground.work.budget import Budget
    from ...stores.trees.lazy import LazyMaking
    from ...stores.trees.model import TreeInfo
    from ...words.digest import Digest
    from ...words.oci import Descriptor
    from ...words.progress import Task
    from ..model.source import Ranged
    from .job import LayerJob

    Span = tuple[int, int]

_AT_ONCE = 12
_WHOLE = (ContentError, RegistryError, NotFound, Unsupported)
"""What has a layer come whole."""
_PIECE = 1 << 18


class LazyLayer(Value):
    """A layer that was laid, and what has to come."""

    tree: LazyTree
    layer: Descriptor
    extents: Extents


class Tables:
    """Tables of contents, fetched before it is known what the trees of their layers are called."""

    def __init__(self, source: Ranged) -> None:
        self._source = source
        self._known: dict[Digest, dict[Span, bytes]] = {}

    def fetches(self, layers: Sequence[Descriptor]) -> list[Callable[[], object]]:
        """What fetches each of them, those of layers that have none left out."""
        from ...grammars.chunked.forms import spans

        return [
            partial(self._fetch, layer, needed) for layer in layers
            if layer.size >= LEAST and (needed := spans(layer)) is not None
        ]  # fmt: skip

    def _fetch(self, layer: Descriptor, needed: Sequence[Span]) -> None:
        with suppress(*_WHOLE):  # who lays the layer will ask again
            self._known[layer.digest] = {span: fetched(self._source, layer, *span) for span in needed}

    def of(self, layer: Descriptor) -> dict[Span, bytes] | None:
        """The parts of its blob, None where they were not asked for or did not come."""
        return self._known.get(layer.digest)


def lay_lazily(
    jobs: Sequence[LayerJob], laid: list[LazyLayer], budget: Budget, *, tables: Tables,
    attached: Callable[[], Sequence[Descriptor]], beside: Callable[[], object],
) -> None:  # fmt: skip
    """Lay those layers that have a table of contents; the others are left to be fetched whole.

    `tables` are at hand. `attached` gives what is attached to the image, and is asked for indexes if a layer
    has no table. What is not at hand is read side by side in threads, and made into trees in the processes of
    the budget, since that takes long; `beside` is called in another thread meanwhile, if there are such
    layers. Each layer goes into `laid` at once: this process holds it, whatever becomes of the others.
    Raises Stopped, StoreError.
    """
    from ...grammars.chunked.forms import spans

    wanted = [job for job in jobs if not job.has_tree and job.layer.size >= LEAST]
    indexes = () if all(spans(job.layer) for job in wanted) else attached()
    with ExitStack() as stack:
        begun = [each for job in wanted if (each := _begun(job, indexes, stack, tables)) is not None]
        in_parallel(
            lambda each, _stop: each.fetch(), [each for each in begun if not each.is_at_hand], _AT_ONCE
        )
        for each in _filled(begun, budget, beside) if begun else ():
            info, extents = each.result()
            if info is not None:
                extents.seal()
                laid.append(LazyLayer(each.laying.publish(info), each.job.layer, extents))


def _begun(job: LayerJob, indexes: Sequence[Descriptor], stack: ExitStack, tables: Tables) -> _LazyJob | None:
    """None for a layer without table and index, or that is here or being made by now."""
    from ...grammars.chunked.forms import spans

    needed, found = spans(job.layer), candidates(job.layer, indexes)
    laying = job.store.trees.lazy.begin(job.diff_id) if needed is not None or found else None
    if laying is None:
        return None
    stack.callback(laying.end)
    file = stack.enter_context(open(os.memfd_create("layer"), "w+b"))
    if needed is None:
        return _IndexedJob(job, laying, found, file)
    return _LazyJob(job, laying, needed, file, tables.of(job.layer))


def _filled(begun: Sequence[_LazyJob], budget: Budget, beside: Callable[[], object]) -> Sequence[_LazyJob]:
    """The largest table first, in several processes where that pays."""
    begun = sorted(begun, key=lambda each: -each.size)
    with ExitStack() as stack:
        _fill(begun, budget, lambda: stack.enter_context(running([Worker(beside)], ())))
    return begun


def _fill(begun: Sequence[_LazyJob], budget: Budget, beside: Callable[[], object]) -> None:
    source = begun[0].job.source
    processes = processes_for(source, [each.job.layer.size for each in begun], budget)
    if processes > 1 and isinstance(source, ForkSafe):
        tasks = [each.job.task for each in begun]
        at_fork = AtFork(begun[0].job.store.rest, source.forked, then=beside)
        limited = budget.limited(processes=processes, transfers=processes)
        fork_map(lambda number, task, _stop: begun[number].fill(task), tasks, limited, at_fork)
    else:
        beside()
        in_parallel(lambda each, _stop: each.fill(each.job.task), begun, _AT_ONCE)


class _LazyJob:
    """One layer while it is laid; `fill` may be done in a fork, and leaves its result in a file."""

    def __init__(
        self, job: LayerJob, laying: LazyMaking, needed: Sequence[Span], file: BinaryIO,
        known: dict[Span, bytes] | None = None,
    ) -> None:  # fmt: skip
        """`needed` are the parts of the blob that it takes, `known` what was read of them."""
        self.job, self.laying, self._needed, self._file = job, laying, needed, file
        self._known = known or {}

    @property
    def is_at_hand(self) -> bool:
        """Whether nothing has to be fetched before it can be filled."""
        return bool(self._known)

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
        try:
            found = self._opened()
            if found is not None:
                pieces, extents = found
                pickle.dump((self.laying.fill(pieces), extents), self._file)
                self._file.flush()
        except _WHOLE as error:
            task.phase(f"Comes whole: {error.message}", self.job.layer.size)

    def _opened(self) -> tuple[Iterator[bytes | int], Extents] | None:
        """What the tar is made of, and where its pieces are when all of that has been taken."""
        from ...grammars.chunked.forms import open_layout

        layout = open_layout(self.job.layer, self._part)
        if layout is None or layout.variants != 1:
            return None
        extents = Extents(layout.codec)
        return _pieces(layout, extents), extents

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


class _IndexedJob(_LazyJob):
    """One layer that is laid by an index that is attached to its image."""

    def __init__(
        self, job: LayerJob, laying: LazyMaking, found: Sequence[Descriptor], file: BinaryIO
    ) -> None:
        super().__init__(job, laying, (), file)
        self._candidates = found
        self._index: LayerIndex | None = None

    @property
    def size(self) -> int:
        """Bytes of the index, as far as it is read."""
        return len(self._index.skeleton) if self._index else 0

    def fetch(self) -> None:
        """Have an index at hand that says that it is of the layer."""
        with suppress(*_WHOLE):
            self._index = open_index(self.job, self._candidates)

    def _opened(self) -> tuple[Iterator[bytes | int], Extents] | None:
        if self._index is None:
            return None
        extents = IndexedExtents(self._index)
        return extents.following(self._index.pieces()), extents


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
    at, add = 0, extents.add
    for segment in layout.segments():
        if isinstance(segment, bytes):
            at += len(segment)
            yield segment
            continue
        _path, length, _digest, chunks = segment
        for start, end, offset, size, digest in chunks:
            add(at + offset, size, (start, end), digest)
        at += length
        yield length
