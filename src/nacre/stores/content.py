"""The rooms of a store that hold content and its names, together: each needs those before it.

What only looks at containers (`exec`, `stop`, `logs`) needs none of them, and does not load them.
"""

from __future__ import annotations

from .blobpolicy import BlobPolicy
from .blobs import BlobStore
from .leases import LeaseStore
from .refs import RefStore
from .trees.actives import Actives
from .trees.catalog import TreeCatalog
from .trees.drivers import DriverChoice
from .trees.model import Mode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .store import Store
    from .trees.committed import Trees


class StoreContent:
    """Blobs, trees and names of one open store; the parameters are those of `Store.open`."""

    def __init__(self, store: Store, driver: str, single: bool | None, layer_blobs: str) -> None:
        root, database = store.root, store.db
        self.keeping = BlobPolicy(root, layer_blobs)
        self.leases = LeaseStore(f"{root}/leases", database)
        self.blobs = BlobStore(root, database, self.leases)
        catalog = TreeCatalog(root, database, self.leases, Mode.detect(single), lambda: store.budget)
        catalog.restore = store.restore
        self.driver = DriverChoice(root, database, catalog.drivers, driver)
        self._catalog, self.actives = catalog, Actives(catalog, self.driver)
        self._trees: Trees | None = None
        self.refs = RefStore(database)

    @property
    def trees(self) -> Trees:
        """Committed trees; the start of a container asks the catalog alone."""
        if self._trees is None:
            from .trees.committed import Trees

            self._trees = Trees(self._catalog, self.driver)
        return self._trees
