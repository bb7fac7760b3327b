"""Where in the store a content may lie: a table from (size, checksum) to (inode, block).

    ROOT/hints      head of 80 bytes, then buckets of 4 slots: checksum, size, inode number of a tar, block

Only hints: whoever follows one compares the bytes, so a lost, stale or forged slot costs room on disk and
nothing else. That is why nobody locks the file, nothing syncs it, and a full bucket forgets at random.
Asking for 40,000 contents takes 0.03 s, telling of them 0.13; rows of the database took 0.16 and 0.07, with
its write lock held and up to 2.5 MB of its log written each time.
"""

from __future__ import annotations

import os
from mmap import PROT_READ, mmap
from struct import Struct

from ....ground.files import write_atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "hints"

KEY = Struct("<II")
"""CRC-32 of the content, and its size."""
_SLOT = Struct("<8sQI")
_WAYS = 4
_BUCKET = _WAYS * _SLOT.size
_HEAD = Struct("<4sII68x")
_FREE = bytes(8)
_MAGIC, _VERSION = b"NHNT", 1
_FIRST, _LAST = 14, 18
"""log2 of the number of buckets: 1.3 MB at first, at most 21 MB for a million contents."""
_GROWTH = 2
_SAMPLE = 64
_PAGE = 200 * _BUCKET


class Hints:
    """The table of one store, mapped until nobody has it any more. Safe for threads; processes share it."""

    _fd = -1

    def __init__(self, path: str) -> None:
        """Raises OSError, StoreError when it can be neither read nor made."""
        self._path = path
        self._fd = _open(path)
        try:
            self._bits = _bits(self._fd)
            self._map = mmap(self._fd, 0, prot=PROT_READ)
        except BaseException:
            os.close(self._fd)
            self._fd = -1
            raise

    def current(self) -> bool:
        """Is this still the file of that name, and has it room enough?"""
        try:
            here, there = os.fstat(self._fd), os.stat(self._path)
        except OSError:
            return False
        return here.st_ino == there.st_ino and not (self._bits < _LAST and self._crowded())

    def find(self, key: bytes) -> tuple[int, int] | None:
        """(inode number, block) where the content of this key may be."""
        start = self._start(key)
        at = self._map.find(key, start, start + _BUCKET)
        if at < 0 or (at - start) % _SLOT.size:
            return None
        _, inode, block = _SLOT.unpack_from(self._map, at)
        return (inode, block) if inode else None

    def tell(self, inode: int, blocks: Mapping[bytes, int]) -> None:
        """The contents of these keys lie in the file `inode`, at these blocks. Full disks are borne."""
        starts = sorted([(self._start(key), key) for key in blocks])
        at, page = 0, bytearray()
        try:
            for start, key in starts:
                if start >= at + len(page):
                    os.pwrite(self._fd, page, at)
                    at, page = start, bytearray(self._map[start : start + _PAGE])
                _insert(page, start - at, key, inode, blocks[key])
            os.pwrite(self._fd, page, at)
        except OSError:
            return

    def _start(self, key: bytes) -> int:
        checksum, size = KEY.unpack(key)
        mixed = (checksum ^ size * 0x9E3779B1) & 0xFFFFFFFF
        return int(_HEAD.size + (mixed >> 32 - self._bits) * _BUCKET)

    def _crowded(self) -> bool:
        """Is more than half of some buckets taken?"""
        step = (1 << self._bits) // _SAMPLE
        starts = (_HEAD.size + number * step * _BUCKET for number in range(_SAMPLE))
        slots = [s for start in starts for s in _SLOT.iter_unpack(self._map[start : start + _BUCKET])]
        return sum(1 for _, inode, _ in slots if inode) > len(slots) // 2

    def grow(self) -> None:
        """If it is crowded, put a larger one in its place; this object is then used up. Raises StoreError."""
        if self._bits >= _LAST or not self._crowded():
            return
        bits = min(_LAST, self._bits + _GROWTH)
        grown = bytearray(_empty(bits))
        self._map.seek(0)
        old, self._bits = self._map[_HEAD.size :], bits
        for key, inode, block in _SLOT.iter_unpack(old):
            if inode:
                _insert(grown, self._start(key), key, inode, block)
        write_atomic(self._path, bytes(grown))

    def close(self) -> None:
        """Close the table. Idempotent."""
        if self._fd >= 0:
            self._map.close()
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()


def _insert(page: bytearray, start: int, key: bytes, inode: int, block: int) -> None:
    """Into the slot of this key, else a free one, else one of the others."""
    at = page.find(key, start, start + _BUCKET)
    if at < 0 or (at - start) % _SLOT.size:
        at = start + (inode + block) % _WAYS * _SLOT.size
        for slot in range(start, start + _BUCKET, _SLOT.size):
            if page[slot + 8 : slot + 16] == _FREE:
                at = slot
                break
    _SLOT.pack_into(page, at, key, inode, block)


def _open(path: str) -> int:
    """The table, made if there is none or if it is not one of ours."""
    for _ in range(2):
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            write_atomic(path, _empty(_FIRST))
            continue
        if _bits(fd):
            return fd
        os.close(fd)
        write_atomic(path, _empty(_FIRST))
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def _bits(fd: int) -> int:
    """log2 of the number of buckets; 0 when the file is none of this version."""
    head = os.pread(fd, _HEAD.size, 0)
    if len(head) < _HEAD.size:
        return 0
    magic, version, bits = _HEAD.unpack(head)
    whole = _FIRST <= bits <= _LAST and os.fstat(fd).st_size == _HEAD.size + (_BUCKET << bits)
    return int(bits) if whole and (magic, version) == (_MAGIC, _VERSION) else 0


def _empty(bits: int) -> bytes:
    return _HEAD.pack(_MAGIC, _VERSION, bits) + bytes(_BUCKET << bits)
