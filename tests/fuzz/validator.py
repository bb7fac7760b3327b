"""Is every number in an EROFS image one that the kernel may follow? Made from the format, not our encoder.

Walks superblock, device slots, inodes, attributes, folders and chunks, and checks that each stays inside
the index or the device that it points into, that nothing overlaps, that folders can be bisected, that
counts of links are true, and that every inode is reached. Source: Linux, fs/erofs/erofs_fs.h.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

MAGIC, OFFSET = 0xE0F5E1E2, 1024
HOLE = 0xFFFFFFFF
TYPES = {
    stat.S_IFREG: 1,
    stat.S_IFDIR: 2,
    stat.S_IFCHR: 3,
    stat.S_IFBLK: 4,
    stat.S_IFIFO: 5,
    stat.S_IFSOCK: 6,
}
TYPES[stat.S_IFLNK] = 7


class Invalid(Exception):
    """Something that the kernel must not be shown."""


def check(condition: object, *told: object) -> None:
    if not condition:
        raise Invalid(*told)


class Inode(NamedTuple):
    """`tail` is where inline data or chunks begin."""

    nid: int
    layout: int
    mode: int
    size: int
    union: int
    nlink: int
    tail: int


def validate(data: bytes, devices: Sequence[int]) -> int:
    """How many inodes the image has; `devices`: bytes of the files it points into. Raises Invalid."""
    return Image(data, devices).walk()


class Image:
    """One image while it is walked."""

    def __init__(self, data: bytes, devices: Sequence[int]) -> None:
        self.data = data
        self.used: list[tuple[int, int]] = []
        check(len(data) >= OFFSET + 128, "no room for a superblock")
        fields = struct.unpack_from("<IIIBBHQQIIII16s16sIHHHBBIQBBHIQQ", data, OFFSET)
        magic, stored, compatible, bits, slots, self.root, self.inos = fields[:7]
        self.blocks, metadata, xattrs = fields[9:12]
        incompatible, count, slot = fields[14], fields[16], fields[17]
        self.block = 1 << bits
        check(magic == MAGIC, "magic", magic)
        check(bits == 9 and slots == 0 and metadata == 0 and xattrs == 0, "a form that is not ours")
        check(compatible & ~3 == 0 and incompatible & ~12 == 0, "features", compatible, incompatible)
        check(fields[18] == 0, "folders of larger blocks")
        check(self.blocks * self.block == len(data), "length", self.blocks, len(data))
        head = bytearray(data[OFFSET : OFFSET + self.block])
        head[4:8] = bytes(4)
        check(not compatible & 1 or crc32c(bytes(head)) == stored, "checksum")
        self.use(OFFSET, 128)
        self._devices(count, slot * 128, devices)

    def _devices(self, count: int, at: int, devices: Sequence[int]) -> None:
        check(count == len(devices), "devices", count, len(devices))
        self.use(at, 128 * count)
        self.devices = []
        for number, size in enumerate(devices):
            _, low, address, high, _ = struct.unpack_from("<64sIIHH52x", self.data, at + 128 * number)
            blocks = low | high << 32
            check(address == 0, "device", number, "has a place of its own")
            check(blocks == -(-size // self.block), "device", number, blocks, size)
            self.devices.append(blocks)

    def use(self, start: int, length: int) -> None:
        """These bytes belong to one thing."""
        check(start >= 0 and length >= 0 and start + length <= len(self.data), "outside", start, length)
        if length:
            self.used.append((start, start + length))

    def walk(self) -> int:
        """From the root; folders before what they hold."""
        seen: dict[int, Inode] = {self.root: self.inode(self.root)}
        check(stat.S_ISDIR(seen[self.root].mode), "the root is no folder")
        names: dict[int, int] = {}
        waiting = [(self.root, self.root)]
        while waiting:
            nid, parent = waiting.pop()
            folders = 0
            for name, child, kind in self.folder(seen[nid], parent):
                known = child in seen
                inode = seen[child] if known else self.inode(child)
                seen[child] = inode
                check(kind == TYPES.get(stat.S_IFMT(inode.mode), 0), "type of", name, kind, inode)
                if stat.S_ISDIR(inode.mode):
                    check(not known, "a folder with two names", name)
                    folders += 1
                    waiting.append((child, nid))
                names[child] = names.get(child, 0) + 1
            check(seen[nid].nlink == 2 + folders, "links of folder", nid, seen[nid].nlink, folders)
        for nid, inode in seen.items():
            check(stat.S_ISDIR(inode.mode) or inode.nlink == names[nid], "links of", nid, inode.nlink)
        check(len(seen) == self.inos, "inodes", len(seen), self.inos)
        self._apart()
        return len(seen)

    def _apart(self) -> None:
        end = 0
        for start, stop in sorted(self.used):
            check(start >= end, "two things in one place", start, end)
            end = stop

    def inode(self, nid: int) -> Inode:
        at = nid * 32
        check(at + 64 <= len(self.data), "inode outside", nid)
        form, icount, mode, _, size, union, _, _, _, _, nanoseconds, nlink = struct.unpack_from(
            "<HHHHQIIIIqII16x", self.data, at
        )
        check(form & 1 and form >> 1 in (0, 2, 4), "inode", nid, "has the form", form)
        check(stat.S_IFMT(mode) in TYPES and nanoseconds < 1_000_000_000 and nlink > 0, "inode", nid, mode)
        attributes = 12 + 4 * (icount - 1) if icount else 0
        self.attributes(at + 64, attributes)
        found = Inode(nid, form >> 1, mode, size, union, nlink, at + 64 + attributes)
        self.use(at, 64 + attributes)
        self.content(found)
        return found

    def attributes(self, at: int, length: int) -> None:
        check(at + length <= len(self.data), "attributes outside")
        if not length:
            return
        check(self.data[at + 4] == 0, "shared attributes")
        position, end = at + 12, at + length
        while position < end:
            check(position + 4 <= end, "an attribute cut off")
            name, index, value = struct.unpack_from("<BBH", self.data, position)
            check(index in (1, 2, 3, 4, 6), "namespace", index)
            check((name == 0) == (index in (2, 3)), "name of an attribute", index, name)
            position += 4 + name + value
            check(position <= end, "an attribute beyond its inode")
            position = (position + 3) & ~3
        check(position == end, "attributes of another length")

    def content(self, inode: Inode) -> None:
        kind = stat.S_IFMT(inode.mode)
        if kind == stat.S_IFREG and inode.size:
            check(inode.layout == 4, "a file that is not in chunks")
            self.chunks(inode)
        elif kind == stat.S_IFREG:
            check(inode.layout == 0, "an empty file with a layout")
        elif kind in (stat.S_IFDIR, stat.S_IFLNK):
            check(inode.size > 0, "a folder or link of nothing")
            check(kind == stat.S_IFDIR or inode.size <= 4095, "a link of", inode.size)
            self.data_of(inode)
        else:
            check(inode.size == 0, "a device with a size")

    def chunks(self, inode: Inode) -> None:
        """Every block of every chunk lies in its device."""
        check(inode.union & ~0x3F == 0 and inode.union & 0x20, "form of chunks", inode.union)
        length = self.block << (inode.union & 0x1F)
        at = (inode.tail + 7) & ~7
        count = -(-inode.size // length)
        self.use(at, 8 * count)
        for number in range(count):
            high, device, start = struct.unpack_from("<HHI", self.data, at + 8 * number)
            check(high == 0, "a chunk beyond 2 TiB")
            blocks = -(-min(length, inode.size - number * length) // self.block)
            if start == HOLE:
                continue
            check(1 <= device <= len(self.devices), "chunk of device", device)
            check(start + blocks <= self.devices[device - 1], "chunk outside of its device", start, blocks)

    def data_of(self, inode: Inode) -> list[bytes]:
        """The blocks of a folder or link, the last one perhaps behind its inode."""
        whole, tail = divmod(inode.size, self.block)
        check(inode.layout in (0, 2), "layout of a folder or link", inode.layout)
        if inode.layout == 2:
            check(tail, "inline data of nothing")
            crosses = inode.tail // self.block != (inode.tail + tail - 1) // self.block
            check(not crosses, "inline data in two blocks")
            self.use(inode.tail, tail)
        else:
            whole += tail > 0
        self.use(inode.union * self.block, whole * self.block) if whole else None
        return list(self._blocks(inode))

    def _blocks(self, inode: Inode) -> Iterator[bytes]:
        for number in range(-(-inode.size // self.block)):
            length = min(self.block, inode.size - number * self.block)
            inline = inode.layout == 2 and length < self.block
            at = inode.tail if inline else (inode.union + number) * self.block
            check(at + length <= len(self.data), "a block outside")
            yield self.data[at : at + length]

    def folder(self, inode: Inode, parent: int) -> Iterator[tuple[bytes, int, int]]:
        """Names without the dots, in the order in which the kernel bisects them."""
        before, dots = b"", {b".": inode.nid, b"..": parent}
        for block in self._blocks(inode):
            for name, nid, kind in entries(block):
                check(name > before, "names out of order", before, name)
                check(b"/" not in name and len(name) <= 255, "the name", name)
                before = name
                if name in dots:
                    check(dots.pop(name) == nid and kind == 2, "a dot leads elsewhere", name)
                else:
                    yield name, nid, kind
        check(not dots, "a folder without dots")


def entries(block: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The entries in one block of a folder."""
    check(len(block) >= 12, "a block of a folder too short")
    first = struct.unpack_from("<H", block, 8)[0]
    check(first and first % 12 == 0 and first <= len(block), "where names begin", first)
    heads = [struct.unpack_from("<QHBB", block, at) for at in range(0, first, 12)]
    ends = [head[1] for head in heads[1:]] + [len(block)]
    for (nid, start, kind, _), end in zip(heads, ends, strict=True):
        check(first <= start < end <= len(block), "a name outside of its block", start, end)
        name = block[start:end].rstrip(b"\0") if end == len(block) else block[start:end]
        check(name and b"\0" not in name, "the name", name)
        yield name, nid, kind


def crc32c(data: bytes) -> int:
    """Bit by bit, as the polynomial says."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc
