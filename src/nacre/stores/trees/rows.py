"""The rows of trees and actives, and the folders beside them, as those see them who look through a store.

A row says what was made; whether its folder is still there, and whole, is what `Trees` finds out.
"""

from __future__ import annotations

from ...ground.files import os_errors
from ...words.digest import Digest
from ...words.errors import NotFound
from ...words.value import Value
from ..database import Database, boot_id
from ..layout import names
from .files import LAZY, missing


class TreeRow(Value):
    """One tree: `driver` that made it, `size` bytes of content in its files."""

    diff_id: Digest
    driver: str
    size: int


class TreeRows:
    """The table `tree` of one store."""

    def __init__(self, root: str, database: Database) -> None:
        self._root, self._database = root, database

    def all(self) -> list[TreeRow]:
        """Every tree, in the order in which they were made."""
        rows = self._database.execute("SELECT diff_id, driver, size FROM tree ORDER BY written, diff_id")
        return [TreeRow(Digest(diff_id), driver, size) for diff_id, driver, size in rows]

    def sizes(self) -> dict[Digest, int]:
        """Bytes of content of every tree."""
        return {Digest(row[0]): row[1] for row in self._database.execute("SELECT diff_id, size FROM tree")}

    def size(self, diff_id: Digest) -> int:
        """Bytes of content in the tree's files. Raises NotFound."""
        row = self._database.one("SELECT size FROM tree WHERE diff_id = ?", (diff_id,))
        if row is None:
            raise NotFound(f"the store does not hold the tree of layer {diff_id}")
        return int(row[0])

    def recent(self, most: int) -> list[Digest]:
        """The trees that were made last, the newest first, at most so many."""
        rows = self._database.execute("SELECT diff_id FROM tree ORDER BY written DESC LIMIT ?", (most,))
        return [Digest(row[0]) for row in rows]

    def folder(self, diff_id: Digest) -> str:
        """Where the tree is (or would be)."""
        return f"{self._root}/trees/{diff_id.hex}"

    def has(self, diff_id: Digest) -> bool:
        """Whether a tree has a row, once the change under way is over. Raises StoreError."""
        with self._database.transaction():
            return self._database.one("SELECT 1 FROM tree WHERE diff_id = ?", (diff_id,)) is not None

    def unrecorded(self) -> list[str]:
        """`sha256:name` of each folder in ROOT/trees without a row. Raises StoreError.

        Inside a transaction no folder appears whose row comes later.
        """
        sql = "SELECT 1 FROM tree WHERE diff_id = ?"
        with os_errors(f"list {self._root}/trees"), self._database.transaction():
            found = [f"sha256:{name}" for name in names(f"{self._root}/trees") if name[0] != "."]
            return [diff_id for diff_id in found if not self._database.one(sql, (diff_id,))]

    def unsynced(self) -> list[Digest]:
        """Trees of an earlier boot that were never synced: nobody knows yet whether they are whole."""
        sql = "SELECT diff_id FROM tree WHERE synced = 0 AND boot NOT IN (?, ?) ORDER BY diff_id"
        return [Digest(row[0]) for row in self._database.execute(sql, (boot_id(), LAZY))]

    def lazy(self) -> list[Digest]:
        """Trees whose contents are still coming, or did not all come: see `LazyTrees`."""
        sql = "SELECT diff_id FROM tree WHERE boot = ? ORDER BY diff_id"
        return [Digest(row[0]) for row in self._database.execute(sql, (LAZY,))]

    def mark_synced(self, diff_id: Digest) -> None:
        """It was proven by its tar, so it need not be before its next use."""
        self._database.change("UPDATE tree SET synced = 1 WHERE diff_id = ?", (diff_id,))


class ActiveRows:
    """The table `active` of one store."""

    def __init__(self, root: str, database: Database) -> None:
        self._root, self._database = root, database

    def layers(self, key: str) -> tuple[Digest, ...] | None:
        """The diff ids beneath an active, lowest first; None if there is no such active."""
        row = self._database.one("SELECT layers FROM active WHERE key = ?", (key,))
        return tuple(Digest(text) for text in row[0].split()) if row else None

    def lazy(self, key: str) -> list[str]:
        """The folders of the trees beneath an active whose content is still coming, or did not all come."""
        folders = [f"{self._root}/trees/{diff_id.hex}" for diff_id in self.layers(key) or ()]
        return [folder for folder in folders if missing(folder)]

    def unrecorded(self) -> list[str]:
        """Names of the folders in ROOT/active without a row. Raises StoreError."""
        sql = "SELECT 1 FROM active WHERE key = ?"
        with os_errors(f"list {self._root}/active"), self._database.transaction():
            return [name for name in names(f"{self._root}/active") if not self._database.one(sql, (name,))]
