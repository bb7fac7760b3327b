"""The entries of one tar as a layer the way overlayfs wants it.

Nothing here touches a file. Paths are walked in the tree that the entries themselves build, so a link in
a hostile layer can lead nowhere but to another file of that layer. The rules are those of
`ground.extract` in overlay form, and a test holds the two against each other.
"""

from __future__ import annotations

import stat
from struct import Struct

from ...words.errors import InvalidArchive
from ..layer.paths import LONG, NAMELESS, NoFolder, Refused, walk
from ..layer.whiteouts import whiteout
from ..tar.entry import Entry, show
from .format import BLOCK, MAX_LINK, MAX_NAME, NOWHERE, device_number
from .inodes import IMPLIED, ROOT, Inodes
from .inodes import OPAQUE as MARK_OPAQUE
from .inodes import ORIGIN as MARK_ORIGIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..layer.nodes import Node
    from ..tar.entry import Xattrs

MAX_PATH = 4095

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
_REMEMBERED = 4096


class LayerTree:
    """The files of one layer, entry by entry.

    The last entry of a name wins, folders merge, missing parents are 0755 of owner 0 and time 0 and
    `implied`, links are followed within the layer (`layer.paths`), a whiteout speaks of lower layers only and
    is a character device 0/0. Contents lie in device 1 where the entry says, unless `place` says otherwise.
    """

    def __init__(self) -> None:
        self.inodes = Inodes()
        self.size = 0
        """Bytes of content of all entries so far."""
        self._implied: list[int] = []
        self._folder(IMPLIED)
        self._folders: dict[bytes, int] = {b"": ROOT}

    def _folder(self, marks: int = 0, entry: int = 0) -> int:
        folder = self.inodes.add(stat.S_IFDIR | 0o755, block=entry, device=marks)
        if marks & IMPLIED:
            self._implied.append(folder)
        return folder

    def add(self, entry: Entry) -> int:
        """Take the next entry; gives the inode of a file with content, for `place`, else 0.

        Raises InvalidArchive for an entry that cannot be made.
        """
        try:
            return self._add(entry)
        except Refused as why:
            raise InvalidArchive(f"archive entry {show(entry.path)} {why}") from None

    def _add(self, entry: Entry) -> int:
        path = entry.path
        if b".wh." in path and self._whiteout(entry):
            return 0
        size = entry.size
        self.size += size
        if entry.kind == "file":
            place, names = self._place(path), self.inodes.inode
            block = min(max(0, entry.offset) // BLOCK, NOWHERE)
            inode = self.inodes.add(
                entry.mode | stat.S_IFREG, entry.uid, entry.gid, entry.mtime_ns, size, block, 1
            )
            if entry.xattrs:
                self._dress(inode, _kept(entry))
            if names[place]:
                self._forget(names[place])
            names[place] = inode
            return inode if size else 0
        if entry.kind == "dir":
            self._dir(entry)
        elif entry.kind == "hardlink":
            self._hardlink(entry)
        else:
            self._special(entry)
        return 0

    def place(self, inode: int, device: int, block: int) -> None:
        """The content of a file that `add` gave lies there."""
        self.inodes.device[inode], self.inodes.block[inode] = device, min(block, NOWHERE)

    def behead(self, inode: int, device: int, block: int) -> None:
        """The first blocks of a file that was placed lie there instead."""
        self.inodes.heads[inode] = device, block

    @property
    def root(self) -> Node:
        """All of it as nodes, a copy; only before the index of it is written."""
        from .write import to_nodes

        return to_nodes(self.inodes)

    def root_looks(self) -> tuple[int, int, int] | None:
        """Mode, owner and group of the root, if the layer names it."""
        inodes = self.inodes
        if inodes.device[ROOT] & IMPLIED:
            return None
        return inodes.mode[ROOT] & 0o7777, inodes.uid[ROOT], inodes.gid[ROOT]

    def is_opaque(self) -> bool:
        """Does the layer hide all that lies beneath it?"""
        return bool(self.inodes.device[ROOT] & MARK_OPAQUE)

    def implied(self) -> list[bytes]:
        """Paths of the folders that the layer does not name itself, sorted, without the root."""
        marks = self.inodes.device
        paths = (self.inodes.path(folder) for folder in self._implied if marks[folder] & IMPLIED)
        return sorted(path for path in paths if path)

    def beyond(self, length: int) -> list[int]:
        """Files whose content in device 1 ends, in whole blocks, beyond so many bytes."""
        inodes, blocks = self.inodes, length // BLOCK
        return [
            inode for inode, mode in enumerate(inodes.mode)
            if mode & _FORMAT == stat.S_IFREG and inodes.size[inode] and inodes.device[inode] == 1
            and inodes.block[inode] - (-inodes.size[inode] // BLOCK) > blocks
        ]  # fmt: skip

    def _dir(self, entry: Entry) -> None:
        folder = ROOT
        if entry.path:
            place = self._place(entry.path)
            folder = self.inodes.inode[place]
            if not folder or not self.inodes.is_folder(folder):
                folder = self._put_folder(place, 0)
        self._look(folder, entry)

    def _look(self, folder: int, entry: Entry) -> None:
        """An entry says all about a folder but overlay's own marks."""
        inodes = self.inodes
        inodes.mode[folder] = stat.S_IFDIR | entry.mode
        inodes.uid[folder], inodes.gid[folder] = entry.uid, entry.gid
        inodes.mtime[folder], inodes.nanoseconds[folder] = divmod(entry.mtime_ns, 1_000_000_000)
        inodes.device[folder] &= ~IMPLIED
        if entry.xattrs or folder in inodes.xattrs:
            self._dress(folder, _kept(entry))

    def _dress(self, inode: int, xattrs: Xattrs) -> None:
        if xattrs:
            self.inodes.xattrs[inode] = xattrs
        else:
            self.inodes.xattrs.pop(inode, None)

    def _hardlink(self, entry: Entry) -> None:
        place = self._place(entry.path)
        there = self.inodes.inode[place]
        if there and self.inodes.is_folder(there):
            self._forget(there)
            self.inodes.inode[place] = 0
        inode = self._find(entry.link)
        if not inode or self._is_whiteout(inode):
            raise Refused(f"is a hard link to {show(entry.link)}, which does not exist in this layer")
        if self.inodes.is_folder(inode):
            raise Refused("is a hard link to a folder")
        self._put(place, inode)

    def _find(self, path: bytes) -> int:
        """What is at a path, links followed but for the last; 0 for nothing."""
        above, _, name = path.rpartition(b"/")
        way = walk(above, ROOT, self._step)
        folder = way[-1][1] if way else ROOT
        return self.inodes.find(folder, name) if folder else 0

    def _special(self, entry: Entry) -> None:
        if entry.kind == "char" and entry.major == entry.minor == 0:
            self._hide(entry.path)  # overlayfs would take it for a whiteout, as docker does
            return
        place = self._place(entry.path)
        mode, size, block = _FORMATS[entry.kind] | entry.mode, 0, 0
        if entry.kind == "symlink":
            if not 0 < len(entry.link) <= MAX_LINK:
                raise Refused(f"is a link with a target of {len(entry.link)} bytes")
            mode, size, block = stat.S_IFLNK | 0o777, len(entry.link), self.inodes.keep(entry.link)
        elif entry.kind != "fifo":
            block = device_number(entry.major, entry.minor)
        inode = self.inodes.add(mode, entry.uid, entry.gid, entry.mtime_ns, size, block)
        if entry.xattrs:
            self._dress(inode, _kept(entry))
        self._put(place, inode)

    # --- places

    def _place(self, path: bytes) -> int:
        """The number of a path's name in its folder, which is made if missing."""
        above, _, name = path.rpartition(b"/")
        if not name or len(name) > MAX_NAME or len(path) > MAX_PATH:
            raise Refused(LONG if name else NAMELESS)
        return self.inodes.entry(self._enter(above), name)

    def _enter(self, path: bytes) -> int:
        """The folder at `path`, made where it is missing."""
        folder = self._folders.get(path)
        if folder is None:
            folder = ROOT
            for name, found in walk(path, ROOT, self._step):
                folder = found or self._implied_in(folder, name)
            if len(self._folders) >= _REMEMBERED:
                self._folders = {b"": ROOT}
            self._folders[path] = folder
        return folder

    def _step(self, folder: int, name: bytes) -> int | bytes | None:
        """For `walk`."""
        child = self.inodes.find(folder, name)
        if not child or self._is_whiteout(child):
            return None
        kind = self.inodes.mode[child] & _FORMAT
        if kind == stat.S_IFLNK:
            return self.inodes.link(child)
        if kind != stat.S_IFDIR:
            raise NoFolder
        return child

    def _implied_in(self, folder: int, name: bytes) -> int:
        if len(name) > MAX_NAME:
            raise Refused(LONG)
        return self._put_folder(self.inodes.entry(folder, name), IMPLIED)

    def _put(self, place: int, inode: int) -> None:
        there = self.inodes.inode[place]
        if there:
            self._forget(there)
        self.inodes.inode[place] = inode

    def _put_folder(self, place: int, marks: int) -> int:
        folder = self._folder(MARK_OPAQUE if self.inodes.gone[place] else marks, place)
        self._put(place, folder)
        return folder

    def _forget(self, there: int) -> None:
        """What is about to go may have been on the way to folders that are known by their paths."""
        if self.inodes.mode[there] & _FORMAT in (stat.S_IFDIR, stat.S_IFLNK):
            self._folders = {b"": ROOT}

    def _is_whiteout(self, inode: int) -> bool:
        return self.inodes.mode[inode] & _FORMAT == stat.S_IFCHR and not self.inodes.block[inode]

    # --- whiteouts

    def _whiteout(self, entry: Entry) -> bool:
        """Do what a whiteout says; False when the path is none."""
        found = whiteout(entry.path)
        if found is None:
            return False
        verb, target = found
        try:
            if verb == "opaque":
                self.inodes.device[self._enter(target)] |= MARK_OPAQUE
            elif verb == "remove":
                self._hide(target)
        except NoFolder:
            pass  # lower layers have nothing beneath a file of this one
        return True

    def _hide(self, path: bytes) -> None:
        """What this layer has under the name stays and hides what is lower, with the looks it had there."""
        place = self._place(path)
        inodes = self.inodes
        inodes.gone[place] = 1
        there = inodes.inode[place]
        if not there:
            inodes.inode[place] = inodes.add(stat.S_IFCHR)
            inodes.device[inodes.parent[place]] |= MARK_ORIGIN
        elif inodes.is_folder(there):
            inodes.device[there] = inodes.device[there] & ~IMPLIED | MARK_OPAQUE


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
