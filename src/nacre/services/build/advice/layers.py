"""What the layers of a build hold for no use: caches of package managers, and files that are there twice."""

from __future__ import annotations

from contextlib import ExitStack

from ....grammars.dockerfile.instructions import CopyInstruction, RunInstruction
from ....images.dockerfile.advice import advise
from ....images.dockerfile.packagecaches import CacheFinder, instead
from ....images.dockerfile.secrets import secret_files
from ....words.sizes import human_size
from .doubled import DoubledFiles
from .files import secret_advice
from .owners import owner_advice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ....grammars.dockerfile.checks import Advice
    from ....grammars.dockerfile.instructions import Instruction
    from ....images.dockerfile.packagecaches import LayerCache
    from ....stores.store import Store
    from ....stores.trees.reading.reader import LayerReader
    from ....words.digest import Digest
    from ..stageprogress import StageProgress

LEAST = 1_000_000
"""Bytes that are worth a word."""
_SMALL = 64 << 10


class BuiltLayer:
    """A layer of a stage, with the instruction that has made it and the readers of the layers beneath."""

    def __init__(
        self, item: Instruction, number: int, reader: LayerReader, beneath: list[LayerReader]
    ) -> None:
        self.item, self.number, self.reader, self.beneath = item, number, reader, beneath


class LayerAdvice:
    """About the layers of a stage; those in `made` alone, if it is given."""

    def __init__(self, store: Store, end: StageProgress, made: Collection[Digest] | None) -> None:
        self._store, self._end, self._made = store, end, made
        self._readers: list[LayerReader] = []

    def find(self) -> Iterator[Advice]:
        """Raises NotFound, StoreError, OSError."""
        steps = list(enumerate(self._end.steps))
        ours = tuple(diff_id for _, (_, diff_id) in steps if diff_id is not None)
        at = len(self._end.diff_ids) - len(ours)
        if self._end.diff_ids[at:] != ours:  # they became one layer
            return
        with ExitStack() as stack:
            for number, (step, diff_id) in steps:
                if diff_id is None:
                    continue
                if _is_looked_at(step.instruction) and (self._made is None or diff_id in self._made):
                    self._open(at + 1, stack)
                    layer = BuiltLayer(step.instruction, number, self._readers[at], self._readers[:at])
                    yield from self._of(layer, diff_id)
                at += 1

    def _open(self, count: int, stack: ExitStack) -> None:
        """The readers of the lowest layers."""
        for diff_id in self._end.diff_ids[len(self._readers) : count]:
            reader = self._store.trees.read(diff_id)
            stack.callback(reader.close)
            self._readers.append(reader)

    def _of(self, layer: BuiltLayer, diff_id: Digest) -> Iterator[Advice]:
        item = layer.item
        is_run = isinstance(item, RunInstruction)
        finder = CacheFinder(item.code)
        doubled = DoubledFiles(layer.reader, layer.beneath if is_run else [])
        paths = []
        with self._store.trees.open((diff_id,)) as view:
            for path, node in view.own():
                if node.kind == "file" and node.size:
                    paths.append(path)
                    if is_run and not node.inode:
                        finder.add(path, node.size)
                    doubled.add(path, node)
        again = doubled.found()
        yield from _secrets(layer, set(paths) - {one.path for one in again})
        if isinstance(item, RunInstruction):
            yield from self._caches(item, layer.number, finder.found())
            yield from owner_advice(self._end, layer, again, LEAST)

    def _caches(self, item: RunInstruction, number: int, found: list[LayerCache]) -> Iterator[Advice]:
        later = [
            step.instruction for step, _ in self._end.steps[number + 1 :] if step.instruction.name == "RUN"
        ]
        for tool in dict.fromkeys(one.cache.tool for one in found):
            ours = [one for one in found if one.cache.tool == tool]
            size = sum(one.size for one in ours)
            if size >= LEAST:
                what = ", ".join(dict.fromkeys(one.cache.what for one in ours))
                places = ", ".join(one.folder for one in ours)
                text = f"{human_size(size)} of what {tool} has fetched stay in the layer: {what} ({places})"
                yield advise(item, "PackageCacheInLayer", text, size, instead(item, ours, later))


def _is_looked_at(item: Instruction) -> bool:
    """A RUN, or a COPY from another image: files of a context are known without their layer."""
    return isinstance(item, RunInstruction) or (isinstance(item, CopyInstruction) and bool(item.source_stage))


def _secrets(layer: BuiltLayer, paths: set[bytes]) -> Iterator[Advice]:
    found = []
    is_given = not isinstance(layer.item, RunInstruction)
    for path, kind_of in secret_files(((path, path) for path in sorted(paths)), is_given=is_given):
        with layer.reader.open(path) as file:
            kind = kind_of(file.read(_SMALL).decode("utf-8", "replace"))
        if kind:
            found.append(("/" + path.decode("utf-8", "backslashreplace"), kind))
    if found:
        yield secret_advice(layer.item, found)
