"""A store: everything nacre keeps, under one folder. Drawn in `layout.py`."""

from __future__ import annotations

import os
from _thread import RLock

from .containers import ContainerStore
from .database import Database
from .layout import open_root, publish_index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from ..ground.work.budget import Budget
    from ..words.digest import Digest
    from .blobpolicy import BlobPolicy
    from .blobs import BlobStore
    from .content import StoreContent
    from .layers import LayerStore
    from .leases import LeaseStore
    from .refs import RefStore
    from .steps import StepStore
    from .trees.actives import Actives
    from .trees.committed import Trees
    from .trees.drivers import DriverChoice


class Store:
    """One open store. Any number of threads and processes may share its folder.

    A fork may go on with it after `rest`, under the leases held then, as long as its parent lives and holds
    them; it begins and closes nothing.
    """

    def __init__(
        self, root: str, database: Database, driver: str, single: bool | None, layer_blobs: str = "auto",
        budget: Callable[[], Budget] | None = None,
    ) -> None:  # fmt: skip
        self.root, self.db = root, database
        self._driver, self._single, self._layer_blobs = driver, single, layer_blobs
        self._new_budget = budget
        self._budget: Budget | None = None
        self._content: StoreContent | None = None
        self._making = RLock()
        self._layers: LayerStore | None = None
        self._steps: StepStore | None = None
        self.containers = ContainerStore(root, database)
        if (driver, layer_blobs) != ("auto", "auto"):
            self._with_content()  # refuses a name that it does not know

    @property
    def content(self) -> StoreContent:
        """The rooms of content together, made when the first of them is needed."""
        return self._content or self._with_content()

    def _with_content(self) -> StoreContent:
        from .content import StoreContent

        with self._making:
            if self._content is None:
                self._content = StoreContent(self, self._driver, self._single, self._layer_blobs)
            return self._content

    @property
    def keeping(self) -> BlobPolicy:
        """Whether pulled layers stay in their compressed form as well."""
        return self.content.keeping

    @property
    def leases(self) -> LeaseStore:
        """What keeps content from the sweep while work is under way."""
        return self.content.leases

    @property
    def blobs(self) -> BlobStore:
        """Content by its digest."""
        return self.content.blobs

    @property
    def driver(self) -> DriverChoice:
        """The driver by which trees are made and roots are shown."""
        return self.content.driver

    @property
    def trees(self) -> Trees:
        """Committed file systems by diff id."""
        return self.content.trees

    @property
    def actives(self) -> Actives:
        """File systems that are being written."""
        return self.content.actives

    @property
    def refs(self) -> RefStore:
        """The names of images."""
        return self.content.refs

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

    def restore(self, diff_id: Digest) -> None:
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
            self = cls(path, database, driver, single, layer_blobs, budget)
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
        content = self._content
        try:
            if content and content.refs.changed:
                content.refs.changed = False
                publish_index(self.root, self.db)
            if content:
                content.leases.release_all()
        finally:
            self.db.close()

    def abandon(self) -> None:
        """Close the database alone, where it is damaged: what it says of names is not written down."""
        self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
