"""A store: everything nacre keeps, under one folder. Drawn in `layout.py`."""

from __future__ import annotations

import os

from .blobpolicy import BlobPolicy
from .blobs import BlobStore
from .containers import ContainerStore
from .database import Database
from .layout import open_root, publish_index
from .leases import LeaseStore
from .refs import RefStore
from .trees import Actives, Mode, Trees
from .trees.catalog import TreeCatalog
from .trees.drivers import DriverChoice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from ..ground.work.budget import Budget
    from ..words.digest import Digest
    from .layers import LayerStore
    from .steps import StepStore


class Store:
    """One open store. Any number of threads and processes may share its folder.

    A fork may go on with it after `rest`, under the leases held then, as long as its parent lives and holds
    them; it begins and closes nothing.
    """

    def __init__(
        self, root: str, database: Database, driver: str, mode: Mode, layer_blobs: str = "auto",
        budget: Callable[[], Budget] | None = None,
    ) -> None:  # fmt: skip
        self.root, self.db = root, database
        self._new_budget = budget
        self._budget: Budget | None = None
        self.keeping = BlobPolicy(root, layer_blobs)
        self.leases = LeaseStore(f"{root}/leases", database)
        self.blobs = BlobStore(root, database, self.leases)
        self._layers: LayerStore | None = None
        catalog = TreeCatalog(root, database, self.leases, mode, lambda: self.budget)
        catalog.restore = self._restore
        self.driver = DriverChoice(root, database, catalog.drivers, driver)
        self.trees, self.actives = Trees(catalog, self.driver), Actives(catalog, self.driver)
        self.refs = RefStore(database)
        self._steps: StepStore | None = None
        self.containers = ContainerStore(root, database)

    @property
    def layers(self) -> LayerStore:
        """What is known of layers and their compressed forms."""
        if self._layers is None:
            from .layers import LayerStore

            self._layers = LayerStore(self.db)
        return self._layers

    @property
    def steps(self) -> StepStore:
        """The steps of builds."""
        if self._steps is None:
            from .steps import StepStore

            self._steps = StepStore(self.db)
        return self._steps

    @property
    def budget(self) -> Budget:
        """What work on the layers of this store may use of the machine."""
        if self._budget is None:
            if self._new_budget is None:
                from ..ground.work.budget import Budget

                self._new_budget = Budget.of_machine
            self._budget = self._new_budget()
        return self._budget

    def _restore(self, diff_id: Digest) -> None:
        """Make a tree again that a power cut may have torn, of a blob of its layer that is here."""
        for blob in self.layers.blobs_of(diff_id):
            if self.blobs.has(blob.digest):
                from ..grammars.codecs.stream import decompress

                with self.blobs.open(blob.digest) as file:
                    self.trees.ingest(decompress(file), diff_id)
                return

    @classmethod
    def open(
        cls, root: str, *, driver: str = "auto", create: bool = True, single: bool | None = None,
        layer_blobs: str = "auto", budget: Callable[[], Budget] | None = None,
    ) -> Self:  # fmt: skip
        """Open the store in the folder `root` (made 0700 if absent). The caller closes it; `with` works.

        `driver` auto, erofs, overlay or plain. `single`: this user namespace has one id only (None: ask it).
        `layer_blobs` keep, drop or auto: whether pulled layers stay in their compressed form as well.
        `budget` is called when work on layers begins; None: the machine's, without forks.
        Raises StoreError (foreign folder, other owner, newer version, disk), NotFound when absent
        and not `create`, UsageError for an unknown driver or policy.
        """
        path = os.path.abspath(root)
        new = not os.path.exists(f"{path}/nacre.db")
        database = open_root(path, create=create)
        try:
            self = cls(path, database, driver, Mode.detect(single), layer_blobs, budget)
            if new:
                from . import reserve

                reserve.take(path)
        except BaseException:
            database.close()
            raise
        return self

    def rest(self) -> None:
        """Before a fork that is to use the store: keep nothing open that must not cross it.

        Where there are other threads or stores, `forkguard.resting` is for that.
        """
        self.db.rest()

    def close(self) -> None:
        """Let go of leases and of the database. Idempotent.

        A process that is about to end may leave it out unless it changed names: the kernel lets go of
        everything, and the last process to close a database pays for an fsync.
        """
        try:
            if self.refs.changed:
                self.refs.changed = False
                publish_index(self.root, self.db)
            self.leases.release_all()
        finally:
            self.db.close()

    def abandon(self) -> None:
        """Close the database alone, where it is damaged: what it says of names is not written down."""
        self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
