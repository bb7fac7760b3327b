"""Tools for trees: those of a store through any driver, with more or fewer rights."""

from __future__ import annotations

import io
import os
from pathlib import Path

from nacre.ground.work.budget import Budget
from nacre.stores import Store
from nacre.stores.sweep import empty_trash
from nacre.stores.trees.actives import Actives
from nacre.stores.trees.catalog import TreeCatalog
from nacre.stores.trees.committed import Trees
from nacre.stores.trees.drivers import DriverChoice
from nacre.stores.trees.interfaces import TreeForm
from nacre.stores.trees.model import HeldLocks, Mode, StoredTree
from nacre.words.digest import Digest


class Kit:
    """The trees of `store` as another user of it sees them."""

    def __init__(self, store: Store | Kit, *, driver: str = "auto", mode: Mode | None = None) -> None:
        self.root, self.db, self.leases = store.root, store.db, store.leases
        self.mode = mode or Mode.detect()
        catalog = TreeCatalog(self.root, self.db, self.leases, self.mode, Budget.of_machine)
        self.driver = DriverChoice(self.root, self.db, catalog.drivers, driver)
        self.trees, self.actives = Trees(catalog, self.driver), Actives(catalog, self.driver)


def drop_tree(store: Store | Kit, diff_id: Digest) -> int:
    """Remove a tree as a sweep would; bytes of disk freed."""
    store.db.change("DELETE FROM tree WHERE diff_id = ?", (diff_id,))
    os.rename(store.trees.rows.folder(diff_id), f"{store.root}/trash/{diff_id.hex}")
    return empty_trash(store.root)


def tree_of(form: TreeForm, data: bytes, place: Path) -> StoredTree:
    """A tree of this layer, kept in the new folder `place`."""
    place.mkdir()
    with HeldLocks() as locks:
        form.ingest(io.BytesIO(data), str(place), locks)
    return StoredTree(Digest.of(data), str(place), form)
