"""Mark content as synced once it is on disk for certain.

Pulled content can be had again, so nothing waits for the disk to take it. A row says in which boot its
file was written; should the machine go down before the disk had it, the file is looked at again. Work
that begins later finds what has long been written back by the kernel (after 30 s, "dirty_expire_centisecs"),
so one syncfs(2) costs little by then, and those rows need no second look after any reboot.
"""

from __future__ import annotations

import os
import time

from ..ground.files import sync_path
from ..ground.linux import syncfs
from .database import Database, boot_id

_AGE = 60.0


def mark_synced(root: str, database: Database, age: float = _AGE) -> int:
    """Sync the file system if content older than `age` seconds is not known to be on disk; how many rows."""
    before = time.time() - age
    values = (boot_id(), before)
    where = "WHERE synced = 0 AND boot = ? AND written < ?"
    sql = f"SELECT EXISTS (SELECT 1 FROM blob {where}) OR EXISTS (SELECT 1 FROM tree {where})"
    row = database.one(sql, values * 2)
    if not row or not row[0]:
        return 0
    try:
        _syncfs(root)
    except OSError:
        return 0
    with database.transaction():
        return sum(
            database.change(f"UPDATE {table} SET synced = 1 {where}", values) for table in ("blob", "tree")
        )


def sync_trees(folders: list[str]) -> None:
    """Put trees on the disk before this returns, for what exists nowhere else. Raises OSError.

    A few files are synced one by one; trees that are folders cost less with the whole file system.
    """
    files: list[str] = []
    for folder in folders:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    _syncfs(folder)
                    return
                files.append(entry.path)
    for path in dict.fromkeys([*files, *folders, *map(os.path.dirname, folders)]):
        sync_path(path)


def _syncfs(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        syncfs(fd)
    finally:
        os.close(fd)
