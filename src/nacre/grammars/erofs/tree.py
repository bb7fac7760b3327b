"""The entries of one tar as a layer the way overlayfs wants it, in columns.

Nothing here touches a file. What an entry means is decided by `layer.rules`, in the tree that the entries
themselves build, so a link in a hostile layer can lead nowhere but to another file of that layer.
"""

from __future__ import annotations

import stat

from ...words.errors import InvalidArchive
from ..layer import rules
from ..layer.attributes import kept
from ..layer.overlay import kind_of
from ..layer.paths import Refused
from ..tar.entry import Entry, show
from .format import BLOCK, MAX_LINK, NOWHERE, device_number
from .inodes import ROOT, Inodes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..layer.nodes import Inode
    from ..tar.entry import Xattrs

_FORMAT = 0o170000
_FILE = stat.S_IFREG
_FORMATS = {"symlink": stat.S_IFLNK, "char": stat.S_IFCHR, "block": stat.S_IFBLK, "fifo": stat.S_IFIFO}
_REMEMBERED = 4096


class LayerTree:
    """The files of one layer, entry by entry.

    Missing parents are 0755 of owner 0 and time 0. Contents lie in device 1 where the entry says, unless
    `place` says otherwise.
    """

    def __init__(self) -> None:
        self.inodes = Inodes()
        self._places = _Places(self.inodes)
        self._rules = rules.LayerRules(self._places)
        self._decide = self._rules.decide
        self.size = 0
        """Bytes of content of all entries so far."""
        self._implied: list[int] = []
        self._new_inode(rules.IMPLIED)

    def add(self, entry: Entry) -> int:
        """Take the next entry; gives the inode of a file with content, for `place`, else 0.

        Raises InvalidArchive for an entry that cannot be made.
        """
        try:
            verb, folder, missing, name = self._decide(entry)
            if missing:
                folder = self._parents(folder, missing)
                self._places.remember(entry.path.rpartition(b"/")[0], folder)
            return _CARRY_OUT[verb](self, entry, folder, name)
        except Refused as why:
            raise InvalidArchive(f"archive entry {show(entry.path)} {why}") from None

    def place(self, inode: int, device: int, block: int) -> None:
        """The content of a file that `add` gave lies there."""
        self.inodes.device[inode], self.inodes.block[inode] = device, min(block, NOWHERE)

    def behead(self, inode: int, device: int, block: int) -> None:
        """The first blocks of a file that was placed lie there instead."""
        self.inodes.heads[inode] = device, block

    def nodes(self) -> Inode:
        """All of it as nodes, a copy; only before the index of it is written."""
        from .inode_tree import to_nodes

        return to_nodes(self.inodes)

    def root_looks(self) -> tuple[int, int, int] | None:
        """Mode, owner and group of the root, if the layer names it."""
        inodes = self.inodes
        if inodes.device[ROOT] & rules.IMPLIED:
            return None
        return inodes.mode[ROOT] & 0o7777, inodes.uid[ROOT], inodes.gid[ROOT]

    def is_opaque(self) -> bool:
        """Does the layer hide all that lies beneath it?"""
        return bool(self.inodes.device[ROOT] & rules.OPAQUE)

    def implied(self) -> list[bytes]:
        """Paths of the folders that the layer does not name itself, sorted, without the root."""
        marks = self.inodes.device
        paths = (self.inodes.path(folder) for folder in self._implied if marks[folder] & rules.IMPLIED)
        return sorted(path for path in paths if path)

    def beyond(self, length: int) -> list[int]:
        """Files whose content in device 1 ends, in whole blocks, beyond so many bytes."""
        inodes, blocks = self.inodes, length // BLOCK
        return [
            inode for inode, mode in enumerate(inodes.mode)
            if mode & _FORMAT == stat.S_IFREG and inodes.size[inode] and inodes.device[inode] == 1
            and inodes.block[inode] - (-inodes.size[inode] // BLOCK) > blocks
        ]  # fmt: skip

    # --- what is decided

    def _put(self, entry: Entry, folder: int, name: bytes) -> int:
        inodes = self.inodes
        _, kind, mode, uid, gid, mtime_ns, size, _, _, _, xattrs, offset, _ = entry
        if kind == "file":
            block = 0 if offset < 0 else min(offset // BLOCK, NOWHERE)
            inode = inodes.add(mode | _FILE, uid, gid, mtime_ns, size, (block, 1))
            self.size += size
        else:
            size, inode = 0, self._special(entry)
        if xattrs:
            self._set_xattrs(inode, kept(entry))
        place = inodes.entry(folder, name)
        if inodes.inode[place]:
            self._name(place, inode)
        else:
            inodes.inode[place] = inode
        return inode if size else 0

    def _special(self, entry: Entry) -> int:
        mode, size, block = _FORMATS[entry.kind] | entry.mode, 0, 0
        if entry.kind == "symlink":
            if not 0 < len(entry.link) <= MAX_LINK:
                raise Refused(f"is a link with a target of {len(entry.link)} bytes")
            mode, size, block = stat.S_IFLNK | 0o777, len(entry.link), self.inodes.keep(entry.link)
        elif entry.kind != "fifo":
            block = device_number(entry.major, entry.minor)
        return self.inodes.add(mode, entry.uid, entry.gid, entry.mtime_ns, size, (block, 0))

    def _link(self, entry: Entry, folder: int, name: bytes) -> int:
        place = self.inodes.entry(folder, name)
        there = self.inodes.inode[place]
        if there and self.inodes.is_folder(there):
            self._name(place, 0)
        self._name(place, self.inodes.find(*self._rules.source(entry.link)))
        return 0

    def _make(self, entry: Entry, folder: int, name: bytes) -> int:
        made = self._new_folder(folder, name, described=True)
        self._places.remember(entry.path, made)
        return self._describe(entry, made, name)

    def _describe(self, entry: Entry, folder: int, _name: bytes) -> int:
        """An entry says all about a folder but overlay's own marks."""
        inodes = self.inodes
        inodes.mode[folder] = stat.S_IFDIR | entry.mode
        inodes.uid[folder], inodes.gid[folder] = entry.uid, entry.gid
        inodes.mtime[folder], inodes.nanoseconds[folder] = divmod(entry.mtime_ns, 1_000_000_000)
        inodes.device[folder] = rules.described(inodes.device[folder])
        if entry.xattrs or folder in inodes.xattrs:
            self._set_xattrs(folder, kept(entry))
        return 0

    def _whiteout(self, _entry: Entry, folder: int, name: bytes) -> int:
        self._name(self._hidden(folder, name), self.inodes.add(stat.S_IFCHR))
        self.inodes.device[folder] |= rules.ORIGIN
        return 0

    def _cover(self, _entry: Entry, folder: int, name: bytes) -> int:
        there = self.inodes.inode[self._hidden(folder, name)]
        self.inodes.device[there] = rules.covering(self.inodes.device[there])
        return 0

    def _hide(self, _entry: Entry, folder: int, name: bytes) -> int:
        self._hidden(folder, name)
        return 0

    def _mark_opaque(self, _entry: Entry, folder: int, _name: bytes) -> int:
        self.inodes.device[folder] |= rules.OPAQUE
        return 0

    def _hidden(self, folder: int, name: bytes) -> int:
        """The number of a name that a whiteout has named."""
        place = self.inodes.entry(folder, name)
        self.inodes.hidden[place] = 1
        return place

    def _new_folder(self, folder: int, name: bytes, *, described: bool = False) -> int:
        place = self.inodes.entry(folder, name)
        hidden = bool(self.inodes.hidden[place])
        made = self._new_inode(rules.marks_of_new(hidden=hidden, described=described), place)
        self._name(place, made)
        return made

    def _new_inode(self, marks: int, place: int = 0) -> int:
        folder = self.inodes.add(stat.S_IFDIR | 0o755, place=(place, marks))
        if marks & rules.IMPLIED:
            self._implied.append(folder)
        return folder

    def _set_xattrs(self, inode: int, xattrs: Xattrs) -> None:
        if xattrs:
            self.inodes.xattrs[inode] = xattrs
        else:
            self.inodes.xattrs.pop(inode, None)

    def _name(self, place: int, inode: int) -> None:
        """The name stands for that inode. What it stood for may have been on the way to known folders."""
        there = self.inodes.inode[place]
        if there and self.inodes.mode[there] & _FORMAT in (stat.S_IFDIR, stat.S_IFLNK):
            self._places.forget()
        self.inodes.inode[place] = inode

    def _parents(self, folder: int, names: tuple[bytes, ...]) -> int:
        for name in names:
            folder = self._new_folder(folder, name)
        return folder

    def _nothing(self, _entry: Entry, _folder: int, _name: bytes) -> int:
        return 0


_CARRY_OUT: dict[str, Callable[[LayerTree, Entry, int, bytes], int]] = {
    rules.PUT: LayerTree._put, rules.LINK: LayerTree._link, rules.MAKE: LayerTree._make,
    rules.MERGE: LayerTree._describe, rules.WHITEOUT: LayerTree._whiteout, rules.COVER: LayerTree._cover,
    rules.HIDE: LayerTree._hide, rules.MARK_OPAQUE: LayerTree._mark_opaque,
    rules.NOTHING: LayerTree._nothing,
}  # fmt: skip


class _Places:
    """What the layer has so far: `rules.Tree`, a folder being the number of its inode."""

    root = ROOT

    def __init__(self, inodes: Inodes) -> None:
        self._inodes = inodes
        self._folders = {b"": ROOT}
        self.open: Callable[[bytes], int | None] = self._folders.get

    def remember(self, path: bytes, folder: int) -> None:
        """Until there are too many."""
        if len(self._folders) >= _REMEMBERED:
            self.forget()
        self._folders[path] = folder

    def forget(self) -> None:
        """Paths may mean something else now."""
        self._folders.clear()
        self._folders[b""] = ROOT

    def stands(self, folder: int, name: bytes) -> str:
        """See `layer.rules.Tree`, which this implements."""
        inode = self._inodes.find(folder, name)
        return kind_of(self._inodes.mode[inode], self._inodes.block[inode]) if inode else ""

    def child(self, folder: int, name: bytes) -> int:
        """See `layer.rules.Tree`, which this implements."""
        return self._inodes.find(folder, name)

    def target(self, folder: int, name: bytes) -> bytes:
        """See `layer.rules.Tree`, which this implements."""
        return self._inodes.link(self._inodes.find(folder, name))
