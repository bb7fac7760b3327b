"""Bytes of one file into another, shared instead of copied where the file system can.

Source: ioctl_ficlone(2), copy_file_range(2).
"""

from __future__ import annotations

import errno
import fcntl
import os

from .files import write_all

FICLONE = 0x40049409

_CHUNK = 1 << 20
_MIN_HOLE = 1 << 20
_NO = (
    errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.ENOTTY, errno.EPERM, errno.EBADF,
    errno.ETXTBSY, errno.EISDIR, errno.EACCES,
)  # fmt: skip

_sharing: dict[int, bool] = {}
"""Whether FICLONE works, by device; a device is asked once."""


def can_share(folder: str) -> bool:
    """Whether files in `folder` can share their blocks. Raises OSError."""
    one, other = (os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600) for _ in range(2))
    try:
        os.write(one, b"x" * 4096)
        return _share(one, other)
    finally:
        os.close(one)
        os.close(other)


def _share(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError as error:
        if error.errno not in _NO:
            raise
        return False
    return True


def clone(source: int, target: int, start: int, size: int) -> None:
    """Bytes `start` to `start + size` of `source` become the content of the empty file `target`.

    A whole file shares its blocks where that is possible; holes of more than 1 MiB stay holes. Raises
    OSError, also for a source that is too short.
    """
    info = os.fstat(source)
    device = info.st_dev
    if start == 0 and size == info.st_size and size and _sharing.get(device, True):
        _sharing[device] = _share(source, target)
        if _sharing[device]:
            return
    end = start
    for offset, length in _pieces(source, start, size):
        if offset > end:
            os.lseek(target, offset - start, os.SEEK_SET)
        _copy(source, target, offset, length)
        end = offset + length
    if end < start + size:
        os.ftruncate(target, size)


def _pieces(source: int, start: int, size: int) -> list[tuple[int, int]]:
    """Where the data lies."""
    if size < _MIN_HOLE:
        return [(start, size)] if size else []
    found, at, end = [], start, start + size
    while at < end:
        try:
            begin = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole
                break
            return [(start, size)]
        at = min(os.lseek(source, begin, os.SEEK_HOLE), end)
        if begin < end:
            found.append((begin, at - begin))
    return found


def _copy(source: int, target: int, offset: int, left: int) -> None:
    try:
        while left:
            count = os.copy_file_range(source, target, left, offset)
            if not count:
                break
            offset, left = offset + count, left - count
    except OSError as error:
        if error.errno not in _NO:
            raise
    while left:  # not between these file systems, or not by this kernel
        data = os.pread(source, min(left, _CHUNK), offset)
        if not data:
            raise OSError(errno.EIO, "a file in the store is truncated")
        write_all(target, data)
        offset, left = offset + len(data), left - len(data)
