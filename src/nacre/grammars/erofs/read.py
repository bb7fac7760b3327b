"""Reading an index that `write` wrote: paths looked up in place, or the whole tree of nodes.

An index lies in a store, where disks fail: every number in it is checked before it is used, so that
damage raises InvalidArchive and nothing else.
"""

from __future__ import annotations

import stat

from ...words.errors import InvalidArchive
from ..layer.nodes import Inode
from . import format as erofs
from .format import BLOCK, CHUNKED, INLINE, PLAIN, SUPER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from mmap import mmap

    from ..tar.entry import Xattrs

_FORMAT = 0o170000
_SPACES = {index: prefix for prefix, index in (erofs.PREFIXES | erofs.WHOLE_NAMES).items()}
_KINDS = frozenset(
    (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK)
)


class ErofsIndex:
    """An index in memory or mapped. `root` is a nid; `devices` are lengths in blocks. Holds no descriptor."""

    def __init__(self, data: bytes | bytearray | mmap) -> None:
        """Raises InvalidArchive when this is no index of the kind that `encode` writes."""
        self._data = data
        if len(data) < SUPER + BLOCK:
            raise _damaged("it is too short")
        fields = erofs.SUPERBLOCK.unpack_from(data, SUPER)
        self.root: int = fields[5]
        self.count: int = fields[6]
        form = (erofs.MAGIC, erofs.CHECKSUM | erofs.MTIME, erofs.BITS, 0, 0)
        if (fields[0], *fields[2:4], *fields[10:12]) != form:
            raise _damaged("it has an unknown format")
        if fields[9] * BLOCK != len(data) or fields[14] != erofs.DEVICE_TABLE | erofs.CHUNKED_FILE:
            raise _damaged("its header contradicts its length")
        head = bytearray(data[SUPER : SUPER + BLOCK])
        head[4:8] = bytes(4)
        if erofs.crc32c(head) != fields[1]:
            raise _damaged("the checksum of its header is wrong")
        self.devices = tuple(self._device(slot) for slot in range(min(fields[16], erofs.MAX_DEVICES)))

    def _device(self, slot: int) -> int:
        at = SUPER + 128 + 128 * slot
        if at + 128 > len(self._data):
            raise _damaged("its device table is truncated")
        _, low, _, high, _ = erofs.DEVICE.unpack_from(self._data, at)
        return int(low | high << 32)

    def node(self, nid: int, slots: Sequence[int] = ()) -> Inode:
        """The inode `nid`; a folder without its children. A content in device n gets the nth of `slots`."""
        at = nid * erofs.SLOT
        fields = self._inode(at)
        layout, count, mode, _, size, union, note, uid, gid, seconds, nanoseconds, _ = fields
        end = at + 64 + _xattr_size(count)
        kind = mode & _FORMAT
        node = Inode(mode, uid, gid, seconds * 1_000_000_000 + nanoseconds, 0, implied=note == erofs.IMPLIED)
        if count:
            node.xattrs = _xattrs(self.slice(at + 64, end))
        if kind == stat.S_IFREG:
            node.size = size
            if size:
                self._content(node, layout, union, end, slots)
        elif kind == stat.S_IFLNK:
            if not 0 < size <= erofs.MAX_LINK:
                raise _damaged(f"a link of {size} bytes")
            node.link = self._bytes(layout, union, size, end)
        elif kind != stat.S_IFDIR:
            node.rdev = union
        return node

    def links(self, nid: int) -> int:
        """How many names the inode has."""
        return self._inode(nid * erofs.SLOT)[11]

    def _inode(self, at: int) -> tuple[int, ...]:
        if not SUPER + 128 <= at <= len(self._data) - 64:
            raise _damaged("a file is outside it")
        fields = erofs.INODE.unpack_from(self._data, at)
        if fields[0] not in (PLAIN, INLINE, CHUNKED) or fields[2] & _FORMAT not in _KINDS:
            raise _damaged("a file of unknown type")
        return fields

    def _content(self, node: Inode, layout: int, union: int, end: int, slots: Sequence[int]) -> None:
        """Device and first block. All chunks lie in one piece, or all but the first do."""
        at, bits = end + 7 & ~7, union & 31
        count = -(-node.size // (BLOCK << bits))
        if layout != CHUNKED or not union & erofs.INDEXES or at + erofs.CHUNK.size * count > len(self._data):
            raise _damaged("a file without content")
        chunks = [
            erofs.CHUNK.unpack_from(self._data, at + erofs.CHUNK.size * n) for n in {0, min(1, count - 1)}
        ]
        _, device, block = chunks[0]
        if bits == erofs.HEAD_BITS and chunks[-1][1:] != (device, block + erofs.HEAD) and count > 1:
            node.head = self._piece(device, block, erofs.HEAD, slots), block
            _, device, block = chunks[-1]
            block -= erofs.HEAD
        node.device, node.block = self._piece(device, block, -(-node.size // BLOCK), slots), block
        last = erofs.CHUNK.unpack_from(self._data, at + erofs.CHUNK.size * (count - 1))
        if count > 1 and last[1:] != (device, block + (count - 1 << bits)):
            raise _damaged("content in too many chunks")

    def _piece(self, device: int, block: int, blocks: int, slots: Sequence[int]) -> int:
        """The device as the caller counts them."""
        if not 0 < device <= len(self.devices) or not 0 <= block <= self.devices[device - 1] - blocks:
            raise _damaged("content is outside its layer")
        return slots[device - 1] if slots else device

    def names(self, nid: int) -> Iterator[tuple[bytes, int]]:
        """As `listed`, without `.` and `..`."""
        return (item for item in self.listed(nid) if item[0] not in (b".", b".."))

    def listed(self, nid: int) -> Iterator[tuple[bytes, int]]:
        """Names in a folder, sorted, with their nids. Nothing for what is no folder."""
        pages = self._pages(nid)
        for number in range(pages.count):
            yield from pages.entries(number)

    def lookup(self, nid: int, name: bytes) -> int | None:
        """The nid of a name in a folder, None when there is none or `nid` is no folder."""
        pages = self._pages(nid)
        if not pages.count or name in (b".", b".."):
            return None
        low, high = 0, pages.count
        while high - low > 1:  # the last block that does not begin after the name
            middle = (low + high) // 2
            low, high = (middle, high) if pages.first(middle) <= name else (low, middle)
        return dict(pages.entries(low)).get(name)

    def _pages(self, nid: int) -> _Pages:
        layout, count, mode, _, size, start = self._inode(nid * erofs.SLOT)[:6]
        if mode & _FORMAT != stat.S_IFDIR:
            return _Pages(self, PLAIN, 0, 0, 0)
        return _Pages(self, layout, start, size, nid * erofs.SLOT + 64 + _xattr_size(count))

    def _bytes(self, layout: int, start: int, size: int, end: int) -> bytes:
        """The data of a link: blocks from `start`, the tail after the inode when it is inline."""
        pages = _Pages(self, layout, start, size, end)
        return b"".join(map(pages.page, range(pages.count)))

    def slice(self, start: int, end: int) -> bytes:
        """Bytes of the index. Raises InvalidArchive when they are not all there."""
        if not SUPER <= start <= end <= len(self._data):
            raise _damaged("data outside it")
        return bytes(self._data[start:end])

    def tree(self, slots: Sequence[int] = ()) -> Inode:
        """All of it as nodes, ready to be merged and encoded; `slots` as for `node`."""
        if slots and len(slots) != len(self.devices):
            raise _damaged("it refers to the wrong number of files")
        root = self.node(self.root, slots)
        known = {self.root: root}
        waiting = [(root, self.root)]
        while waiting:
            folder, nid = waiting.pop()
            children = {}
            for name, number in self.names(nid):
                node = known.get(number)
                if node is None:
                    if len(known) >= self.count:
                        raise _damaged("it has more files than its header says")
                    node = known[number] = self.node(number, slots)
                    if node.children is not None:
                        waiting.append((node, number))
                elif node.children is not None:
                    raise _damaged("a directory has two names")
                children[name] = node
            folder.children = children
        return root


class _Pages:
    """The data of a folder or link in its blocks: `start` the first, `end` where an inline tail begins."""

    def __init__(self, index: ErofsIndex, layout: int, start: int, size: int, end: int) -> None:
        self._index, self._start, self._size, self._end = index, start, size, end
        self._inline = size // BLOCK if layout == INLINE else -1
        self.count = -(-size // BLOCK)
        if layout not in (PLAIN, INLINE) or (layout == INLINE and end % BLOCK + size % BLOCK > BLOCK):
            raise _damaged("a directory or link without content")

    def page(self, number: int) -> bytes:
        """One block, the last one as long as the rest."""
        length = min(BLOCK, self._size - number * BLOCK)
        at = self._end if number == self._inline else (self._start + number) * BLOCK
        return self._index.slice(at, at + length)

    def first(self, number: int) -> bytes:
        """The first name in one block of a folder."""
        page = self.page(number)
        if len(page) < 2 * erofs.DIRENT.size:
            return _entries(page)[0][0]
        start, end = erofs.DIRENT.unpack_from(page)[1], erofs.DIRENT.unpack_from(page, erofs.DIRENT.size)[1]
        return page[start : end if start > erofs.DIRENT.size else len(page)].rstrip(b"\0")

    def entries(self, number: int) -> list[tuple[bytes, int]]:
        """Names and nids in one block of a folder."""
        return _entries(self.page(number))


def _entries(page: bytes) -> list[tuple[bytes, int]]:
    """Names and nids in one block of a folder. The first name begins where the table of names ends."""
    end = erofs.DIRENT.unpack_from(page)[1] if len(page) >= erofs.DIRENT.size else 0
    if not end or end % erofs.DIRENT.size or end > len(page):
        raise _damaged("a malformed directory")
    heads = list(erofs.DIRENT.iter_unpack(page[:end]))
    limits = [head[1] for head in heads[1:]] + [len(page)]
    found = [(page[head[1] : limit], head[0]) for head, limit in zip(heads, limits, strict=True)]
    name, nid = found[-1]
    found[-1] = name.partition(b"\0")[0], nid
    names = [name for name, _ in found]
    joined = b"".join(names)
    if not all(names) or b"\0" in joined or b"/" in joined:
        raise _damaged("a directory with a malformed name")
    return found


def _xattr_size(count: int) -> int:
    return erofs.XATTR_HEAD + 4 * (count - 1) if count else 0


def _xattrs(data: bytes) -> Xattrs:
    found = []
    at = erofs.XATTR_HEAD
    while at + erofs.XATTR.size <= len(data):
        length, index, size = erofs.XATTR.unpack_from(data, at)
        middle, end = at + erofs.XATTR.size + length, at + erofs.XATTR.size + length + size
        if index not in _SPACES or end > len(data):
            raise _damaged("a malformed extended attribute")
        found.append((_SPACES[index] + data[at + erofs.XATTR.size : middle], data[middle:end]))
        at = end + 3 & ~3
    return tuple(found)


def _damaged(why: str) -> InvalidArchive:
    return InvalidArchive(f"the index of a layer is damaged: {why}")
