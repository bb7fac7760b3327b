"""Layers as trees of nodes, laid over one another.

Nothing here touches a file. `erofs.tree` makes the tree of one layer.
"""

from __future__ import annotations

import stat

from ..erofs.format import OPAQUE, ORIGIN, Node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_FORMAT = 0o170000


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
    return node.mode & _FORMAT == stat.S_IFCHR and node.rdev == 0


def _children(folder: Node) -> dict[bytes, Node]:
    assert folder.children is not None
    return folder.children
