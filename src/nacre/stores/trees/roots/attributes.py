"""Attributes of folders that a layer needs and does not describe, laid over it.

overlayfs shows a folder as its topmost layer has it: the mode and the owner that a lower layer gave it would
be lost where a layer only implies the folder (`forms.implied`). So where one lies above a layer that does
describe it, an *attribute overlay* goes on top: bare folders with the right attributes.

    trees/<hex>/brow-<hash>/     the one over one stack of lower layers, made when first needed

Source: overlayfs.rst, "Directories" (attributes of merged directories).
"""

from __future__ import annotations

import os

from ....ground import ids
from ....ground.files import os_errors, private_dir, random_name, remove_tree
from ..forms import implied
from ..reading.view import open_view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..model import StoredTree
    from ..reading.view import Found


def attribute_overlay(trees: Sequence[StoredTree], *, owners: bool) -> str:
    """The folder to lay over the topmost of `trees`, which has implied folders.

    Made at the first call for this stack, atomically. Raises StoreError.
    """
    top = trees[-1]
    from hashlib import sha256

    below = sha256(" ".join(tree.diff_id for tree in trees[:-1]).encode()).hexdigest()
    made = f"{top.folder}/brow-{below}"
    if not os.path.isdir(made):
        _publish(trees, made, owners)
    return made


def _publish(trees: Sequence[StoredTree], made: str, owners: bool) -> None:
    scratch = f"{made}.{random_name()}"
    with os_errors(f"make {made}"):
        private_dir(scratch)
        try:
            _Overlay(trees, scratch, owners).make()
            os.rename(scratch, made)
        except BaseException as error:
            remove_tree(scratch)
            if not (isinstance(error, OSError) and os.path.isdir(made)):  # else another was faster
                raise


class _Overlay:
    """Lays out the folders of one attribute overlay."""

    def __init__(self, trees: Sequence[StoredTree], into: str, owners: bool) -> None:
        self.into, self.owners = os.fsencode(into), owners
        self.own = trees[-1].read()
        self.view = open_view(trees)
        self.lower = open_view(trees[:-1])
        self.implied = implied.load(trees[-1].folder)
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


def _prefixes(path: bytes) -> list[bytes]:
    """`a/b/c` → a, a/b, a/b/c."""
    parts = path.split(b"/")
    return [b"/".join(parts[: count + 1]) for count in range(len(parts))]
