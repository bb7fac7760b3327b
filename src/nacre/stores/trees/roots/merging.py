"""One index for many layers: the lowest trees of a tall stack merged, their tars as its devices.

Mounting a layer takes 0.15 ms and letting go of it as much, and every look for a name goes through all
layers of a folder. Over 100 layers that was 18 ms against 1.3 for a merged index, and a cold `find`
over 61,000 files 8 s against 1.3; over 16 layers 2.3 ms and 2.8 s against 0.7 ms and 1.4 s; over 5 layers
there was no difference. To merge takes 10 µs a file, so only stacks of more than
`mounted.MOST_INDEXES` are, and layers that come on top of a merged stack wait until they are as many again.

    trees/<hex>/merged-2-<chain>.erofs    in the folder of the topmost of its layers; goes with that one

<chain> is the hash of all diff ids, of the inode and time of each layer's index and of which files it
points into: the same layer pulled again may have its contents elsewhere. A tar that several layers point
into is one device. 2 is the version of all this.
"""

from __future__ import annotations

import os

from ....ground.files import os_errors, write_atomic
from ....words.mount import Erofs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....grammars.layer.nodes import Inode
    from ..model import StoredTree


def lowest(trees: Sequence[StoredTree], lowers: Sequence[Erofs], most: int) -> tuple[int, Erofs]:
    """How many of the trees, from the lowest, one index stands for, and that index.

    Made when it is first needed, atomically, and on disk when this returns. `most` layers may stay beside
    it. Raises StoreError.
    """
    with os_errors("merge the layers of an image"):
        stack = _Stack(lowers)
        paths = stack.paths(trees)
        count = next((n for n in range(len(trees), 1, -1) if os.path.exists(paths[n - 1])), 0)
        if len(trees) - count > most:
            count = len(trees)
            write_atomic(paths[-1], _merge(trees, stack), 0o400, sync=True)
        lazy = tuple(index for lower in lowers[:count] for index in lower.lazy)
        return count, Erofs(paths[count - 1], stack.devices(count), lazy)


class _Stack:
    """Layers and the files they point into: every file once, by inode, in the order of the layers."""

    def __init__(self, lowers: Sequence[Erofs]) -> None:
        self._files: dict[tuple[int, int], int] = {}
        self._paths: list[str] = []
        self.sizes: list[int] = []
        self._indexes = [lower.index for lower in lowers]
        self.slots = [tuple(map(self._slot, lower.devices)) for lower in lowers]
        """For every layer the numbers of its devices, from 1."""

    def _slot(self, path: str) -> int:
        found = os.stat(path)
        slot = self._files.setdefault((found.st_dev, found.st_ino), len(self._paths) + 1)
        if slot > len(self._paths):
            self._paths.append(path)
            self.sizes.append(found.st_size)
        return slot

    def devices(self, count: int) -> tuple[str, ...]:
        """The files of the first `count` layers."""
        return tuple(self._paths[: max(slot for slots in self.slots[:count] for slot in slots)])

    def paths(self, trees: Sequence[StoredTree]) -> list[str]:
        """Where the index of each prefix of the stack is, or would be."""
        from hashlib import sha256

        chain = sha256()
        paths = []
        for tree, index, slots in zip(trees, self._indexes, self.slots, strict=True):
            found = os.stat(index)
            chain.update(f"{tree.diff_id} {found.st_ino} {found.st_mtime_ns} {slots}\n".encode())
            paths.append(f"{tree.folder}/merged-2-{chain.hexdigest()}.erofs")
        return paths


def _merge(trees: Sequence[StoredTree], stack: _Stack) -> bytes:
    from ....grammars.erofs.write import encode
    from ....grammars.layer.union import as_lowest, merge

    bottom: Inode | None = None
    for tree, slots in zip(trees, stack.slots, strict=True):
        root = _nodes(tree, slots)
        if bottom is None:
            bottom = as_lowest(root)
        else:
            merge(bottom, root)
    assert bottom is not None
    return bytes(encode(bottom, stack.sizes))


def _nodes(tree: StoredTree, slots: Sequence[int]) -> Inode:
    from ..forms.indexread import IndexReader

    reader = IndexReader(tree.folder)
    try:
        return reader.tree(slots)
    finally:
        reader.close()
