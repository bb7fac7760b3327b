"""Layers as trees of nodes: the entries of one tar as overlayfs wants them, and layers merged.

Nothing here touches a file. Paths are walked in the tree that the entries themselves build, so a link in
a hostile layer can lead nowhere but to another node of that layer. The rules are those of
`ground.extract` in overlay form, and a test holds the two against each other.
"""

from __future__ import annotations

import stat
from struct import Struct

from ..words.errors import InvalidArchive
from .erofs import BLOCK, MAX_LINK, MAX_NAME, Node, device_number
from .tarentry import Entry, show, whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .erofs import Xattrs

MAX_PATH = 4095
MAX_LINKS = 40
"""Links on the way to one path, as for the kernel (path_resolution(7))."""
OPAQUE = (b"trusted.overlay.opaque", b"y")
ORIGIN = (b"trusted.overlay.origin", b"")
"""Without it overlayfs lists the whiteouts of a folder that no lower layer has."""

_FORMAT = 0o170000
_FORMATS = {
    "file": stat.S_IFREG, "dir": stat.S_IFDIR, "symlink": stat.S_IFLNK, "char": stat.S_IFCHR,
    "block": stat.S_IFBLK, "fifo": stat.S_IFIFO,
}  # fmt: skip
_OVERLAY = (b"trusted.overlay.", b"user.overlay.")
_ACLS = (b"system.posix_acl_access", b"system.posix_acl_default")
_ACL_VERSION = b"\2\0\0\0"
_ACL_RULE = Struct("<HHI")
_ACL_OWNER, _ACL_GROUP, _ACL_MASK, _ACL_OTHER = 1, 4, 16, 32


class LayerTree:
    """The nodes of one layer, entry by entry.

    The last entry of a name wins, folders merge, missing parents are 0755 of owner 0 and time 0 and
    `implied`, links are followed within the layer, a whiteout speaks of lower layers only and is a
    character device 0/0. Contents lie in device 1 where the entry says.
    """

    def __init__(self) -> None:
        self.root = Node(stat.S_IFDIR | 0o755, implied=True)
        self.size = 0
        """Bytes of content of all entries so far."""
        self._folders: dict[bytes, Node] = {b"": self.root}
        self._gone: set[tuple[Node, bytes]] = set()

    def add(self, entry: Entry) -> Node | None:
        """Take the next entry; gives the node of a file with content, for `place`, else None.

        Raises InvalidArchive for an entry that cannot be made.
        """
        path = entry.path
        if b".wh." in path and self._whiteout(entry):
            return None
        self.size += entry.size
        if entry.kind == "file":
            folder, name = self._place(path)
            node = Node(
                entry.mode | stat.S_IFREG, entry.uid, entry.gid, entry.mtime_ns, entry.size, device=1,
                block=entry.offset // BLOCK,
            )  # fmt: skip
            if entry.xattrs:
                node.xattrs = _kept(entry)
            self._put(folder, name, node)
            return node if entry.size else None
        if entry.kind == "dir":
            self._dir(entry)
        elif entry.kind == "hardlink":
            self._hardlink(entry)
        else:
            self._special(entry)
        return None

    def place(self, node: Node, device: int, block: int) -> None:
        """The content of a file that `add` gave lies there, and not in device 1 at its offset."""
        node.device, node.block = device, block

    def implied(self) -> list[bytes]:
        """Paths of the folders that the layer does not name itself, parents first, without the root."""
        return [path for path, node in walk(self.root) if node.implied and path]

    def _dir(self, entry: Entry) -> None:
        if not entry.path:
            self._dress(self.root, entry)
            return
        folder, name = self._place(entry.path)
        node = _children(folder).get(name)
        if node is None or node.children is None:
            node = Node(stat.S_IFDIR)
            self._put_folder(folder, name, node)
        self._dress(node, entry)

    def _dress(self, folder: Node, entry: Entry) -> None:
        """An entry says all about a folder but overlay's own marks."""
        folder.mode = stat.S_IFDIR | entry.mode
        folder.uid, folder.gid, folder.mtime_ns = entry.uid, entry.gid, entry.mtime_ns
        folder.implied = False
        if entry.xattrs or folder.xattrs:
            folder.xattrs = _kept(entry) + tuple(p for p in folder.xattrs if p in (OPAQUE, ORIGIN))

    def _hardlink(self, entry: Entry) -> None:
        folder, name = self._place(entry.path)
        there = _children(folder).get(name)
        if there is not None and there.children is not None:
            self._forget(there)
            del _children(folder)[name]
        above, _, last = entry.link.rpartition(b"/")
        node = _children(self._walk(above, make=False)).get(last)
        if node is None or _is_whiteout(node):
            raise _refused(entry.path, f"is a hard link to {show(entry.link)}, which is not here")
        if node.children is not None:
            raise _refused(entry.path, "is a hard link to a folder")
        self._put(folder, name, node)

    def _special(self, entry: Entry) -> None:
        if entry.kind == "char" and entry.major == entry.minor == 0:
            self._hide(entry.path)  # overlayfs would take it for a whiteout, as docker does
            return
        folder, name = self._place(entry.path)
        node = Node(_FORMATS[entry.kind] | entry.mode, entry.uid, entry.gid, entry.mtime_ns)
        if entry.kind == "symlink":
            if len(entry.link) > MAX_LINK:
                raise _refused(entry.path, f"is a link with a target of {len(entry.link)} bytes")
            node.mode, node.link = stat.S_IFLNK | 0o777, entry.link
        elif entry.kind != "fifo":
            node.rdev = device_number(entry.major, entry.minor)
        if entry.xattrs:
            node.xattrs = _kept(entry)
        self._put(folder, name, node)

    # --- places

    def _place(self, path: bytes) -> tuple[Node, bytes]:
        """The folder of a path, made if missing, and the name."""
        above, _, name = path.rpartition(b"/")
        if not name or len(name) > MAX_NAME or len(path) > MAX_PATH:
            raise _refused(path, "has a name longer than the file system allows" if name else "has no name")
        folder = self._folders.get(above)
        if folder is None:
            folder = self._folders[above] = self._walk(above, make=True)
        return folder, name

    def _walk(self, path: bytes, *, make: bool) -> Node:
        """The folder at `path`, links followed within the layer; what only a link names is never made."""
        stack, links = [self.root], 0
        own = path.count(b"/") + 1 if path else 0
        waiting = [(name, make) for name in reversed(path.split(b"/"))] if own else []
        while waiting:
            name, make = waiting.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                stack = stack[:-1] or stack
                continue
            child = _children(stack[-1]).get(name)
            if child is None or _is_whiteout(child):
                if not make:
                    raise _refused(path, "leads through or to something that does not exist")
                child = Node(stat.S_IFDIR | 0o755, implied=True)
                self._put_folder(stack[-1], name, child)
            if child.mode & _FORMAT == stat.S_IFLNK:
                links += 1
                if links > MAX_LINKS:
                    raise _refused(path, "leads through a loop of symbolic links")
                stack = stack[:1] if child.link.startswith(b"/") else stack
                waiting += [(part, False) for part in reversed(child.link.split(b"/"))]
            elif child.children is None:
                raise _refused(path, "leads through something that is no folder")
            else:
                stack.append(child)
        return stack[-1]

    def _put(self, folder: Node, name: bytes, node: Node) -> None:
        children = _children(folder)
        there = children.get(name)
        if there is not None:
            self._forget(there)
        children[name] = node

    def _put_folder(self, folder: Node, name: bytes, node: Node) -> None:
        if (folder, name) in self._gone:
            _mark(node, OPAQUE)
        self._put(folder, name, node)

    def _forget(self, there: Node) -> None:
        """What is about to go may have been on the way to folders that are known by their paths."""
        if there.children is not None or there.mode & _FORMAT == stat.S_IFLNK:
            self._folders = {b"": self.root}

    # --- whiteouts

    def _whiteout(self, entry: Entry) -> bool:
        """Do what a whiteout says; False when the path is none."""
        found = whiteout(entry.path)
        if found is None:
            return False
        verb, target = found
        if verb == "opaque":
            _mark(self._walk(target, make=True), OPAQUE)
        elif verb == "remove":
            self._hide(target)
        return True

    def _hide(self, path: bytes) -> None:
        """What this layer has under the name stays and hides what is lower."""
        folder, name = self._place(path)
        self._gone.add((folder, name))
        there = _children(folder).get(name)
        if there is None:
            _children(folder)[name] = Node(stat.S_IFCHR)
            _mark(folder, ORIGIN)
        elif there.children is not None:
            _mark(there, OPAQUE)


def merge(lower: Node, upper: Node) -> None:
    """Lay the layer `upper` over `lower`, which becomes the union: whiteouts take effect, marks vanish.

    `lower` is the result of `settle` or of `merge`. Folders that `upper` only implies, and does not make
    opaque, keep their looks.
    """
    waiting = [(lower, upper)]
    while waiting:
        below, above = waiting.pop()
        mine = _children(below)
        opaque = OPAQUE in above.xattrs
        if opaque:
            mine.clear()
        if opaque or not above.implied:
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


def _mark(folder: Node, mark: tuple[bytes, bytes]) -> None:
    if mark not in folder.xattrs:
        folder.xattrs = (*folder.xattrs, mark)


def _unmark(folder: Node) -> None:
    if folder.xattrs:
        folder.xattrs = tuple(pair for pair in folder.xattrs if pair not in (OPAQUE, ORIGIN))


def _is_whiteout(node: Node) -> bool:
    return node.mode & _FORMAT == stat.S_IFCHR and node.rdev == 0


def _children(folder: Node) -> dict[bytes, Node]:
    assert folder.children is not None
    return folder.children


def _kept(entry: Entry) -> Xattrs:
    """The attributes that a file of this kind would have on disk; overlay's own never."""
    kept = []
    for name, value in entry.xattrs:
        if name.startswith(_OVERLAY) or not _may_have(entry.kind, name):
            continue
        if not _is_accepted(name, value):
            what = f"attribute {show(name)} of {show(entry.path)}, {len(value)} bytes"
            raise InvalidArchive(f"{what}, is not what the kernel accepts")
        if name == _ACLS[0]:
            value = _under_mode(value, entry.mode)
        if value or name not in _ACLS:
            kept.append((name, value))
    return tuple(kept)


def _may_have(kind: str, name: bytes) -> bool:
    """xattr(7): user attributes for files and folders, ACLs not for links, defaults for folders."""
    if name.startswith(b"user."):
        return kind in ("file", "dir")
    if name in _ACLS:
        return kind == "dir" or (kind != "symlink" and name == _ACLS[0])
    return True


def _is_accepted(name: bytes, value: bytes) -> bool:
    """The kernel parses two kinds of attributes when they are set; later it would fail on them."""
    if name in _ACLS:
        return _is_acl(value)
    return name != b"security.capability" or _is_caps(value)


def _is_acl(value: bytes) -> bool:
    """Version 2, then tag, permissions and id, 8 bytes each (linux/posix_acl_xattr.h)."""
    if len(value) < 4 or len(value) % 8 != 4 or value[:4] != _ACL_VERSION:
        return False
    rules = _ACL_RULE.iter_unpack(value[4:])
    return all(tag in (1, 2, 4, 8, 16, 32) and not bits & ~7 for tag, bits, _ in rules)


def _under_mode(acl: bytes, mode: int) -> bytes:
    """An access ACL after chmod, as the kernel keeps it: b"" when it says no more than the mode (acl(5))."""
    rules = list(_ACL_RULE.iter_unpack(acl[4:]))
    group = _ACL_MASK if any(tag == _ACL_MASK for tag, _, _ in rules) else _ACL_GROUP
    bits = {_ACL_OWNER: mode >> 6 & 7, group: mode >> 3 & 7, _ACL_OTHER: mode & 7}
    if all(tag in (_ACL_OWNER, _ACL_GROUP, _ACL_OTHER) for tag, _, _ in rules):
        return b""
    return _ACL_VERSION + b"".join(_ACL_RULE.pack(tag, bits.get(tag, own), who) for tag, own, who in rules)


def _is_caps(value: bytes) -> bool:
    """Revision 2 with two pairs of 32-bit sets, or 3 with a root id as well (linux/capability.h)."""
    revision = value[3] if len(value) > 3 else 0
    return (len(value), revision) in ((20, 2), (24, 3))


def _refused(path: bytes, why: str) -> InvalidArchive:
    return InvalidArchive(f"archive entry {show(path)} {why}")
