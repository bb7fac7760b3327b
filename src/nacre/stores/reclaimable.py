"""What sweeps would free, told of one look at a store: nothing is changed."""

from __future__ import annotations

import os

from ..ground.files import os_errors
from . import blocks, caches
from .layout import names
from .leftovers import ingests, strays
from .marking import (
    ManifestContents,
    ReachableContent,
    StoredContent,
    StoreRows,
    SweepOptions,
    forgotten,
    sheddable,
)
from .trees.dedup.reclaim import TarLinks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .store import Store


class Reclaimable:
    """One moment of a store, for several questions about it."""

    def __init__(self, store: Store) -> None:
        """Lets go of a lease as `sweep` does. Raises StoreError."""
        store.leases.release()
        self._store, self._root = store, store.root
        self.documents, self.usage = ManifestContents(store), blocks.Usage()
        with os_errors(f"list {store.root}"), store.db.transaction():
            self.rows = StoreRows(store)
            self._there = StoredContent(store, self.rows.since)
            self._strays = list[str]()
            strays(store.root, lambda _kind, _name, path: self._strays.append(path))
            self._tars = TarLinks(store.root)

    def of(self, wishes: SweepOptions | None = None, **wished: object) -> tuple[int, int]:
        """How many things a sweep with these wishes would free, and how many bytes of disk.

        Raises StoreError.
        """
        wishes = (wishes or SweepOptions()).replace(**wished)
        with os_errors(f"list {self._root}"):
            gone = forgotten(self.rows, wishes, self.documents)
            reached = ReachableContent(self._store, self.rows.without(gone), self.documents)
            paths = [*self._leftovers(wishes), *self._garbage(reached, wishes), *self._strays]
            size = self.usage.freed(paths) + self._tars.reclaimable(paths)
        return len(gone.items()) + len(paths), size

    def _leftovers(self, wishes: SweepOptions) -> list[str]:
        found: list[str] = []

        def note(_kind: str, _name: str, path: str) -> None:
            if os.path.lexists(path):
                found.append(path)

        ingests(self._store, wishes.max_age, note)
        if wishes.build_cache:
            found += caches.idle(self._root)
        return found + [f"{self._root}/trash/{name}" for name in names(f"{self._root}/trash")]

    def _garbage(self, reached: ReachableContent, wishes: SweepOptions) -> Iterable[str]:
        root, there = self._root, self._there
        blobs, trees = there.garbage_blobs(reached), there.garbage_trees(reached)
        yield from (f"{root}/blobs/{digest.replace(':', '/', 1)}" for digest in blobs)
        yield from (f"{root}/trees/{diff_id.removeprefix('sha256:')}" for diff_id in trees)
        if wishes.shed and not self._store.keeping.keeps:
            gone = {*blobs, *trees}
            found = sheddable(self._store, reached.since)
            yield from (path for digest, diff_id, path in found if gone.isdisjoint((digest, diff_id)))
        yield from (f"{root}/active/{name}" for name in there.actives if name not in reached.actives)
        yield from (f"{root}/containers/{name}" for name in there.folders if name not in reached.folders)
