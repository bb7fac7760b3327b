"""Blocks of disk, by inode: what folders hold, what they share, what would come back if some went."""

from __future__ import annotations

import os
from stat import S_ISDIR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Inodes = dict[tuple[int, int], int]
    """Bytes of disk by device and inode."""


def inodes(path: str) -> Inodes:
    """Everything at `path` and below, links not followed; {} when it is absent."""
    found: Inodes = {}
    for status in _below(path):
        found[status.st_dev, status.st_ino] = status.st_blocks * 512
    return found


def union(paths: Iterable[str]) -> Inodes:
    """Everything at these paths, each inode once."""
    found: Inodes = {}
    for path in paths:
        found |= inodes(path)
    return found


def freed(paths: Iterable[str]) -> int:
    """Bytes that come back when these go: an inode that has a name elsewhere stays."""
    names: dict[tuple[int, int], int] = {}
    left: dict[tuple[int, int], tuple[int, int]] = {}
    for path in dict.fromkeys(paths):
        for status in _below(path):
            key = status.st_dev, status.st_ino
            names[key] = names.get(key, 0) + 1
            left[key] = (1 if S_ISDIR(status.st_mode) else status.st_nlink), status.st_blocks * 512
    return sum(size for key, (links, size) in left.items() if names[key] >= links)


def _below(path: str) -> Iterable[os.stat_result]:
    """Folders that cannot be read count as empty: what another process removes meanwhile is no error."""
    waiting = [path]
    while waiting:
        here = waiting.pop()
        try:
            status = os.lstat(here)
            if S_ISDIR(status.st_mode):
                waiting += [f"{here}/{name}" for name in os.listdir(here)]
        except OSError:
            continue
        yield status
