"""Layers over one another: what of them is seen. One rule, from the top, from below, and for each layer.

    whiteout         hides what lower layers have by its name
    opaque folder    hides what they have in it
    folder, folder   both are seen, with the attributes of the upper one unless it is only implied
    all else         hides what lower layers have by its name and beneath

Source: Linux, overlayfs.rst, "whiteouts and opaque directories"; OCI image-spec layer.md.
"""

from __future__ import annotations

from .overlay import OPAQUE, ORIGIN, WHITEOUT, is_whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .nodes import Inode


class Node:
    """One path of one layer, not merged with others. `kind` as in a tar entry, or 'whiteout'.

    `implied`: a folder that the layer needs but does not describe; its metadata is that of what is beneath.
    `content` is the same number for names of a layer that are one file (hard links); 0: nobody's else.
    `inode` likewise, for everything but folders and only where there are several names; 0: none, or unknown.
    `block` is where the content of a file begins in the layer's tar, -1 when it lies elsewhere.
    """

    __slots__ = (
        "block", "content", "gid", "implied", "inode", "kind", "link", "major", "minor", "mode", "mtime_ns",
        "opaque", "size", "uid",
    )  # fmt: skip

    def __init__(self, kind: str, mode: int, uid: int, gid: int, mtime_ns: int, size: int) -> None:
        self.kind, self.mode, self.uid, self.gid = kind, mode, uid, gid
        self.mtime_ns, self.size = mtime_ns, size
        self.link = b""
        self.major = self.minor = self.content = self.inode = 0
        self.block = -1
        self.opaque = self.implied = False


class Stack(list[tuple[int, Node]]):
    """What the layers have at one path as far as it is seen, topmost first.

    `described` is the topmost that its layer describes. A folder that is only implied has the metadata of
    what is below, even if its mark hides what that has in it.
    """

    described: tuple[int, Node] | None = None

    @property
    def shown(self) -> tuple[int, Node]:
        """Whose metadata is seen; only of what is not empty."""
        return self.described or self[0]


def seen(nodes: Iterable[tuple[int, Node | None]]) -> Stack:
    """What of the layers, topmost first, is seen: up to a whiteout, an opaque folder or no folder."""
    stack, hidden = Stack(), False
    for index, node in nodes:
        if node is None:
            continue
        if node.kind == WHITEOUT or (stack and node.kind != "dir"):
            break
        if not hidden:
            stack.append((index, node))
        hidden = hidden or node.opaque
        if not node.implied:
            stack.described = stack.described or (index, node)
        if node.kind != "dir" or (hidden and stack.described):
            break
    return stack


def merge(lower: Inode, upper: Inode) -> None:
    """Lay the layer `upper` over `lower`, which becomes the union: whiteouts take effect, marks vanish.

    `lower` is the result of `as_lowest` or of `merge`. Folders that `upper` only implies keep their metadata:
    an opaque mark hides what is in them, and says nothing about them.
    """
    waiting = [(lower, upper)]
    while waiting:
        below, above = waiting.pop()
        mine = _children(below)
        if OPAQUE in above.xattrs:
            mine.clear()
        if not above.implied:
            _take_metadata(below, above)
        for name, node in _children(above).items():
            there = mine.get(name)
            if _is_whiteout(node):
                mine.pop(name, None)
            elif there is not None and there.children is not None and node.children is not None:
                waiting.append((there, node))
            else:
                mine[name] = as_lowest(node) if node.children is not None else node


def _take_metadata(below: Inode, above: Inode) -> None:
    below.mode, below.uid, below.gid = above.mode, above.uid, above.gid
    below.mtime_ns, below.xattrs, below.implied = above.mtime_ns, above.xattrs, False
    _unmark(below)


def as_lowest(root: Inode) -> Inode:
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


def _unmark(folder: Inode) -> None:
    if folder.xattrs:
        folder.xattrs = tuple(pair for pair in folder.xattrs if pair not in (OPAQUE, ORIGIN))


def _is_whiteout(node: Inode) -> bool:
    return is_whiteout(node.mode, node.rdev)


def _children(folder: Inode) -> dict[bytes, Inode]:
    assert folder.children is not None
    return folder.children
