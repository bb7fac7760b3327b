"""Layers as trees of nodes, laid over one another.

Nothing here touches a file. `erofs.tree` makes the tree of one layer.
"""

from __future__ import annotations

import stat

from .overlay import OPAQUE, ORIGIN, is_whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..tar.entry import Xattrs

_FORMAT = 0o170000


class Node:
    """One inode. `mode` has the type bits; `children` maps names to nodes and is None but for folders.

    A file with several names is one node under several names. `device` is the slot (from 1) of the tar
    that holds the content and `block` where it begins there, in blocks; but with a `head`, which is another
    such pair, its first `erofs.format.HEAD` blocks lie there and only the rest from `block + HEAD` on.
    `implied`: a folder that is only on the way to something. `rdev` is as the kernel stores it. The writer
    of an index sets `nid` and `nlink`.
    """

    __slots__ = (
        "block", "children", "device", "gid", "head", "implied", "link", "mode", "mtime_ns", "nid", "nlink",
        "rdev", "size", "uid", "xattrs",
    )  # fmt: skip

    def __init__(
        self, mode: int, uid: int = 0, gid: int = 0, mtime_ns: int = 0, size: int = 0, *, link: bytes = b"",
        rdev: int = 0, xattrs: Xattrs = (), device: int = 0, block: int = 0, implied: bool = False,
    ) -> None:  # fmt: skip
        self.mode, self.uid, self.gid, self.mtime_ns, self.size = mode, uid, gid, mtime_ns, size
        self.link, self.rdev, self.xattrs, self.device, self.block = link, rdev, xattrs, device, block
        self.children: dict[bytes, Node] | None = {} if mode & _FORMAT == stat.S_IFDIR else None
        self.implied = implied
        self.head: tuple[int, int] | None = None
        self.nid, self.nlink = -1, 0


def merge(lower: Node, upper: Node) -> None:
    """Lay the layer `upper` over `lower`, which becomes the union: whiteouts take effect, marks vanish.

    `lower` is the result of `settle` or of `merge`. Folders that `upper` only implies keep their looks: an
    opaque mark hides what is in them, and says nothing about them.
    """
    waiting = [(lower, upper)]
    while waiting:
        below, above = waiting.pop()
        mine = _children(below)
        if OPAQUE in above.xattrs:
            mine.clear()
        if not above.implied:
            _take_looks(below, above)
        for name, node in _children(above).items():
            there = mine.get(name)
            if _is_whiteout(node):
                mine.pop(name, None)
            elif there is not None and there.children is not None and node.children is not None:
                waiting.append((there, node))
            else:
                mine[name] = settle(node) if node.children is not None else node


def _take_looks(below: Node, above: Node) -> None:
    below.mode, below.uid, below.gid = above.mode, above.uid, above.gid
    below.mtime_ns, below.xattrs, below.implied = above.mtime_ns, above.xattrs, False
    _unmark(below)


def settle(root: Node) -> Node:
    """The same tree as one that has nothing beneath it: whiteouts and marks go. Gives `root`."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        _unmark(folder)
        children = _children(folder)
        for name in [name for name, node in children.items() if _is_whiteout(node)]:
            del children[name]
        waiting += [node for node in children.values() if node.children is not None]
    return root


def walk(root: Node) -> Iterator[tuple[bytes, Node]]:
    """Every node with its path, folders before their contents, names sorted; a file under all its names."""
    waiting = [(b"", root)]
    while waiting:
        path, node = waiting.pop()
        yield path, node
        if node.children:
            base = path + b"/" if path else b""
            waiting += [(base + name, child) for name, child in sorted(node.children.items(), reverse=True)]


def _unmark(folder: Node) -> None:
    if folder.xattrs:
        folder.xattrs = tuple(pair for pair in folder.xattrs if pair not in (OPAQUE, ORIGIN))


def _is_whiteout(node: Node) -> bool:
    return is_whiteout(node.mode, node.rdev)


def _children(folder: Node) -> dict[bytes, Node]:
    assert folder.children is not None
    return folder.children
