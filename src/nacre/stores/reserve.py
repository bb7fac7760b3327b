"""A little room that is kept for the day on which the disk is full.

SQLite cannot write its log then, and so nothing could be swept. `ROOT/reserve` is a file of one MiB that
means nothing; a sweep gives it up first and takes it again when it has freed something.
"""

from __future__ import annotations

import os

SIZE = 1 << 20
"""Bytes; about ten thousand rows can be deleted in a log of that size."""
ENOUGH = 4 * SIZE
"""Bytes of room with which a disk counts as full no longer."""


def release(root: str) -> bool:
    """Give it up if the file system is as good as full; whether there was something to give up."""
    try:
        found = os.statvfs(root)
        if found.f_bavail * found.f_frsize >= ENOUGH:
            return False
        os.unlink(_path(root))
    except OSError:
        return False
    return True


def take(root: str) -> bool:
    """Take it again, unless it is there or there is no room; whether it is there now."""
    try:
        fd = os.open(_path(root), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return True
    except OSError:
        return False
    try:
        os.posix_fallocate(fd, 0, SIZE)
    except OSError:
        os.unlink(_path(root))
        return False
    finally:
        os.close(fd)
    return True


def _path(root: str) -> str:
    return f"{root}/reserve"
