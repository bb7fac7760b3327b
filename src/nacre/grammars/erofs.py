"""EROFS metadata that points into untouched tars: a tree of nodes becomes the bytes of an index.

The index is one file: superblock, device table, inodes, folders. The contents of files stay where they
are, in the tars, which the kernel is given as extra devices in slot order. Blocks have 512 bytes, the
only size at which the payload of every tar member begins on a block.

    0      zeros
    1024   superblock (128 bytes), device slots (128 each)
    …      inodes on 32-byte slots: 64 bytes, extended attributes, then what the layout wants
             chunks    8 bytes each: device and start block   (files with content)
             inline    link target or the last part of a folder, within the block where it begins
             plain     nothing: empty files, devices, and what has all its data in blocks of its own
    …      those blocks

All offsets in it are sums of lengths of what was laid out before, so none can point outside of the index;
contents are checked against the lengths of the tars. Reading it back is `erofsread`. Little endian.
Source: Linux, fs/erofs/erofs_fs.h, Documentation/filesystems/erofs.rst; what is not written there was
measured: `.` and `..` are sorted among the names, an inline tail must not cross a block.
"""

from __future__ import annotations

import stat
from struct import Struct, pack

from ..words.errors import InvalidArchive
from .tarentry import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Xattrs = tuple[tuple[bytes, bytes], ...]

BLOCK = 512
BITS = 9
"""log2(BLOCK)."""
SLOT = 32
"""Inodes begin at multiples of this; their number (nid) counts them."""
SUPER = 1024
MAGIC = 0xE0F5E1E2
NOWHERE = 0xFFFFFFFF
"""The block of what has no content."""
CHECKSUM, MTIME = 1, 2
CHUNKED_FILE, DEVICE_TABLE = 4, 8
INDEXES = 0x20
PLAIN, INLINE, CHUNKED = 0 << 1 | 1, 2 << 1 | 1, 4 << 1 | 1
"""Layouts of extended inodes (bit 0), the only ones written: compact ones lose times on older kernels."""
IMPLIED = 1
"""In the field i_ino, which the kernel does not use, of a folder that the layer does not name itself."""
MAX_DEVICES = 4096
MAX_NAME = 255
MAX_LINK = 4095
MAX_XATTRS = 4 * 65534
"""Most bytes of attributes of one inode: their count of 4-byte units has 16 bits."""

SUPERBLOCK = Struct("<IIIBBHQQIIII16s16sIHHHBBIQBBHIQQ")
DEVICE = Struct("<64sIIHH52x")
INODE = Struct("<HHHHQIIIIqII16x")
CHUNK = Struct("<HHI")
DIRENT = Struct("<QHBB")
XATTR = Struct("<BBH")
XATTR_HEAD = 12
PREFIXES = {b"user.": 1, b"trusted.": 4, b"security.": 6}
WHOLE_NAMES = {b"system.posix_acl_access": 2, b"system.posix_acl_default": 3}

_FORMAT = 0o170000
_TYPES = {
    stat.S_IFREG: 1, stat.S_IFDIR: 2, stat.S_IFCHR: 3, stat.S_IFBLK: 4, stat.S_IFIFO: 5,
    stat.S_IFSOCK: 6, stat.S_IFLNK: 7,
}  # fmt: skip
_SECOND = 1_000_000_000


class Node:
    """One inode. `mode` has the type bits; `children` maps names to nodes and is None but for folders.

    A file with several names is one node under several names. `device` is the slot (from 1) of the tar
    that holds the content and `block` where it begins there, in blocks. `implied`: a folder that is only
    on the way to something. `rdev` as `device_number` makes it. The other fields belong to `encode`.
    """

    __slots__ = (
        "block", "children", "device", "gid", "implied", "layout", "link", "mode", "mtime_ns", "nid",
        "nlink", "pages", "rdev", "size", "start", "uid", "xattrs",
    )  # fmt: skip

    def __init__(
        self, mode: int, uid: int = 0, gid: int = 0, mtime_ns: int = 0, size: int = 0, *, link: bytes = b"",
        rdev: int = 0, xattrs: Xattrs = (), device: int = 0, block: int = 0, implied: bool = False,
    ) -> None:  # fmt: skip
        self.mode, self.uid, self.gid, self.mtime_ns, self.size = mode, uid, gid, mtime_ns, size
        self.link, self.rdev, self.xattrs, self.device, self.block = link, rdev, xattrs, device, block
        self.children: dict[bytes, Node] | None = {} if mode & _FORMAT == stat.S_IFDIR else None
        self.implied = implied
        self.nid, self.nlink = -1, 0
        self.layout: int
        self.start: int
        self.pages: list[list[bytes]]


def device_number(major: int, minor: int) -> int:
    """As Linux stores it: 12 bits of major within 20 of minor (new_encode_dev)."""
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12


def device_parts(rdev: int) -> tuple[int, int]:
    """(major, minor)."""
    return rdev >> 8 & 0xFFF, rdev & 0xFF | rdev >> 12 & 0xFFF00


def encode(root: Node, devices: Sequence[int | None]) -> bytearray:
    """The index of the tree under `root`. `devices` are the lengths in bytes of the tars.

    A device of no length (None) is not there; those after it move up.
    The nodes are used up: a tree is encoded once. Raises InvalidArchive for a name, an attribute, a link
    or a content that the format or the devices cannot hold.
    """
    if len(devices) > MAX_DEVICES:
        raise InvalidArchive(f"an index over {len(devices)} files: at most {MAX_DEVICES} are possible")
    return _Builder(root, devices).build()


class _Builder:
    """Two passes: `_place` gives every inode its slot and every folder its blocks, `_write` fills them."""

    def __init__(self, root: Node, devices: Sequence[int | None]) -> None:
        self._root = root
        self._lengths = [-1 if length is None else -(-length // BLOCK) for length in (None, *devices)]
        """In blocks, by the numbers that the nodes have; -1 for what is not there."""
        there = [number for number, length in enumerate(self._lengths) if length >= 0]
        self._devices = [self._lengths[number] for number in there]
        self._slots = {number: slot for slot, number in enumerate(there, 1)}
        self._position = SUPER + 128 + 128 * len(self._devices)
        self._order: list[Node] = []
        self._parents: dict[Node, Node] = {}
        self._blocks = 0
        self._xattrs: dict[Xattrs, bytes] = {(): b""}

    def build(self) -> bytearray:
        self._place(self._root, self._root)
        for node in self._order:  # grows while it is walked: breadth first
            if node.children is not None:
                self._place_children(node, node.children)
        first = -(-self._position // BLOCK)
        if first + self._blocks >= NOWHERE:
            raise InvalidArchive("the layer has more files than one index can hold")
        image = bytearray((first + self._blocks) * BLOCK)
        for node in self._order:
            self._write(image, node, first)
        self._write_head(image)
        return image

    def _place_children(self, folder: Node, children: dict[bytes, Node]) -> None:
        for child in children.values():
            if child.nid < 0:
                self._place(child, folder)
            if child.children is not None:
                folder.nlink += 1
            else:
                child.nlink += 1

    def _place(self, node: Node, parent: Node) -> None:
        head = 64 + len(self._attributes(node)) if node.xattrs else 64
        kind = node.mode & _FORMAT
        if kind == stat.S_IFREG and node.size:
            node.layout = CHUNKED
            self._check_content(node)
            self._place_inode(node, (head + 7 & ~7) + 8 * _chunks(node.size)[1])
        elif kind == stat.S_IFDIR:
            node.nlink = 2
            self._parents[node] = parent
            node.pages = _paginate(node.children or {})
            node.size = (len(node.pages) - 1) * BLOCK + _page_size(node.pages[-1])
            self._place_data(node, head)
        elif kind == stat.S_IFLNK:
            node.size = _link_size(node.link)
            self._place_data(node, head)
        else:
            node.layout = PLAIN
            self._place_inode(node, head)
        self._order.append(node)

    def _place_inode(self, node: Node, length: int) -> None:
        node.nid = -(-self._position // SLOT)
        self._position = node.nid * SLOT + length

    def _place_data(self, node: Node, head: int) -> None:
        """Inline data must not cross the block in which it begins; what cannot be inline gets blocks."""
        whole, tail = divmod(node.size, BLOCK)
        start = -(-self._position // SLOT) * SLOT
        room = BLOCK - (start + head) % BLOCK
        if tail > room:
            start += -(-room // SLOT) * SLOT
            room = BLOCK - (start + head) % BLOCK
        if 0 < tail <= room:
            node.layout = INLINE
            self._position = start
            self._place_inode(node, head + tail)
        else:
            node.layout = PLAIN
            self._place_inode(node, head)
            whole += tail > 0
        node.start = self._blocks
        self._blocks += whole

    def _check_content(self, node: Node) -> None:
        end = node.block + -(-node.size // BLOCK)
        known = 0 < node.device < len(self._lengths)
        if not known or node.block < 0 or end > self._lengths[node.device]:
            raise InvalidArchive("a file reaches beyond the end of its layer")
        if end >= NOWHERE:
            raise InvalidArchive("the layer is larger than the 2 TiB that an index can point into")

    def _attributes(self, node: Node) -> bytes:
        found = self._xattrs.get(node.xattrs)
        if found is None:
            found = self._xattrs[node.xattrs] = _xattr_bytes(node.xattrs)
        return found

    def _write(self, image: bytearray, node: Node, first: int) -> None:
        kind, layout = node.mode & _FORMAT, node.layout
        union, data, size = NOWHERE, b"", 0
        if layout == CHUNKED:
            union, size = INDEXES | _chunks(node.size)[0], node.size
        elif kind in (stat.S_IFDIR, stat.S_IFLNK):
            union, size = first + node.start, node.size
            data = node.link if kind == stat.S_IFLNK else _folder_data(node, self._parents[node])
        elif kind != stat.S_IFREG:
            union = node.rdev
        xattrs = self._attributes(node) if node.xattrs else b""
        seconds, nanoseconds = divmod(node.mtime_ns, _SECOND)
        position = node.nid * SLOT
        INODE.pack_into(
            image, position, layout, (len(xattrs) - XATTR_HEAD) // 4 + 1 if xattrs else 0, node.mode, 0,
            size, union, IMPLIED if node.implied else 0, node.uid, node.gid, seconds, nanoseconds, node.nlink,
        )  # fmt: skip
        end = position + 64 + len(xattrs)
        if xattrs:
            image[position + 64 : end] = xattrs
        if layout == CHUNKED:
            _write_chunks(image, end + 7 & ~7, node, self._slots[node.device])
        elif data:
            cut = len(data) // BLOCK * BLOCK if layout == INLINE else len(data)
            at = union * BLOCK
            image[at : at + cut] = data[:cut]
            image[end : end + len(data) - cut] = data[cut:]

    def _write_head(self, image: bytearray) -> None:
        SUPERBLOCK.pack_into(
            image, SUPER, MAGIC, 0, CHECKSUM | MTIME, BITS, 0, self._root.nid, len(self._order), 0, 0,
            len(image) // BLOCK, 0, 0, bytes(16), bytes(16), DEVICE_TABLE | CHUNKED_FILE, 0,
            len(self._devices), (SUPER + 128) // 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        )  # fmt: skip
        for slot, blocks in enumerate(self._devices):
            at = SUPER + 128 + 128 * slot
            DEVICE.pack_into(image, at, b"", blocks & 0xFFFFFFFF, 0, blocks >> 32, 0)
        image[SUPER + 4 : SUPER + 8] = pack("<I", crc32c(image[SUPER : SUPER + BLOCK]))


def _chunks(size: int) -> tuple[int, int]:
    """The format of a file's chunks (log2 of blocks in one) and how many it has: one, below a terabyte."""
    bits = min(31, max(0, (size - 1).bit_length() - BITS))
    return bits, -(-size // (BLOCK << bits))


def _write_chunks(image: bytearray, at: int, node: Node, slot: int) -> None:
    bits, count = _chunks(node.size)
    for number in range(count):
        CHUNK.pack_into(image, at + 8 * number, 0, slot, node.block + (number << bits))


def _link_size(target: bytes) -> int:
    if not 0 < len(target) <= MAX_LINK or b"\0" in target:
        raise InvalidArchive(f"a symbolic link to {show(target)}, {len(target)} bytes, is not possible")
    return len(target)


def _paginate(children: dict[bytes, Node]) -> list[list[bytes]]:
    """Names in blocks. The kernel searches them bisecting, with `.` and `..` in their sorted places."""
    pages: list[list[bytes]] = [[]]
    used = 0
    for name in sorted([b".", b"..", *children]):
        need = 12 + len(name)
        if used + need > BLOCK:
            pages.append([])
            used = 0
        pages[-1].append(name)
        used += need
        if not 0 < len(name) <= MAX_NAME or b"/" in name or b"\0" in name:
            raise InvalidArchive(f"a file name of {len(name)} bytes, {show(name)}, is not possible")
    return pages


def _page_size(page: list[bytes]) -> int:
    return 12 * len(page) + sum(map(len, page))


def _folder_data(node: Node, parent: Node) -> bytes:
    children = {**(node.children or {}), b".": node, b"..": parent}
    out = []
    for page in node.pages:
        offset = 12 * len(page)
        heads = []
        for name in page:
            child = children[name]
            heads.append(DIRENT.pack(child.nid, offset, _TYPES.get(child.mode & _FORMAT, 0), 0))
            offset += len(name)
        out.append(b"".join(heads + page).ljust(BLOCK, b"\0"))
    return b"".join(out)[: node.size]


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


def crc32c(data: bytes | bytearray) -> int:
    """Castagnoli's checksum as a superblock has it: over its block, the field zeroed, not inverted."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc


def _crc_of(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC = tuple(map(_crc_of, range(256)))
