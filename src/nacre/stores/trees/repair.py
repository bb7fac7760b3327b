"""Proving trees, and putting others in the place of damaged ones."""

from __future__ import annotations

import os

from ...words.errors import DigestMismatch, NotFound
from .drivers import NAMES
from .making import Making, ingest
from .model import HeldLocks, StoredTree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ...grammars.tar.entry import Reader
    from ...words.digest import Digest
    from .catalog import TreeCatalog
    from .drivers import DriverChoice


class TreeRepair:
    """For a check of the store, its repair, and a database that is rebuilt."""

    def __init__(self, catalog: TreeCatalog, choice: DriverChoice) -> None:
        self._catalog, self._choice = catalog, choice

    def prove(
        self, diff_id: Digest, passed: Callable[[int], object] | None = None,
        blob: Callable[[], Reader] | None = None,
    ) -> str | None:  # fmt: skip
        """What is wrong with a tree, one phrase; "" for nothing, None when there is no way to tell.

        `passed` is told the bytes read; `blob` gives the tar where the tree itself does not. Raises NotFound.
        """
        from .files import missing
        from .forms.proof import prove
        from .lazy import is_filled

        driver = self._driver_of(diff_id)
        if driver is None:
            raise NotFound(f"the store does not hold the tree of layer {diff_id}")
        if driver not in NAMES:
            return f"it is of the driver {driver}, which this version does not have"
        tree = self._catalog.tree(diff_id, driver)
        if not os.path.isdir(tree.folder):
            return "its directory is missing"
        if missing(tree.folder) and not is_filled(self._catalog.root, tree.folder):
            return "its content did not all come"
        return prove(tree, self._catalog.budget(), passed, blob)

    def _driver_of(self, diff_id: Digest) -> str | None:
        row = self._catalog.database.one("SELECT driver FROM tree WHERE diff_id = ?", (diff_id,))
        return row[0] if row else None

    def is_in_use(self, diff_id: Digest) -> bool:
        """Whether a container that runs shows the very files of the tree: they must not go.

        A layer that is mounted through an index stays readable when its folder is replaced.
        """
        driver = self._driver_of(diff_id)
        if driver is None or not self._catalog.drivers.knows(driver):
            return False
        if not self._catalog.tree(diff_id, driver).is_unpacked:
            return False
        sql = "SELECT layers FROM active JOIN container ON container.id = active.key WHERE state = 'running'"
        return any(diff_id in row[0].split() for row in self._catalog.database.execute(sql))

    def replace(self, diff_id: Digest, stream: Reader) -> None:
        """Make a tree of its tar and put it in the place of one that is damaged, or of none; atomic.

        What was there goes to the trash: no running container may have a folder of it. Raises as
        `Trees.ingest`.
        """
        catalog, driver = self._catalog, self._choice.driver
        catalog.leases.current()
        with Making(catalog.root, diff_id.hex) as making, HeldLocks() as locks:
            actual, info = ingest(stream, driver.form, making.folder, locks, catalog.budget())
            if actual != diff_id:
                raise DigestMismatch(diff_id, actual, what="layer")
            catalog.supersede(making.folder, diff_id, info, driver.name)

    def record(self, diff_id: Digest) -> bool:
        """Give a folder that no row speaks of its row; it is believed only after it was proven.

        False if there is no tree in it.
        """
        folder = self._catalog.folder(diff_id)
        driver = self._catalog.drivers.of_folder(folder)
        if driver is None:
            return False
        info = driver.form.describe(StoredTree(diff_id, folder, driver.form))
        values = (diff_id, driver.name, info.size, info.root, os.stat(folder).st_mtime)
        sql = "INSERT OR IGNORE INTO tree VALUES (?, ?, ?, ?, '', 0, ?, (SELECT now FROM clock))"
        return self._catalog.database.change(sql, values) > 0
