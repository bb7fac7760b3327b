"""What writers that are gone have left among the content: half of a download, files beside trees."""

from __future__ import annotations

import os
import time

from ..ground.files import Lock
from .layout import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .store import Store

    Remove = Callable[[str, str, str], object]
    """Is given kind, name and path of what can go."""

_STRAY_AGE = 3600.0
_RANDOM = 16
_HEX = frozenset("0123456789abcdef")


def ingests(store: Store, max_age: float, remove: Remove) -> None:
    """Partial content whose writer is gone; downloads that can be resumed when they are older than `max_age`.

    Nobody begins to write what `remove` is called with. Raises OSError.
    """
    folder = f"{store.root}/ingest"
    known = sorted({name.removesuffix(".lock") for name in names(folder)})
    living = {id for id, _ in store.leases.living()}  # asked after listing: leases come before files
    for name in known:
        if name.startswith("add-"):
            if name.split("-")[1] not in living:
                remove("ingest", name, f"{folder}/{name}")
            continue
        lock = Lock.attempt(f"{folder}/{name}.lock")
        if lock is None:
            continue
        keep = _resumable(store, name, max_age)
        try:
            if not keep:
                remove("ingest", name, f"{folder}/{name}")
        finally:
            lock.release(remove=not keep)


def _resumable(store: Store, name: str, max_age: float) -> bool:
    if name.startswith(("new-", "tree-")) or os.path.exists(f"{store.root}/blobs/sha256/{name}"):
        return False
    sql = "SELECT 1 FROM layer JOIN tree ON tree.diff_id = layer.diff_id WHERE digest = ?"
    if store.db.one(sql, (f"sha256:{name}",)):  # unpacked, and killed before its file went
        return False
    try:
        return time.time() - os.stat(f"{store.root}/ingest/{name}/data").st_mtime < max_age
    except FileNotFoundError:
        return False


def strays(root: str, remove: Remove) -> None:
    """What a kill left of writing a file or folder beside a tree, or a table of the builder."""
    trees = f"{root}/trees"
    for folder in [*(f"{trees}/{name}" for name in names(trees)), f"{root}/build/contexts"]:
        for name in names(folder):
            end = name.rpartition(".")[2]
            if len(end) == _RANDOM and end != name and _HEX.issuperset(end) and _is_old(f"{folder}/{name}"):
                remove("stray", name, f"{folder}/{name}")


def _is_old(path: str) -> bool:
    try:
        return time.time() - os.lstat(path).st_mtime > _STRAY_AGE
    except FileNotFoundError:
        return False
