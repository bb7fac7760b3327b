"""Garbage: whatever no name, container, lease or kept step reaches (`marking`). The only deleter of content.

Marking reads manifests, so it is done once outside of any lock to have them in memory, and again inside
one write transaction, in which the rows of garbage are deleted and its files renamed into ROOT/trash.
Nobody sees half of that: adding content and naming it are write transactions as well. Freeing the trash,
which takes long, holds no lock that anybody else waits for. What a sweep would free is told by `reclaimable`.
"""

from __future__ import annotations

import os
from contextlib import suppress

from ..ground.files import Lock, os_errors, private_dir, random_name, remove_tree, trace
from ..words.digest import Digest
from ..words.errors import DamagedStore
from ..words.value import Value
from . import caches, mounted, reserve, shared
from .events import of_container
from .layout import tidy_index, unknown
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
from .syncing import mark_synced
from .trees.dedup import reclaim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .store import Store


_MANY, _AT_ONCE = 64, 16


class Freed(Value):
    """What a sweep freed: `items` are (kind, name, bytes on disk); kinds image, container, step, blob,
    tree, active, ingest, folder, cache, stray. `bytes` is the sum of what came back to the disk.
    """

    count: int
    bytes: int
    items: tuple[tuple[str, str, int], ...]


def sweep(store: Store, wishes: SweepOptions | None = None, **wished: object) -> Freed:
    """Find everything unreachable and free it. Safe beside running work of other processes.

    `wished` are fields of `SweepOptions`. Works on a full disk too, where it gives up the reserve first. Lets
    go of a lease that this `Store` took by itself (not of those that `hold` gave). Raises StoreError, and
    DamagedStore where content would go only because the database has lost its log.
    """
    wishes = (wishes or SweepOptions()).replace(**wished)
    root = store.root
    reserve.release(root)
    if lost := unknown(root, store.db):
        raise DamagedStore(f"the database of {root} is out of date: it does not know {min(lost)}")
    store.leases.release()
    with os_errors(f"sweep {root}"), Lock(f"{root}/sweep.lock"):
        freed = empty_trash(root)
        work = _Sweep(store, wishes)
        ingests(store, wishes.max_age, work.remove)  # first: on a full disk no database can be written
        mark_synced(root, store.db)
        work.forget()
        work.mark()
        trace("sweep:marked")
        with store.db.transaction(durable=True):
            work.collect()
        trace("sweep:collected")
        mounted.tidy(root, {row[0] for row in store.db.execute("SELECT id FROM container")})
        shared.tidy(root)
        work.free()
        freed += reclaim.free_orphans(root)
        strays(root, work.remove)
        if wishes.build_cache:
            work.items += caches.free(root, wishes.cache_before, wishes.cache_items)
        caches.tidy(root)
        store.leases.tidy()
        tidy_index(root)
    reserve.take(root)
    return Freed(len(work.items), freed + sum(item[2] for item in work.items), tuple(work.items))


def empty_trash(root: str) -> int:
    """Free what was renamed into ROOT/trash; bytes that came back to the disk. Raises StoreError."""
    trash = f"{root}/trash"
    private_dir(trash)
    return sum(remove_tree(f"{trash}/{name}") for name in os.listdir(trash))


class _Sweep:
    def __init__(self, store: Store, wishes: SweepOptions) -> None:
        self.store, self.db, self.wishes = store, store.db, wishes
        self.items: list[tuple[str, str, int]] = []
        self._trashed: list[tuple[str, str, str]] = []
        self._documents = ManifestContents(store)

    def forget(self) -> None:
        """Drop the roots that the caller no longer wants."""
        store = self.store
        with self.db.transaction(durable=True):
            gone = forgotten(StoreRows(store), self.wishes, self._documents)
            for row in (*gone.containers, *gone.begun):
                store.containers.delete(row.id)
            for key in gone.steps:
                self.db.change("DELETE FROM step WHERE key = ?", (key,))
            for digest in gone.images:
                store.refs.forget(Digest(digest), named=self.wishes.images == "all")
        for row in gone.containers:
            of_container(store.root, row, "destroy", {})
        self.items += gone.items()

    def mark(self) -> None:
        """Everything that is reached from the roots."""
        self.reached = ReachableContent(self.store, StoreRows(self.store), self._documents)

    def collect(self) -> None:
        """Inside the transaction: mark again, then move what is not reached out of sight."""
        self.mark()
        self.there = StoredContent(self.store, self.reached.since)
        self._collect_blobs()
        self._collect_trees()
        if self.wishes.shed and not self.store.keeping.keeps:
            self._shed()
        self._collect_folders("active", "active", self.there.actives, self.reached.actives)
        self._collect_rows("active", "key", self.reached.actives)
        self._collect_folders("folder", "containers", self.there.folders, self.reached.folders)
        self._collect_layers()
        self._collect_digests()

    def _collect_blobs(self) -> None:
        for digest in self.there.garbage_blobs(self.reached):
            self.db.change("DELETE FROM blob WHERE digest = ?", (digest,))
            self._trash("blob", digest, f"blobs/{digest.replace(':', '/', 1)}")
        self._collect_rows("blob", "digest", self.reached.blobs.union(self.there.blobs))

    def _collect_rows(self, table: str, key: str, kept: set[str]) -> None:
        """Also those whose files a killed sweep moved away. What is needed keeps its: `check` tells of it."""
        for (name,) in self.db.execute(f"SELECT {key} FROM {table}"):
            if name not in kept:
                self.db.change(f"DELETE FROM {table} WHERE {key} = ?", (name,))

    def _shed(self) -> None:
        """Blobs of layers that are kept as trees, as far as they can be had again."""
        for digest, _, path in sheddable(self.store, self.reached.since):
            self.db.change("DELETE FROM blob WHERE digest = ?", (digest,))
            self._trash("blob", digest, os.path.relpath(path, self.store.root))

    def _collect_trees(self) -> None:
        for diff_id in self.there.garbage_trees(self.reached):
            self.db.change("DELETE FROM tree WHERE diff_id = ?", (diff_id,))
            self._trash("tree", diff_id, f"trees/{diff_id.removeprefix('sha256:')}")
        self._collect_rows("tree", "diff_id", {*self.there.trees, *self.reached.trees})

    def _collect_folders(self, kind: str, folder: str, there: Iterable[str], kept: set[str]) -> None:
        for name in there:
            if name not in kept:
                self._trash(kind, name, f"{folder}/{name}")

    def _collect_layers(self) -> None:
        """What is known of layers that are gone, as blob and as tree, is of no more use."""
        where = "digest NOT IN (SELECT digest FROM blob)"
        self.db.change(f"DELETE FROM layer WHERE {where} AND diff_id NOT IN (SELECT diff_id FROM tree)")
        self.db.change(f"DELETE FROM source WHERE {where} AND digest NOT IN (SELECT digest FROM layer)")

    def _collect_digests(self) -> None:
        """What names images of which none is kept (`RefStore.add_digest`)."""
        self.db.change(
            "DELETE FROM meta WHERE key >= 'digest:' AND key < 'digest;' AND NOT EXISTS "
            "(SELECT 1 FROM json_each(meta.value) JOIN image ON image.digest = json_each.value)"
        )

    def _trash(self, kind: str, name: str, path: str) -> None:
        """Move it out of sight; a container or a step that ends meanwhile removes its folder itself."""
        target = f"{self.store.root}/trash/{random_name()}"
        with suppress(FileNotFoundError):
            os.rename(f"{self.store.root}/{path}", target)
            self._trashed.append((kind, name, target))

    def free(self) -> None:
        """Outside the transaction: it may take long. Where each waits for the disk, many wait together."""
        freed: dict[str, int] = {}

        def free(item: tuple[str, str, str], _stop: object = None) -> None:
            trace("sweep:freeing")
            freed[item[2]] = remove_tree(item[2])

        if len(self._trashed) < _MANY:
            for item in self._trashed:
                free(item)
        else:
            from ..ground.work.threads import in_parallel

            in_parallel(free, self._trashed, _AT_ONCE)
        self.items += [(kind, name, freed[target]) for kind, name, target in self._trashed]

    def remove(self, kind: str, name: str, path: str) -> None:
        """Free at once what nobody sees."""
        if os.path.lexists(path):
            self.items.append((kind, name, remove_tree(path)))
