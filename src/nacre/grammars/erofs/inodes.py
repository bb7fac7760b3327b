"""The files and names of one layer in few bytes each: columns of numbers instead of objects.

A layer may have a million entries, and as objects they would take 700 MB; here it is about 90 bytes each,
the name included. Inodes and names are numbered from 1; 0 is nobody. A name is found through a hash table
of our own, because one of Python's would take twice as much as all the rest.
"""

from __future__ import annotations

import stat
from array import array
from heapq import merge

from ...words.errors import InvalidArchive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..tar.entry import Xattrs

ROOT = 1

_FORMAT = 0o170000
_LENGTHS = tuple(bytes((length,)) for length in range(256))
_RUN = 1 << 16
_COPIED = 1 << 22
_LAST = (1 << 32) - 1


class Inodes:
    """Columns, by the number of an inode:

    mode      with the type bits
    mtime     seconds, and `nanoseconds`
    size      of a file or link; of a folder the last name put into it
    block     of a file where its content begins in `device`; of a link where its target begins in `texts`;
              of a device its number; of a folder its own name
    device    of a file the slot that has its content; of a folder its marks (`layer.rules`)
    xattrs    only of those that have some
    heads     of a file whose first blocks lie apart (`erofs.HEAD` of them): in which slot, and where

    and by the number of a name: `parent` (a folder), `inode` (0: nothing is there any more), `hidden` (a
    whiteout has named it).
    """

    def __init__(self) -> None:
        self.mode = array("H", (0,))
        self.uid, self.gid, self.nanoseconds = array("I", (0,)), array("I", (0,)), array("I", (0,))
        self.mtime, self.size = array("q", (0,)), array("Q", (0,))
        self.block, self.device = array("I", (0,)), array("H", (0,))
        self.xattrs: dict[int, Xattrs] = {}
        self.heads: dict[int, tuple[int, int]] = {}
        self.parent, self.inode, self.hidden = array("I", (0,)), array("I", (0,)), bytearray(1)
        self.texts: bytes | bytearray = bytearray()
        self._text, self._next, self._hash = array("I", (0,)), array("I", (0,)), array("I", (0,))
        self._table, self._mask = array("I", bytes(4 << 12)), (1 << 12) - 1

    def __len__(self) -> int:
        """One more than the last inode."""
        return len(self.mode)

    def add(
        self, mode: int, uid: int = 0, gid: int = 0, mtime_ns: int = 0, size: int = 0,
        place: tuple[int, int] = (0, 0),
    ) -> int:  # fmt: skip
        """A new inode; its number. `place` is block and device. A folder gets its name where it is put."""
        seconds, nanoseconds = divmod(mtime_ns, 1_000_000_000)
        number = len(self.mode)
        self.mode.append(mode)
        self.uid.append(uid)
        self.gid.append(gid)
        self.mtime.append(seconds)
        self.nanoseconds.append(nanoseconds)
        self.size.append(size)
        self.block.append(place[0])
        self.device.append(place[1])
        return number

    def keep(self, text: bytes) -> int:
        """Where the target of a link is kept. Raises InvalidArchive when there is more text than can be."""
        at = len(self.texts)
        if at > _LAST - len(text):
            raise InvalidArchive("the names of the layer are longer than 4 GiB")
        self.texts += text
        return at

    def link(self, inode: int) -> bytes:
        """The target of a link."""
        at = self.block[inode]
        return bytes(self.texts[at : at + self.size[inode]])

    def is_folder(self, inode: int) -> bool:
        """Whether the inode is a directory."""
        return self.mode[inode] & _FORMAT == stat.S_IFDIR

    def find(self, folder: int, name: bytes) -> int:
        """The inode of a name in a folder; 0 for none."""
        code = (hash(name) ^ folder * 0x9E3779B1) & _LAST
        if not self._table[code & self._mask]:
            return 0
        return self.inode[self._table[self._seek(code, folder, name)]]

    def entry(self, folder: int, name: bytes) -> int:
        """The number of a name of at most 255 bytes in a folder, new if it was not there."""
        code = (hash(name) ^ folder * 0x9E3779B1) & _LAST
        table, size = self._table, self.size
        at = code & self._mask
        if table[at]:
            at = self._seek(code, folder, name)
            if table[at]:
                return table[at]
        table[at] = entry = len(self.parent)
        self.parent.append(folder)
        self.inode.append(0)
        self.hidden.append(0)
        self._text.append(self.keep(_LENGTHS[len(name)] + name))
        self._hash.append(code)
        self._next.append(size[folder])
        size[folder] = entry
        if entry * 3 > self._mask * 2:
            self._grow()
        return entry

    def _seek(self, code: int, folder: int, name: bytes) -> int:
        """The place in the table where a name of this hash stands, or would."""
        table, mask = self._table, self._mask
        at = code & mask
        while found := table[at]:
            if self._hash[found] == code and self.parent[found] == folder:
                start = self._text[found]
                if self.texts[start] == len(name) and self.texts.startswith(name, start + 1):
                    break
            at = at + 1 & mask
        return at

    def _grow(self) -> None:
        self._mask = mask = self._mask * 2 + 1
        self._table = table = array("I", bytes(4 * (mask + 1)))
        for entry, code in enumerate(self._hash):
            if entry:
                at = code & mask
                while table[at]:
                    at = at + 1 & mask
                table[at] = entry

    def seal(self) -> None:
        """Nothing more will be looked for or added: give back what that takes."""
        self._hash, self._table, self._mask = array("I", (0,)), array("I", (0,)), 0
        if len(self.texts) < _COPIED:  # quicker to cut, but for a moment it is there twice
            self.texts = bytes(self.texts)

    def name(self, entry: int) -> bytes:
        """The name of that number."""
        at = self._text[entry] + 1
        return bytes(self.texts[at : at + self.texts[at - 1]])

    def texts_of(self, entries: array[int]) -> Iterable[bytes]:
        """The names of these numbers, of a sealed table; few of them at a time if they are many."""
        if len(entries) > _RUN:
            return map(self.name, entries)
        texts, starts = self.texts, self._text
        return [bytes(texts[(at := starts[entry] + 1) : at + texts[at - 1]]) for entry in entries]

    def names(self, folder: int) -> Iterator[int]:
        """The names in a folder that stand for something, in no order."""
        entry, inode, following = self.size[folder], self.inode, self._next
        while entry:
            if inode[entry]:
                yield entry
            entry = following[entry]

    def sorted_names(self, folder: int) -> array[int]:
        """The same in the order of their bytes; few of them are taken apart at a time."""
        entries = array("I", self.names(folder))
        starts = range(0, len(entries), _RUN)
        runs = [self._sorted(entries[start : start + _RUN]) for start in starts]
        return array("I", merge(*runs, key=self.name)) if len(runs) > 1 else runs[0] if runs else entries

    def _sorted(self, entries: array[int]) -> array[int]:
        return array("I", [entry for _, entry in sorted(zip(self.texts_of(entries), entries, strict=True))])

    def path(self, folder: int) -> bytes | None:
        """The path of a folder, b"" for the root; None for one that is no longer part of the tree."""
        parts = []
        while folder != ROOT:
            entry = self.block[folder]
            if self.inode[entry] != folder:
                return None
            parts.append(self.name(entry))
            folder = self.parent[entry]
        return b"/".join(reversed(parts))
