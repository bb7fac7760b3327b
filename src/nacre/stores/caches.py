"""The folders of the builder: cache mounts and tables of files that were hashed before.

ROOT/build/cache/<hash>      a cache mount; who uses it holds <hash>.lock, shared or alone
ROOT/build/contexts/<hash>   a table, replaced as a whole: it may go at any time
"""

from __future__ import annotations

import os

from ..ground.files import Lock, content_size, os_errors, random_name, remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_MOUNTS = "build/cache"
_TABLES = "build/contexts"


def sizes(root: str) -> list[tuple[str, int]]:
    """(name, bytes of content) of each."""
    names = [f"{folder}/{name}" for folder in (_MOUNTS, _TABLES) for name in _names(f"{root}/{folder}")]
    return [(name, content_size(f"{root}/{name}")) for name in names if not name.endswith(".lock")]


def free(root: str) -> list[tuple[str, str, int]]:
    """Remove what no build uses now; (kind, name, bytes of disk) for each. Raises StoreError."""
    with os_errors(f"free the build cache of {root}"):
        return [*_mounts(root), *_tables(root)]


def _mounts(root: str) -> Iterator[tuple[str, str, int]]:
    folder = f"{root}/{_MOUNTS}"
    for name in sorted({name.removesuffix(".lock") for name in _names(folder)}):
        lock = Lock.attempt(f"{folder}/{name}.lock")
        if lock is None:
            continue
        trash = f"{root}/trash/{random_name()}"
        try:
            if os.path.isdir(f"{folder}/{name}"):
                os.rename(f"{folder}/{name}", trash)
        finally:
            lock.release(remove=True)
        if os.path.lexists(trash):
            yield "cache", name, remove_tree(trash)


def _tables(root: str) -> Iterator[tuple[str, str, int]]:
    for name in _names(f"{root}/{_TABLES}"):
        yield "cache", name, remove_tree(f"{root}/{_TABLES}/{name}")


def _names(folder: str) -> list[str]:
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []
