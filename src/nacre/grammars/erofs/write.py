"""Writing an index: the inodes and names of a layer become EROFS metadata, in one pass from begin to end.

All offsets in it are sums of lengths of what was laid out before, so none can point outside of the index;
contents are checked against the lengths of the tars.
"""

from __future__ import annotations

import stat
from array import array
from itertools import accumulate, repeat
from struct import Struct, pack

from ...words.errors import InvalidArchive
from ..layer import rules
from ..layer.nodes import Inode
from ..tar.entry import show
from .format import (
    BITS,
    BLOCK,
    CHECKSUM,
    CHUNK,
    CHUNKED,
    CHUNKED_FILE,
    DEVICE,
    DEVICE_TABLE,
    DIRENT,
    HEAD,
    HEAD_BITS,
    IMPLIED,
    INDEXES,
    INLINE,
    INODE,
    MAGIC,
    MAX_DEVICES,
    MAX_NAME,
    MAX_XATTRS,
    MTIME,
    NOWHERE,
    PLAIN,
    PREFIXES,
    SLOT,
    SUPER,
    SUPERBLOCK,
    WHOLE_NAMES,
    XATTR,
    XATTR_HEAD,
    crc32c,
)  # fmt: skip
from .inode_tree import check_link, from_nodes, marks_of
from .inodes import ROOT, Inodes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..tar.entry import Xattrs

    Put = Callable[[bytearray, int], object]

_FORMAT = 0o170000
_TYPES = (0, 5, 3, 0, 2, 0, 4, 0, 1, 0, 7, 0, 6, 0, 0, 0)
"""The type in a folder by the four highest bits of the mode."""
_INLINED = 8
"""In the column `device` of a folder or link that was placed: its tail stands after the inode."""
_PIECE = 1 << 18
_FILE = Struct(f"{INODE.format}{CHUNK.format[1:]}24x")
"""The inode of a file of one chunk, to the end of its last slot."""
_FILE_SLOTS = _FILE.size // SLOT
_ONE_CHUNK = 1 << 40
"""A content of at most so many bytes is one chunk."""
_REMEMBERED = 4096
_LENGTHS = frozenset(range(1, MAX_NAME + 1))
"""Of names."""
_ROW = 4096
"""Plain files that are written at once."""


def encode(root: Inode, devices: Sequence[int | None]) -> bytearray:
    """The index of the tree under `root`, see `write_index`; sets `nid` and `nlink` of the nodes."""
    inodes, numbers = from_nodes(root)
    image = bytearray()

    def put(data: bytearray, offset: int) -> None:
        image.extend(bytes(max(0, offset + len(data) - len(image))))
        image[offset : offset + len(data)] = data

    inodes.seal()
    builder = _Builder(inodes, devices)
    builder.build(put)
    for node, number in numbers.items():
        node.nid, node.nlink = builder.nids[number], builder.links[number]
    return image


def write_index(inodes: Inodes, devices: Sequence[int | None], put: Put) -> None:
    """Write the index of a layer with `put(bytes, offset)`, all of them once, in two rising sequences.

    `devices` are the lengths in bytes of the tars. A device of no length (None) is not there; those after
    it move up. The inodes are used up. Raises InvalidArchive for a name, an attribute, a link or a content
    that the format or the devices cannot hold.
    """
    inodes.seal()
    _Builder(inodes, devices).build(put)


class _Builder:
    """Two passes: `_place` gives every inode its slot and every folder its blocks, `_write` writes them.

    Both go through the inodes in the order of `_order`: the names in every folder, sorted, the folders in
    the order in which they are met, each ended by a 0. Nearly all inodes are *plain* files, with a content
    of one chunk and without attributes: as each takes the same room they are placed and written in rows.
    """

    def __init__(self, inodes: Inodes, devices: Sequence[int | None]) -> None:
        if len(devices) > MAX_DEVICES:
            raise InvalidArchive(f"an index over {len(devices)} files: at most {MAX_DEVICES} are possible")
        self._inodes = inodes
        self._lengths = [-1 if length is None else -(-length // BLOCK) for length in (None, *devices)]
        """In blocks, by the numbers that the inodes have; -1 for what is not there."""
        self._ends = [*(min(length, NOWHERE - 1) for length in self._lengths), *repeat(-1, MAX_DEVICES)]
        """For contents, by the same numbers and those of devices that were not given."""
        there = [number for number, length in enumerate(self._lengths) if length >= 0]
        self._devices = [self._lengths[number] for number in there]
        self._slots = {number: slot for slot, number in enumerate(there, 1)}
        self._nid = (SUPER + 128 + 128 * len(self._devices)) // SLOT
        """The next slot."""
        self.nids = array("I", bytes(4 * len(inodes)))
        self.links = array("I", bytes(4 * len(inodes)))
        self._order = array("I")
        self._count = self._blocks = 0
        self._attributes: dict[Xattrs, bytes] = {}
        self._plain = _plain_files(inodes)

    def build(self, put: Put) -> None:
        """Write all of it."""
        self._place_all()
        self._first = -(-self._nid * SLOT // BLOCK)
        if self._first + self._blocks >= NOWHERE:
            raise InvalidArchive("the layer has more files than one index can hold")
        self._metadata = _Area(put, 0)
        self._data = _Area(put, self._first * BLOCK)
        self._write_head()
        self._write_all()
        self._metadata.end(self._first * BLOCK)
        self._data.end((self._first + self._blocks) * BLOCK)

    # --- places

    def _place_all(self) -> None:
        self._place(ROOT)
        for names in self._lists():  # breadth first: there are more of them with each folder
            self._place_names(names, self._inodes.parent[names[0]] if names else ROOT)

    def _place_names(self, names: array[int], folder: int) -> None:
        inodes, nids, links, plain = self._inodes, self.nids, self.links, self._plain
        sizes, blocks, devices, ends = inodes.size, inodes.block, inodes.device, self._ends
        for number in map(inodes.inode.__getitem__, names):
            if nids[number]:
                links[number] += 1  # another name of it
            elif not plain[number]:
                self._place(number)
                links[folder if inodes.is_folder(number) else number] += 1
            else:
                if blocks[number] - (-sizes[number] // BLOCK) > ends[devices[number]]:
                    self._check_content(number, sizes[number])
                nids[number], links[number] = self._nid, 1
                self._nid += _FILE_SLOTS
                self._count += 1

    def _place(self, number: int) -> None:
        inodes = self._inodes
        head = 64 + len(self._xattrs(number)) if self._has_xattrs(number) else 64
        kind, size = inodes.mode[number] & _FORMAT, inodes.size[number]
        if kind == stat.S_IFREG and size:
            self._check_content(number, size)
            self._place_inode(number, (head + 7 & ~7) + 8 * self._chunks(number, size)[1])
        elif kind == stat.S_IFDIR:
            self.links[number] = 2
            names = inodes.sorted_names(number)
            self._order.extend(names)
            self._order.append(0)
            inodes.size[number] = size = _folder_size(inodes.texts_of(names))
            self._place_data(number, head, size)
        elif kind == stat.S_IFLNK:
            check_link(inodes.link(number))
            self._place_data(number, head, size)
        else:
            self._place_inode(number, head)
        self._count += 1

    def _place_inode(self, number: int, length: int) -> None:
        self.nids[number] = self._nid
        self._nid += -(-length // SLOT)

    def _place_data(self, number: int, head: int, size: int) -> None:
        """Inline data must not cross the block in which it begins; what cannot be inline gets blocks."""
        whole, tail = divmod(size, BLOCK)
        start = self._nid
        room = BLOCK - (start * SLOT + head) % BLOCK
        if tail > room:
            start += -(-room // SLOT)
            room = BLOCK - (start * SLOT + head) % BLOCK
        if 0 < tail <= room:
            self._inodes.device[number] |= _INLINED
            self._nid = start
            self._place_inode(number, head + tail)
        else:
            self._place_inode(number, head)
            whole += tail > 0
        self._blocks += whole

    def _chunks(self, number: int, size: int) -> tuple[int, int]:
        if number in self._inodes.heads:
            return HEAD_BITS, -(-size // (BLOCK << HEAD_BITS))
        return _chunks(size)

    def _check_content(self, number: int, size: int) -> None:
        self._check_piece(self._inodes.device[number], self._inodes.block[number] + -(-size // BLOCK))
        if number in self._inodes.heads:
            device, block = self._inodes.heads[number]
            self._check_piece(device, block + HEAD)

    def _check_piece(self, device: int, end: int) -> None:
        if end >= NOWHERE:
            raise InvalidArchive("the layer is larger than the 2 TiB that an index can point into")
        if not 0 < device < len(self._lengths) or end > self._lengths[device]:
            raise InvalidArchive("a file extends beyond the end of its layer")

    def _has_xattrs(self, number: int) -> bool:
        inodes = self._inodes
        if number in inodes.xattrs:
            return True
        marks = inodes.device[number] & (rules.OPAQUE | rules.ORIGIN)
        return bool(marks) and inodes.is_folder(number)

    def _xattrs(self, number: int) -> bytes:
        inodes = self._inodes
        xattrs = inodes.xattrs.get(number, ())
        if inodes.is_folder(number):
            xattrs += marks_of(inodes.device[number])
        found = self._attributes.get(xattrs)
        if found is None:
            if len(self._attributes) >= _REMEMBERED:
                self._attributes.clear()
            found = self._attributes[xattrs] = _xattr_bytes(xattrs)
        return found

    # --- bytes

    def _write_all(self) -> None:
        folders = self._lists()
        self._write(ROOT, folders)
        following = self.nids[ROOT] + 1
        for names in self._lists():
            following = self._write_names(names, folders, following)

    def _write_names(self, names: array[int], folders: Iterator[array[int]], following: int) -> int:
        """What is new in a folder. Other names of what was written before are at slots before `following`."""
        nids, plain = self.nids, self._plain
        start = stop = 0
        for number in map(self._inodes.inode.__getitem__, names):
            if (nid := nids[number]) >= following:
                following = nid + 1
                if number == stop and plain[number] and stop - start < _ROW:
                    stop += 1
                    continue
                self._write_row(start, stop)
                start = stop = number
                if plain[number]:
                    stop += 1
                else:
                    self._write(number, folders)
        self._write_row(start, stop)
        return following

    def _lists(self) -> Iterator[array[int]]:
        """The names of one folder after the other."""
        start = 0
        while start < len(self._order):
            stop = self._order.index(0, start)
            yield self._order[start:stop]
            start = stop + 1

    def _write_row(self, start: int, stop: int) -> None:
        """The plain files of these numbers, which were placed in their order."""
        if start == stop:
            return
        inodes, row = self._inodes, slice(start, stop)
        self._metadata.add(self.nids[start] * SLOT, b"".join(map(
            _FILE.pack, repeat(CHUNKED), repeat(0), inodes.mode[row], repeat(0), inodes.size[row],
            [INDEXES | max(0, (size - 1).bit_length() - BITS) for size in inodes.size[row]], repeat(0),
            inodes.uid[row], inodes.gid[row], inodes.mtime[row], inodes.nanoseconds[row], self.links[row],
            repeat(0), [self._slots[device] for device in inodes.device[row]], inodes.block[row],
        )))  # fmt: skip

    def _write(self, number: int, lists: Iterator[array[int]]) -> None:
        inodes = self._inodes
        mode, size, device = inodes.mode[number], inodes.size[number], inodes.device[number]
        kind = mode & _FORMAT
        xattrs = self._xattrs(number) if self._has_xattrs(number) else b""
        layout, union, note, rest = PLAIN, NOWHERE, 0, b""
        if kind == stat.S_IFREG:
            if size:
                layout, union = CHUNKED, INDEXES | self._chunks(number, size)[0]
                rest = bytes(-len(xattrs) % 8) + self._chunk_bytes(number, size)
        elif kind == stat.S_IFDIR or kind == stat.S_IFLNK:
            layout = INLINE if device & _INLINED else PLAIN
            union = self._data.position // BLOCK
            if kind == stat.S_IFLNK:
                rest = self._spill(inodes.link(number), size, layout)
            else:
                note = IMPLIED if device & rules.IMPLIED else 0
                rest = self._folder(number, next(lists), size, layout)
        else:
            size, union = 0, inodes.block[number]
        count = (len(xattrs) - XATTR_HEAD) // 4 + 1 if xattrs else 0
        head = INODE.pack(
            layout, count, mode, 0, size, union, note, inodes.uid[number], inodes.gid[number],
            inodes.mtime[number], inodes.nanoseconds[number], self.links[number],
        )  # fmt: skip
        self._metadata.add(self.nids[number] * SLOT, head + xattrs + rest)

    def _chunk_bytes(self, number: int, size: int) -> bytes:
        slot, block = self._slots[self._inodes.device[number]], self._inodes.block[number]
        bits, count = self._chunks(number, size)
        chunks = [CHUNK.pack(0, slot, block + (place << bits)) for place in range(count)]
        if number in self._inodes.heads:
            device, block = self._inodes.heads[number]
            chunks[0] = CHUNK.pack(0, self._slots[device], block)
        return b"".join(chunks)

    def _spill(self, data: bytes, size: int, layout: int) -> bytes:
        """Put into blocks of its own what of some data does not stand inline; gives what does."""
        cut = size // BLOCK * BLOCK if layout == INLINE else size
        if cut:
            self._data.add(self._data.position, data[:cut] + bytes(-cut % BLOCK))
        return data[cut:size]

    def _folder(self, number: int, names: array[int], size: int, layout: int) -> bytes:
        inodes, nids, modes = self._inodes, self.nids, self._inodes.mode
        parent = ROOT if number == ROOT else inodes.parent[inodes.block[number]]
        texts = zip(inodes.texts_of(names), map(inodes.inode.__getitem__, names), strict=True)
        for page in _pages(_with_dots(texts, number, parent)):
            texts_here, children = zip(*page, strict=True)
            offsets = accumulate(map(len, texts_here), initial=DIRENT.size * len(page))
            types = [_TYPES[modes[child] >> 12] for child in children]
            heads = map(DIRENT.pack, map(nids.__getitem__, children), offsets, types, repeat(0))
            length = min(size, BLOCK)
            size -= length
            data = b"".join((*heads, *texts_here)).ljust(length, b"\0")
            rest = self._spill(data, length, layout if not size else PLAIN)
        return rest

    def _write_head(self) -> None:
        head = bytearray(SUPER + 128 + 128 * len(self._devices))
        SUPERBLOCK.pack_into(
            head, SUPER, MAGIC, 0, CHECKSUM | MTIME, BITS, 0, self.nids[ROOT], self._count, 0, 0,
            self._first + self._blocks, 0, 0, bytes(16), bytes(16), DEVICE_TABLE | CHUNKED_FILE, 0,
            len(self._devices), (SUPER + 128) // 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        )  # fmt: skip
        for slot, blocks in enumerate(self._devices):
            at = SUPER + 128 + 128 * slot
            DEVICE.pack_into(head, at, b"", blocks & 0xFFFFFFFF, 0, blocks >> 32, 0)
        self._metadata.add(0, head)


class _Area:
    """A part of the index, written from begin to end in large pieces."""

    def __init__(self, put: Put, start: int) -> None:
        self._put, self._start = put, start
        self._held = bytearray()
        self.position = start
        """Where the next byte may go."""

    def add(self, position: int, data: bytes | bytearray) -> None:
        """Zeros up to `position`, then the data."""
        if position > self.position:
            self._held += bytes(position - self.position)
        self._held += data
        self.position = position + len(data)
        if len(self._held) >= _PIECE:
            self._flush()

    def end(self, position: int) -> None:
        """Zeros up to `position`, which is the end."""
        self.add(position, b"")
        self._flush()

    def _flush(self) -> None:
        held, self._held = self._held, bytearray()
        start, self._start = self._start, self._start + len(held)
        if not start:  # the checksum is over the first block from the superblock on
            held[SUPER + 4 : SUPER + 8] = pack("<I", crc32c(held[SUPER : SUPER + BLOCK]))
        if held:
            self._put(held, start)


def _plain_files(inodes: Inodes) -> bytearray:
    """By the number of an inode: is it a file of one chunk, and without attributes?"""
    found = zip(inodes.mode, inodes.size, strict=True)
    plain = bytearray(mode & _FORMAT == stat.S_IFREG and 0 < size <= _ONE_CHUNK for mode, size in found)
    for numbers in (inodes.xattrs, inodes.heads):
        for number in numbers:
            plain[number] = 0
    return plain


def _chunks(size: int) -> tuple[int, int]:
    """The format of a file's chunks (log2 of blocks in one) and how many it has: one, below a terabyte."""
    bits = min(31, max(0, (size - 1).bit_length() - BITS))
    return bits, -(-size // (BLOCK << bits))


def _with_dots(names: Iterable[tuple[bytes, int]], here: int, above: int) -> Iterator[tuple[bytes, int]]:
    """Sorted names with `.` and `..` among them: the kernel bisects over all of them."""
    dots = [(b"..", above), (b".", here)]
    rest = iter(names)
    for name, number in rest:
        while dots and dots[-1][0] < name:
            yield dots.pop()
        yield name, number
        if not dots:
            yield from rest
    while dots:
        yield dots.pop()


def _pages(names: Iterable[tuple[bytes, int]]) -> Iterator[list[tuple[bytes, int]]]:
    page: list[tuple[bytes, int]] = []
    used = 0
    for name, number in names:
        used += 12 + len(name)
        if used > BLOCK:
            yield page
            page, used = [], 12 + len(name)
        page.append((name, number))
    yield page


def _folder_size(names: Iterable[bytes]) -> int:
    """Bytes of a folder of these names, sorted, with `.` and `..`."""
    pages = used = 0
    for length in map(len, _checked(_with_dotted(names))):
        used += DIRENT.size + length
        if used > BLOCK:
            pages += 1
            used = DIRENT.size + length
    return pages * BLOCK + used


def _with_dotted(names: Iterable[bytes]) -> Iterable[bytes]:
    if isinstance(names, list):
        return sorted([b".", b"..", *names])
    return (name for name, _ in _with_dots(((name, 0) for name in names), 0, 0))


def _checked(names: Iterable[bytes]) -> Iterable[bytes]:
    """Raises InvalidArchive for a name that no file can have."""
    if isinstance(names, list):
        joined, lengths = b"/".join(names), set(map(len, names))
        if joined.count(b"/") == len(names) - 1 and not joined.count(b"\0") and lengths <= _LENGTHS:
            return names
    return map(_checked_name, names)


def _checked_name(name: bytes) -> bytes:
    if b"/" in name or b"\0" in name or not 0 < len(name) <= MAX_NAME:
        raise InvalidArchive(f"a file name of {len(name)} bytes, {show(name)}, is not possible")
    return name


def _xattr_bytes(xattrs: Xattrs) -> bytes:
    """Attributes as they stand after an inode; those of namespaces that EROFS does not know are left out."""
    out = [bytes(XATTR_HEAD)]
    for name, value in xattrs:
        index, rest = _split_xattr(name)
        if index:
            if len(rest) > MAX_NAME or len(value) > 0xFFFF:
                raise InvalidArchive(f"extended attribute {show(name)} of {len(value)} bytes is not possible")
            entry = XATTR.pack(len(rest), index, len(value)) + rest + value
            out.append(entry + bytes(-len(entry) % 4))
    size = sum(map(len, out)) - XATTR_HEAD
    if size > MAX_XATTRS:
        raise InvalidArchive(f"one file has {size} bytes of extended attributes: {MAX_XATTRS} are possible")
    return b"".join(out) if size else b""


def _split_xattr(name: bytes) -> tuple[int, bytes]:
    """(index of the namespace, rest of the name); (0, b"") for one that cannot be kept."""
    if name in WHOLE_NAMES:
        return WHOLE_NAMES[name], b""
    space, dot, rest = name.partition(b".")
    index = PREFIXES.get(space + dot, 0) if rest else 0
    return (index, rest) if index else (0, b"")


# --- nodes
