"""The inodes of a layer as columns and as a tree of values: one becomes the other."""

from __future__ import annotations

import stat

from ...words.errors import InvalidArchive
from ..layer import rules
from ..layer.nodes import Inode
from ..layer.overlay import OPAQUE, ORIGIN
from ..tar.entry import show
from .format import MAX_DEVICES, MAX_LINK, MAX_NAME, NOWHERE
from .inodes import ROOT, Inodes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..tar.entry import Xattrs

_FORMAT = 0o170000


def from_nodes(root: Inode) -> tuple[Inodes, dict[Inode, int]]:
    """The tree as inodes, and the number of each node. Raises InvalidArchive."""
    inodes = Inodes()
    numbers = {root: _inode(inodes, root)}
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        for name, node in (folder.children or {}).items():
            if len(name) > MAX_NAME:
                raise InvalidArchive(f"a file name of {len(name)} bytes, {show(name)}, is not possible")
            entry = inodes.entry(numbers[folder], name)
            if node not in numbers:
                numbers[node] = _inode(inodes, node)
                if node.children is not None:
                    inodes.block[numbers[node]] = entry
                    waiting.append(node)
            inodes.inode[entry] = numbers[node]
    return inodes, numbers


def _inode(inodes: Inodes, node: Inode) -> int:
    kind = node.mode & _FORMAT
    size, block, device = 0, node.rdev, 0
    if kind == stat.S_IFREG:
        size, block, device = node.size, node.block, node.device
        if size and not (0 <= block < NOWHERE and 0 < device <= MAX_DEVICES):
            raise InvalidArchive("a file extends beyond the end of its layer")
        block = block if size else 0
    elif kind == stat.S_IFLNK:
        check_link(node.link)
        size, block = len(node.link), inodes.keep(node.link)
    elif kind == stat.S_IFDIR:
        block, device = 0, rules.IMPLIED if node.implied else 0
    number = inodes.add(node.mode, node.uid, node.gid, node.mtime_ns, size, (block, device))
    if node.xattrs:
        inodes.xattrs[number] = node.xattrs
    if node.head:
        inodes.heads[number] = node.head
    return number


def to_nodes(inodes: Inodes) -> Inode:
    """The tree under the root as nodes, a copy, before it is encoded."""
    nodes: dict[int, Inode] = {}
    root = nodes[ROOT] = _node(inodes, ROOT)
    waiting = [ROOT]
    while waiting:
        folder = waiting.pop()
        children = {}
        for entry in inodes.names(folder):
            number = inodes.inode[entry]
            if number not in nodes:
                nodes[number] = _node(inodes, number)
                if inodes.is_folder(number):
                    waiting.append(number)
            children[inodes.name(entry)] = nodes[number]
        nodes[folder].children = children
    return root


def _node(inodes: Inodes, number: int) -> Inode:
    mode, device = inodes.mode[number], inodes.device[number]
    mtime_ns = inodes.mtime[number] * 1_000_000_000 + inodes.nanoseconds[number]
    node = Inode(mode, inodes.uid[number], inodes.gid[number], mtime_ns, xattrs=inodes.xattrs.get(number, ()))
    kind = mode & _FORMAT
    if kind == stat.S_IFREG:
        node.size, node.block, node.device = inodes.size[number], inodes.block[number], device
        node.head = inodes.heads.get(number)
    elif kind == stat.S_IFLNK:
        node.link = inodes.link(number)
    elif kind == stat.S_IFDIR:
        node.implied = bool(device & rules.IMPLIED)
        node.xattrs += marks_of(device)
    else:
        node.rdev = inodes.block[number]
    return node


def marks_of(marks: int) -> Xattrs:
    """The attributes that stand for the marks of a directory."""
    opaque, origin = marks & rules.OPAQUE, marks & rules.ORIGIN
    return ((OPAQUE,) if opaque else ()) + ((ORIGIN,) if origin else ())


def check_link(target: bytes) -> None:
    """Raises InvalidArchive for a target that no symbolic link can have."""
    if not 0 < len(target) <= MAX_LINK or b"\0" in target:
        raise InvalidArchive(f"a symbolic link to {show(target)}, {len(target)} bytes, is not possible")
