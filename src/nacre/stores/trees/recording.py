"""Which parts of its layers a container reads, as the kernel tells before each read.

    container ──read──► EROFS ──► layer.tar ──event──► recorder: path, offset, count ──► answered at once
                                  lent-00                └─ cuts ─► place in the layer's whole tar

The marks must be there before the mount, so the container gets mounts of its own. The recorder is a process:
a thread would wait for what its own process holds while that reads one of the files. If it dies, every read
goes on: nothing is missing here.
"""

from __future__ import annotations

import os
import select
from bisect import bisect_right
from itertools import accumulate

from ...grammars.erofs.format import BLOCK
from ...ground.files import os_errors
from ...ground.fork import BLOCKED, fork
from ...ground.precontent import ContentGroup
from ...words.mount import Erofs, Overlay
from ..shared import Unshared
from . import files
from .dedup.restore import load_cuts, pieces_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import Any

    from ...ground.fork import Child, ChildReport
    from ...words.mount import Mount
    from .model import StoredTree

    Read = tuple[int, int, int]
    Event = tuple[str, int, int]

_MOST = 200_000
"""Events that are kept."""


class RecordedMount(Unshared):
    """As `Unshared`, and its reads are recorded; `reads` has them afterwards.

    A read is (number of the tree, offset, length) in the layer's whole tar, in the order of time.
    """

    def __init__(self, root: str, mount: Mount, trees: Sequence[StoredTree]) -> None:
        """`trees` are those of the mount, lowest first."""
        super().__init__(root, mount)
        self._trees, self._recorder = trees, _Recorder(_devices(mount))
        self._lowers = _indexes(mount)
        self.reads: list[Read] = []

    def __enter__(self) -> Mount:
        with os_errors("record what a container reads"):
            self._recorder.begin()
        try:
            return super().__enter__()
        except BaseException:
            self._recorder.end()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, tb)
        self.reads = list(ReadPlaces(self._lowers, self._trees).reads(self._recorder.end()))


def _indexes(mount: Mount) -> list[Erofs]:
    lowers = mount.lowers if isinstance(mount, Overlay) else ()
    return [lower for lower in lowers if isinstance(lower, Erofs)]


def _devices(mount: Mount) -> list[str]:
    return sorted({path for lower in _indexes(mount) for path in lower.devices})


class _Recorder:
    """A process that answers what is read of some files, and keeps it."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._child: Child | None = None
        self._stop = -1

    def begin(self) -> None:
        """From now on. Raises OSError where the kernel has no such events."""
        content = ContentGroup()
        reader, self._stop = os.pipe2(os.O_CLOEXEC)
        try:
            for path in self._paths:
                _mark(content, path)

            def work(report: ChildReport) -> None:
                report.tell(True)
                report.tell(list(_heard(content, reader)))

            self._child = fork(
                work, what="the recorder of reads", keep=(content.group, reader), signals=BLOCKED
            )
            self._child.answer()
        except BaseException:
            self.end()
            raise
        finally:
            os.close(reader)
            os.close(content.group)

    def end(self) -> list[Event]:
        """What was read. Idempotent."""
        stop, self._stop = self._stop, -1
        if stop >= 0:
            os.close(stop)
        child, self._child = self._child, None
        if child is None:
            return []
        with child:
            (found,) = child.answer()
            child.wait()
        return [(str(path), int(offset), int(count)) for path, offset, count in found]


def _mark(content: ContentGroup, path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content.mark(fd)
    finally:
        os.close(fd)


def _heard(content: ContentGroup, stop: int) -> Iterator[Event]:
    """Until the other end of `stop` is closed."""
    poll = select.poll()
    poll.register(content.group, select.POLLIN)
    poll.register(stop, 0)  # POLLHUP
    count, stopped = 0, False
    while not stopped:
        stopped = stop in dict(poll.poll())
        for event in content.events():
            path = os.readlink(f"/proc/self/fd/{event.fd}")
            content.answer(event)
            count += 1
            if count <= _MOST and event.count:
                yield path, event.offset, event.count


class ReadPlaces:
    """Where in the tars of layers the parts of files belong that EROFS reads."""

    def __init__(self, lowers: Sequence[Erofs], trees: Sequence[StoredTree]) -> None:
        self._by_path: dict[str, list[tuple[int, FileParts]]] = {}
        known = [_by_file(tree.folder) for tree in trees]
        for lower in lowers:
            folder, name = os.path.split(lower.index)
            single = name == files.INDEX
            shown = [n for n, tree in enumerate(trees) if not single or tree.folder == folder]
            for path in lower.devices:
                file = _identity(path)
                self._by_path[path] = [(n, known[n][file]) for n in shown if file in known[n]]

    def reads(self, events: Sequence[Event]) -> Iterator[Read]:
        """In the order of the events; what several layers of a merged index share is one of each."""
        for path, offset, count in events:
            for number, pieces in self._by_path.get(path, ()):
                for start, length in pieces.within(offset, count):
                    yield number, start, length


class FileParts:
    """Parts of one file that belong to a layer: where they begin here, how long they are, and where there.

    They may overlap: equal contents of a layer may lie in one place.
    """

    def __init__(self, parts: Iterable[tuple[int, int, int]]) -> None:
        """In bytes; the third is the offset in the layer's tar."""
        self._parts = sorted(parts)
        self._reach = list(accumulate((here + length for here, length, _ in self._parts), max))

    def within(self, offset: int, count: int) -> Iterator[tuple[int, int]]:
        """Offset and length in the layer's tar of what these bytes of the file are."""
        for here, length, whole in self._parts[bisect_right(self._reach, offset) :]:
            if here >= offset + count:
                return
            start, end = max(here, offset), min(here + length, offset + count)
            if start < end:
                yield whole + start - here, end - start


def _by_file(folder: str) -> dict[Any, FileParts]:
    """The files that hold the content of a layer, by their identity."""
    cuts, tar = load_cuts(folder), f"{folder}/{files.TAR}"
    if cuts is None:
        return {_identity(tar): FileParts([(0, os.stat(tar).st_size, 0)])}
    paths = [tar, *(f"{folder}/{name}" for name in files.lenders(os.listdir(folder)))]
    parts: list[list[tuple[int, int, int]]] = [[] for _ in paths]
    starts, places = pieces_of(cuts)
    ends = [*starts[1:], cuts.length // BLOCK]
    for start, end, (donor, block) in zip(starts, ends, places, strict=True):
        parts[donor].append((block * BLOCK, (end - start) * BLOCK, start * BLOCK))
    return {_identity(path): FileParts(found) for path, found in zip(paths, parts, strict=True)}


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino
