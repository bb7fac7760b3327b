"""Folders that a layer needs and does not describe.

A tar may hold `usr/bin/tool` without `usr` and `usr/bin`. Unpacked on its own such a layer has folders
that nobody described, and overlayfs shows a folder as its topmost layer has it: the mode and the owner
that a lower layer gave it would be lost. So the tree remembers which folders are only implied, and where
one lies above a layer that does describe it, a *brow* goes on top: bare folders with the right looks.

    trees/<hex>/implied          their paths, each ended by a NUL
    trees/<hex>/brow-<hash>/     the brow over one stack of lower layers, made when first needed

Source: overlayfs.rst, "Directories" (attributes of merged directories).
"""

from __future__ import annotations

import os

from ....ground import ids
from ....ground.files import os_errors, private_dir, random_name, remove_tree, write_atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..base import LayerReader, Placed
    from ..reading.view import Found, TreeView

    Read = Callable[[Placed], LayerReader]

FILE = "implied"


def save(folder: str, paths: Iterable[bytes]) -> None:
    """Keep them beside the tree; nothing is written for none."""
    data = b"".join(path + b"\0" for path in sorted(paths))
    if data:
        write_atomic(f"{folder}/{FILE}", data)


def load(folder: str) -> frozenset[bytes]:
    """The implied folders of a tree, mostly none. Raises OSError."""
    try:
        with open(f"{folder}/{FILE}", "rb") as file:
            return frozenset(file.read().split(b"\0")[:-1])
    except FileNotFoundError:
        return frozenset()


def brow(trees: Sequence[Placed], read: Read, *, owners: bool) -> str:
    """The folder to lay over the topmost of `trees`, or "" when it needs none.

    Made at the first call for this stack, atomically. Raises StoreError.
    """
    top = trees[-1]
    if len(trees) < 2 or not os.path.exists(f"{top.folder}/{FILE}"):
        return ""
    from hashlib import sha256

    below = sha256(" ".join(tree.diff_id for tree in trees[:-1]).encode()).hexdigest()
    made = f"{top.folder}/brow-{below}"
    if not os.path.isdir(made):
        _publish(trees, read, made, owners)
    return made


def _publish(trees: Sequence[Placed], read: Read, made: str, owners: bool) -> None:
    scratch = f"{made}.{random_name()}"
    with os_errors(f"make {made}"):
        private_dir(scratch)
        try:
            _Brow(trees, read, scratch, owners).make()
            os.rename(scratch, made)
        except BaseException as error:
            remove_tree(scratch)
            if not (isinstance(error, OSError) and os.path.isdir(made)):  # else another was faster
                raise


class _Brow:
    """Lays out the folders of one brow."""

    def __init__(self, trees: Sequence[Placed], read: Read, into: str, owners: bool) -> None:
        self.into, self.owners = os.fsencode(into), owners
        self.own = read(trees[-1])
        self.view = _view(trees, read)
        self.lower = _view(trees[:-1], read)
        self.implied = load(trees[-1].folder)
        self.made: dict[bytes, Found] = {}

    def make(self) -> None:
        """Folders first, then their looks, the deepest first."""
        with self.view, self.lower:
            for path in sorted(self.implied):
                if self._inherits(path):
                    self._add(path)
            root = self.view.lookup(b"")
            for path, found in sorted(self.made.items(), reverse=True):
                self._dress(self.into + b"/" + path, found)
            if root is not None:
                self._dress(self.into, root)
        self.own.close()

    def _inherits(self, path: bytes) -> bool:
        """Whether a lower layer has a folder there that this layer does not hide with one above it."""
        found = self.lower.lookup(path, follow=False)
        if found is None or found.kind != "dir" or found.path != path:
            return False
        nodes = (self.own.node(prefix) for prefix in _prefixes(path)[:-1])
        return not any(node is not None and node.opaque for node in nodes)

    def _add(self, path: bytes) -> None:
        for prefix in _prefixes(path):
            found = self.view.lookup(prefix, follow=False)
            if prefix not in self.made and found is not None:
                os.mkdir(self.into + b"/" + prefix, 0o700)
                self.made[prefix] = found

    def _dress(self, path: bytes, found: Found) -> None:
        if self.owners:
            ids.chown(path, found.uid, found.gid)
        for name, value in found.xattrs:
            os.setxattr(path, name, value)
        os.chmod(path, found.mode)
        os.utime(path, ns=(found.mtime_ns, found.mtime_ns))


def _view(trees: Sequence[Placed], read: Read) -> TreeView:
    from ..reading.view import TreeView

    return TreeView([(tree.diff_id, read(tree)) for tree in trees])


def _prefixes(path: bytes) -> list[bytes]:
    """`a/b/c` → a, a/b, a/b/c."""
    parts = path.split(b"/")
    return [b"/".join(parts[: count + 1]) for count in range(len(parts))]
