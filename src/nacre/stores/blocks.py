"""Blocks of disk, by inode: what folders hold, what they share, what would come back if some went."""

from __future__ import annotations

import os
from stat import S_ISDIR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Inodes = dict[tuple[int, int], int]
    """Bytes of disk by device and inode."""
    Found = list[tuple[tuple[int, int], int, int]]
    """(device and inode, names that it has, bytes of disk) of each."""


class Usage:
    """What lies below paths of a store, each looked at once: for questions about one moment."""

    def __init__(self) -> None:
        self._found: dict[str, Found] = {}

    def inodes(self, path: str) -> Inodes:
        """Everything at `path` and below, links not followed; {} when it is absent."""
        return {key: size for key, _, size in self._below(path)}

    def freed(self, paths: Iterable[str]) -> int:
        """Bytes that come back when these go: an inode that has a name elsewhere stays."""
        names: dict[tuple[int, int], int] = {}
        left: dict[tuple[int, int], tuple[int, int]] = {}
        for path in dict.fromkeys(paths):
            for key, links, size in self._below(path):
                names[key] = names.get(key, 0) + 1
                left[key] = links, size
        return sum(size for key, (links, size) in left.items() if names[key] >= links)

    def _below(self, path: str) -> Found:
        if path not in self._found:
            self._found[path] = [
                (
                    (status.st_dev, status.st_ino),
                    1 if S_ISDIR(status.st_mode) else status.st_nlink,
                    status.st_blocks * 512,
                )
                for status in _below(path)
            ]
        return self._found[path]


def inodes(path: str) -> Inodes:
    """`Usage.inodes` of a new `Usage`."""
    return Usage().inodes(path)


def union(paths: Iterable[str]) -> Inodes:
    """Everything at these paths, each inode once."""
    found: Inodes = {}
    for path in paths:
        found |= inodes(path)
    return found


def freed(paths: Iterable[str]) -> int:
    """`Usage.freed` of a new `Usage`."""
    return Usage().freed(paths)


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
