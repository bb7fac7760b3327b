"""Which trees stand, and in which form: their rows, and the folders that these speak of.

ROOT/trees/<hex>/         published by one rename inside the transaction that inserts its row
ROOT/trees/.empty/        an empty folder
"""

from __future__ import annotations

import os
import time

from ...ground.files import os_errors, random_name, trace
from ...words.digest import Digest
from ...words.errors import NotFound
from ..database import Database, boot_id
from ..leases import LeaseStore
from .drivers import UNPACKING, Drivers
from .files import LAZY
from .model import StoredTree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ...ground.work.budget import Budget
    from .model import Mode, TreeInfo


class TreeCatalog:
    """What `Trees`, `Actives` and `TreeRepair` of a store share. `layers` is diff ids, lowest first."""

    def __init__(
        self, root: str, database: Database, leases: LeaseStore, mode: Mode, budget: Callable[[], Budget]
    ) -> None:
        self.root, self.database, self.leases, self.budget = root, database, leases, budget
        self.drivers = Drivers(root, mode, budget, self._unpacked, self._trusted)
        self.restore: Callable[[Digest], object] = _nothing
        """Asked for a tree that is not here; makes it, if it can. `Store` sets it."""

    def folder(self, diff_id: Digest) -> str:
        """Where the tree is (or would be)."""
        return f"{self.root}/trees/{diff_id.hex}"

    def tree(self, diff_id: Digest, driver: str, root: str = "") -> StoredTree:
        """As the driver of this name has made it."""
        return StoredTree(diff_id, self.folder(diff_id), self.drivers.get(driver).form, root)

    def standing(self, layers: Sequence[Digest]) -> dict[Digest, StoredTree]:
        """Those of the layers that are here, kept by this store's lease if it holds one.

        A tree that a power cut may have torn is not here until its tar has proven it.
        """
        found = {}
        for row in self._rows(layers).values():
            if not self.drivers.knows(row[1]):
                continue
            diff_id = Digest(row[0])
            tree = self.tree(diff_id, row[1], row[2])
            if not os.path.isdir(tree.folder):
                continue
            whole = row[4] or row[3] == boot_id() or self._is_proven(tree, row[3])
            if whole and self._keeps(diff_id, row[5]):
                found[diff_id] = tree
        return found

    def _rows(self, layers: Sequence[Digest]) -> dict[str, tuple[Any, ...]]:
        wanted = tuple(set(layers))
        marks = ", ".join("?" * len(wanted))
        sql = f"SELECT diff_id, driver, root, boot, synced, used FROM tree WHERE diff_id IN ({marks})"
        return {row[0]: row for row in self.database.execute(sql, wanted)}

    def _is_proven(self, tree: StoredTree, boot: str) -> bool:
        if boot != LAZY:
            return self._survived(tree)
        from .lazy import is_filled

        return is_filled(self.root, tree.folder)

    def _survived(self, tree: StoredTree) -> bool:
        from .forms.proof import prove

        if prove(tree, self.budget()) != "":
            return False
        self.database.change("UPDATE tree SET synced = 1 WHERE diff_id = ?", (tree.diff_id,))
        return True

    def _keeps(self, diff_id: Digest, used: int) -> bool:
        if used >= self.leases.began:
            return True
        sql = "UPDATE tree SET used = (SELECT now FROM clock) WHERE diff_id = ?"
        return self.database.change(sql, (diff_id,)) > 0

    def stack(self, layers: Sequence[Digest]) -> list[StoredTree]:
        """All of the layers, in their order. Raises NotFound when one is missing and cannot be restored."""
        standing = self.standing(layers)
        for diff_id in layers:
            if diff_id not in standing:
                self.restore(diff_id)
                standing |= self.standing((diff_id,))
            if diff_id not in standing:
                raise NotFound(f"the store does not hold the tree of layer {diff_id}", hint="pull it again")
        return [standing[diff_id] for diff_id in layers]

    def publish(
        self, folder: str, diff_id: Digest, info: TreeInfo, driver: str, active: str = "", boot: str = ""
    ) -> None:
        """Rename into place, insert the row, forget the `active` it was made from: all or nothing.

        `boot` as the row has it, "" for this one.
        """
        values = (diff_id, driver, info.size, info.root, boot or boot_id(), time.time())
        with os_errors(f"publish tree {diff_id}"), self.database.transaction():
            if diff_id not in self.standing((diff_id,)):
                self.clear(diff_id)
                os.rename(folder, self.folder(diff_id))
                trace("tree:renamed")
                sql = "INSERT INTO tree VALUES (?, ?, ?, ?, ?, 0, ?, (SELECT now FROM clock))"
                self.database.change(sql, values)
            self.database.change("DELETE FROM active WHERE key = ?", (active,))
        trace("tree:published")

    def supersede(self, folder: str, diff_id: Digest, info: TreeInfo, driver: str) -> str:
        """As `publish`, in the place of a tree that is here; where that is now, in the trash, "" for none."""
        with os_errors(f"replace tree {diff_id}"), self.database.transaction():
            trash = self.clear(diff_id)
            self.publish(folder, diff_id, info, driver)
        return trash

    def clear(self, diff_id: Digest) -> str:
        """Make way: what a kill or a power cut left under this name moves to the trash.

        To where; "" for nothing.
        """
        self.database.change("DELETE FROM tree WHERE diff_id = ?", (diff_id,))
        if not os.path.lexists(self.folder(diff_id)):
            return ""
        trash = f"{self.root}/trash/{random_name()}"
        os.rename(self.folder(diff_id), trash)
        return trash

    def _trusted(self) -> set[str]:
        """Names of the folders in ROOT/trees that no power cut can have torn."""
        rows = self.database.execute("SELECT diff_id FROM tree WHERE synced OR boot = ?", (boot_id(),))
        return {Digest(row[0]).hex for row in rows}

    def _unpacked(self) -> list[str]:
        """Folders of unpacked trees, those used last first: what a new one may share files with."""
        sql = (
            f"SELECT diff_id FROM tree WHERE driver IN ({', '.join('?' * len(UNPACKING))}) "
            "AND (synced OR boot = ?) ORDER BY used DESC, written DESC LIMIT 32"
        )
        rows = self.database.execute(sql, (*UNPACKING, boot_id()))
        return [f"{self.folder(Digest(row[0]))}/fs" for row in rows]


def _nothing(_diff_id: Digest) -> None:
    pass
