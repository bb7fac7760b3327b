"""One index for many layers: the lowest trees of a tall stack merged, their tars as its devices.

Mounting a layer takes 0.15 ms and letting go of it as much, and every look for a name goes through all
layers of a folder. Over 100 layers that was 18 ms against 1.3 for a merged index, and a cold `find`
over 61,000 files 8 s against 1.3; over 16 layers 2.3 ms and 2.8 s against 0.7 ms and 1.4 s; over 5 layers
there was no difference. To merge takes 10 µs a file, so only stacks of more than `MOST` are, and layers
that come on top of a merged stack wait until they are as many again.

    trees/<hex>/merged-1-<chain>.erofs    in the folder of the topmost of its layers; goes with that one

<chain> is the hash of all diff ids, so the same tars lie beneath; 1 is the version of how they are indexed.
"""

from __future__ import annotations

import os

from ...ground.files import write_atomic
from ...words.mount import Erofs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...grammars.erofs import Node
    from .base import Placed

    Lower = Callable[[Placed], Erofs]

MOST = 16
"""Layers that are mounted one by one."""


def lowest(trees: Sequence[Placed], lower: Lower) -> tuple[int, Erofs | None]:
    """How many of the trees, from the lowest, one index stands for, and that; (0, None) for a low stack.

    Made when it is first needed, atomically, and on disk when this returns. Raises StoreError.
    """
    if len(trees) <= MOST:
        return 0, None
    paths = _paths(trees)
    count = next((n for n in range(len(trees), 1, -1) if os.path.exists(paths[n - 1])), 0)
    if len(trees) - count > MOST:
        count = len(trees)
        write_atomic(paths[-1], _merge(trees, lower), 0o400, sync=True)
    devices = [device for tree in trees[:count] for device in lower(tree).devices]
    return count, Erofs(paths[count - 1], tuple(devices))


def _paths(trees: Sequence[Placed]) -> list[str]:
    """Where the index of each prefix of the stack is, or would be."""
    from hashlib import sha256

    chain = sha256()
    paths = []
    for tree in trees:
        chain.update(tree.diff_id.encode() + b" ")
        paths.append(f"{tree.folder}/merged-1-{chain.hexdigest()}.erofs")
    return paths


def _merge(trees: Sequence[Placed], lower: Lower) -> bytes:
    from ...grammars.erofs import encode
    from ...grammars.nodes import merge, settle

    bottom: Node | None = None
    sizes: list[int] = []
    for tree in trees:
        root = _nodes(tree, len(sizes))
        sizes += map(os.path.getsize, lower(tree).devices)
        if bottom is None:
            bottom = settle(root)
        else:
            merge(bottom, root)
    assert bottom is not None
    return bytes(encode(bottom, sizes))


def _nodes(tree: Placed, first: int) -> Node:
    from .indexread import IndexReader

    reader = IndexReader(tree.folder)
    try:
        return reader.tree(first)
    finally:
        reader.close()
