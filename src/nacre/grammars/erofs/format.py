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

This is what writing (`write`) and reading (`read`) have in common. Little endian.
Source: Linux, fs/erofs/erofs_fs.h, Documentation/filesystems/erofs.rst; what is not written there was
measured: `.` and `..` are sorted among the names, an inline tail must not cross a block.
"""

from __future__ import annotations

from struct import Struct

BLOCK = 512
BITS = 9
"""log2(BLOCK)."""
SLOT = 32
"""Inodes begin at multiples of this; their number (nid) counts them."""
SUPER = 1024
MAGIC = 0xE0F5E1E2
HEAD_BITS = 3
HEAD = 1 << HEAD_BITS
"""Blocks in each chunk of a file whose first chunk lies apart: 4 KiB, a page."""
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


def device_number(major: int, minor: int) -> int:
    """As Linux stores it: 12 bits of major within 20 of minor (new_encode_dev)."""
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12


def device_parts(rdev: int) -> tuple[int, int]:
    """The major and minor number of a device node."""
    return rdev >> 8 & 0xFFF, rdev & 0xFF | rdev >> 12 & 0xFFF00


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
