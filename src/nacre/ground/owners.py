"""Changing something of every file in a tree.

No link in it leads out, and what is mounted beneath is left alone.
"""

from __future__ import annotations

import os
import stat

from . import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Change = Callable[[int, bytes], object]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_INSIDE = linux.RESOLVE_BENEATH | linux.RESOLVE_NO_SYMLINKS | linux.RESOLVE_NO_XDEV


def give(path: str, uid: int, gid: int) -> None:
    """Make a file, or a folder and all in it, belong to this user and group. Raises OSError."""
    each(path, lambda folder, name: os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False))


def each(path: str, change: Change) -> None:
    """Call `change(folder, name)` for `path` and for everything beneath it.

    Links are followed at `path` alone. What disappears meanwhile is left out. Raises OSError.
    """
    above, name = os.path.split(os.fsencode(os.path.realpath(path)))
    folder = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        change(folder, name)
        if stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode):
            top = os.open(name, _FOLDER | os.O_CLOEXEC, dir_fd=folder)
            try:
                _change_beneath(top, change)
            finally:
                os.close(top)
    finally:
        os.close(folder)


def _change_beneath(top: int, change: Change) -> None:
    pending = [b"."]
    while pending:
        path = pending.pop()
        try:
            fd = linux.openat2(top, path, _FOLDER | os.O_CLOEXEC, 0, _INSIDE)
        except (FileNotFoundError, NotADirectoryError):
            continue
        try:
            for name in os.listdir(fd):
                found = _change(fd, os.fsencode(name), change)
                if found and stat.S_ISDIR(found.st_mode) and found.st_dev == os.fstat(top).st_dev:
                    pending.append(os.path.join(path, os.fsencode(name)))
        finally:
            os.close(fd)


def _change(folder: int, name: bytes, change: Change) -> os.stat_result | None:
    """What is there; None if it is gone meanwhile."""
    try:
        found = os.lstat(name, dir_fd=folder)
        change(folder, name)
    except FileNotFoundError:
        return None
    return found
