"""Garbage: whatever no name, container, lease or kept step reaches. The only deleter of content.

    roots     names, remembered images, containers, kept steps, what living leases name
    reach     manifest → config, layers → (by the config) trees; index → manifests; active → trees;
              name → the index that goes with it
    spared    what was made or used since the oldest living lease began, reached or not

Marking reads manifests, so it is done once outside of any lock to have them in memory, and again inside
one write transaction, in which the rows of garbage are deleted and its files renamed into ROOT/trash.
Nobody sees half of that: adding content and naming it are write transactions as well. Freeing the trash,
which takes long, holds no lock that anybody else waits for. `foresee` does the same without moving
anything and takes its changes of the database back, so what it tells is what a sweep would free.
"""

from __future__ import annotations

import os
import time

from ..ground.files import Lock, os_errors, private_dir, random_name, remove_tree, trace
from ..words import quickjson
from ..words.digest import Digest
from ..words.errors import DamagedStore, NacreError, StoreError
from ..words.oci import MAX_DOCUMENT, Descriptor, ImageConfig, Index, Manifest, parse_document
from ..words.value import Value
from . import blocks, caches, mounted, reserve, shared
from .containers import BEGUN
from .events import of_container
from .layout import names, tidy_index, unknown
from .syncing import mark_synced
from .trees.dedup import reclaim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .containers import ContainerRow
    from .store import Store

    Documents = dict[str, tuple[list[str], list[str]]]
    """What a blob names, by its digest: (blobs, trees)."""

_NO_LEASE = 1 << 62
_STRAY_AGE = 3600.0
_RANDOM = 16
_HEX = frozenset("0123456789abcdef")


class Freed(Value):
    """What a sweep freed: `items` are (kind, name, bytes on disk); kinds image, container, step, blob,
    tree, active, ingest, folder, cache, stray. `bytes` is the sum of what came back to the disk.
    """

    count: int
    bytes: int
    items: tuple[tuple[str, str, int], ...]


class SweepOptions(Value):
    """What a sweep is to forget besides what nothing reaches.

    images: 'none' keeps every remembered image; 'dangling' forgets those without a name; 'all' forgets
    those that no container uses, with their names. build_cache: forget steps, and free the folders of
    the builder that no build uses. containers: 'stopped' forgets containers that do not run. max_age:
    seconds for which an interrupted download is kept. shed: drop the blobs of layers that can be had
    again of their trees or from a registry, if the store's policy is not to keep them now.

    Of these only what is picked: image_picked is asked with a manifest's digest, container_picked with the
    row; cache_before is when (seconds since 1970) a step or folder was last used at the latest; cache_items
    are keys of steps and names of folders (None: all).
    """

    images: str = "none"
    build_cache: bool = False
    containers: str = "none"
    max_age: float = 7 * 86400.0
    shed: bool = False
    image_picked: Callable[[Digest], bool] | None = None
    container_picked: Callable[[ContainerRow], bool] | None = None
    cache_before: float = float("inf")
    cache_items: frozenset[str] | None = None


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
        work.ingests()  # first: needs no database, which on a full disk cannot be written
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
        work.strays()
        if wishes.build_cache:
            work.items += caches.free(root, wishes.cache_before, wishes.cache_items)
        caches.tidy(root)
        store.leases.tidy()
        tidy_index(root)
    reserve.take(root)
    return Freed(len(work.items), freed + sum(item[2] for item in work.items), tuple(work.items))


def foresee(
    store: Store, wishes: SweepOptions | None = None, *, known: StoreContents | None = None, **wished: object
) -> tuple[int, int]:
    """How many things a sweep with these wishes would free now, and how many bytes of disk.

    Nothing is changed. Lets go of a lease as `sweep` does. `known` goes from one question to the next.
    Raises StoreError.
    """
    known = known or StoreContents()
    wishes = (wishes or SweepOptions()).replace(**wished)
    store.leases.release()
    changed = store.refs.changed
    work = _Foresight(store, wishes, known.documents)
    with os_errors(f"list {store.root}"):
        work.ingests()
        try:
            with store.db.transaction():
                work.forget()
                work.collect()
                raise _TakenBack
        except _TakenBack:
            store.refs.changed = changed
        work.paths += work.known_strays(known)
        if wishes.build_cache:
            work.paths += caches.idle(store.root)
        work.paths += [f"{store.root}/trash/{name}" for name in names(f"{store.root}/trash")]
        size = known.usage.freed(work.paths) + reclaim.reclaimable(store.root, work.paths)
        return len(work.items) + len(work.paths), size


def reached(
    store: Store, manifests: Iterable[str], known: StoreContents | None = None
) -> tuple[set[str], set[str]]:
    """Blobs and trees (diff ids) that these manifests or indexes need, as far as they can be read here."""
    work = _Sweep(store, SweepOptions(), known.documents if known else None)
    work._mark_images(list(manifests))
    return work.blobs, work.trees


class StoreContents:
    """What several questions about one moment of a store need: what manifests name, what lies where."""

    def __init__(self) -> None:
        self.documents: Documents = {}
        self.usage = blocks.Usage()
        self.strays: list[str] | None = None


class _TakenBack(Exception):
    """Rolls a transaction back."""


def empty_trash(root: str) -> int:
    """Free what was renamed into ROOT/trash; bytes that came back to the disk. Raises StoreError."""
    trash = f"{root}/trash"
    private_dir(trash)
    return sum(remove_tree(f"{trash}/{name}") for name in os.listdir(trash))


class _Sweep:
    def __init__(self, store: Store, wishes: SweepOptions, documents: Documents | None = None) -> None:
        self.store, self.db, self.wishes = store, store.db, wishes
        self.items: list[tuple[str, str, int]] = []
        self._trashed: list[tuple[str, str, str]] = []
        self._documents: Documents = {} if documents is None else documents
        self._clear()

    def _clear(self) -> None:
        self.blobs: set[str] = set()
        self.trees: set[str] = set()
        self.actives: set[str] = set()
        self.folders: set[str] = set()

    def forget(self) -> None:
        """Drop the roots that the caller no longer wants."""
        wishes = self.wishes
        with self.db.transaction(durable=True):
            self._drop_containers(stopped=wishes.containers == "stopped")
            if wishes.build_cache and wishes.cache_items is None:
                self._drop("step", "step", "key", "used < ?", wishes.cache_before)
            elif wishes.build_cache:
                for key in sorted(wishes.cache_items or ()):
                    self._drop("step", "step", "key", "key = ?", key)
            if wishes.images != "none":
                self._forget_images(wishes.images == "all")

    def _drop(self, kind: str, table: str, key: str, where: str, value: object) -> None:
        for row in self.db.execute(f"SELECT {key} FROM {table} WHERE {where}", (value,)):
            self.items.append((kind, row[0], 0))
        self.db.change(f"DELETE FROM {table} WHERE {where}", (value,))

    def _drop_containers(self, stopped: bool) -> None:
        """Those that were never whole, and those that do not run; not one that somebody is about to start."""
        picked = self.wishes.container_picked
        for row in self.store.containers.list():
            wanted = stopped and not row.is_live and (picked is None or picked(row))
            if not wanted and row.state != BEGUN:
                continue
            if not self.store.containers.is_starting(row.id):
                self.store.containers.delete(row.id)
                if wanted:
                    of_container(self.store.root, row, "destroy", {})
                self.items.append(("container", row.id, 0))

    def _forget_images(self, named: bool) -> None:
        used = self.store.containers.images()
        if not named:
            used |= {row[0] for row in self.db.execute("SELECT digest FROM ref")}
        for (digest,) in self.db.execute("SELECT digest FROM image ORDER BY digest"):
            needed = digest in used or not used.isdisjoint(self._document(digest)[0])
            if (
                not needed
                and self._is_picked(Digest(digest))
                and self.store.refs.forget(Digest(digest), named=named)
            ):
                self.items.append(("image", digest, 0))

    def _is_picked(self, digest: Digest) -> bool:
        picked = self.wishes.image_picked
        return picked is None or picked(digest)

    def mark(self) -> None:
        """Everything that is reached from the roots."""
        self._clear()
        self._mark_rows()
        self._mark_leases()
        rows = self.db.execute("SELECT digest FROM image UNION SELECT digest FROM ref")
        named = [row[0] for row in rows] + [*self.store.containers.images(), *mounted.images(self.store.root)]
        named += [index.digest for index in self.store.refs.indexes()]
        self._mark_images(named + self._spared_documents())
        for key, layers in self.db.execute("SELECT key, layers FROM active"):
            if key in self.actives:
                self.trees.update(layers.split())

    def _spared_documents(self) -> list[str]:
        """Manifests that the leases spare: somebody may be about to name them, so they stay whole."""
        sql = "SELECT digest FROM blob WHERE used >= ? AND size <= ?"
        return [
            row[0]
            for row in self.db.execute(sql, (self.since, MAX_DOCUMENT))
            if self._looks_like_json(row[0])
        ]

    def _looks_like_json(self, digest: str) -> bool:
        try:
            with open(self.store.blobs.path(Digest(digest)), "rb", buffering=0) as file:
                return file.read(1) == b"{"
        except FileNotFoundError:
            return False

    def _mark_rows(self) -> None:
        containers = {row[0] for row in self.db.execute("SELECT id FROM container")}
        self.actives |= containers
        self.folders |= containers
        for layer, diff_id in self.db.execute("SELECT layer, diff_id FROM step"):
            self.trees.add(diff_id)
            if layer:
                self.blobs.add(Descriptor.from_json(quickjson.loads(layer)).digest)

    def _mark_leases(self) -> None:
        living = self.store.leases.living()
        self.since = min((began for _, began in living), default=_NO_LEASE)
        sets = {"blob": self.blobs, "tree": self.trees, "active": self.actives, "container": self.folders}
        for lease, _ in living:
            for kind, key in self.db.execute("SELECT kind, key FROM lease_item WHERE lease = ?", (lease,)):
                sets.get(kind, self.folders).add(key)

    def _mark_images(self, pending: list[str]) -> None:
        done: set[str] = set()
        while pending:
            digest = pending.pop()
            if digest not in done:
                done.add(digest)
                inner, trees = self._document(digest)
                pending += inner
                self.trees.update(trees)
        self.blobs |= done

    def _document(self, digest: str) -> tuple[list[str], list[str]]:
        """(blobs, trees) that a manifest or index names; a blob that is neither names nothing.

        Only answers that cannot change are remembered: what is not here now may be here soon. What cannot be
        read for another reason may name anything: then nothing is swept. Raises StoreError.
        """
        if digest not in self._documents:
            try:
                document = parse_document(self.store.blobs.read(Digest(digest), drop=False))
            except StoreError:
                raise
            except NacreError:
                return [], []
            return self._named_by(digest, document)
        return self._documents[digest]

    def _named_by(self, digest: str, document: Manifest | Index) -> tuple[list[str], list[str]]:
        if isinstance(document, Index):
            found = self._documents[digest] = [entry.digest for entry in document.manifests], []
            return found
        layers = [layer.digest for layer in document.layers]
        blobs: list[str] = [document.config.digest, *layers]
        for blob in blobs:
            self._documents.setdefault(blob, ([], []))
        try:
            config = self.store.blobs.read(document.config.digest, drop=False)
        except StoreError:
            raise
        except NacreError:  # an image that can be mended as long as its layers are there
            return blobs, self._unpacked(layers)
        self._documents[digest] = blobs, _diff_ids(config)
        return self._documents[digest]

    def _unpacked(self, layers: Iterable[Digest]) -> list[str]:
        """The trees that are known to be these layers."""
        return [str(found) for found in map(self.store.layers.diff_id, layers) if found]

    def collect(self) -> None:
        """Inside the transaction: mark again, then move what is not reached out of sight."""
        self.mark()
        self._collect_blobs()
        self._collect_trees()
        if self.wishes.shed and not self.store.keeping.keeps:
            self._shed()
        self._collect_folders("active", self.actives, "active")
        self._collect_folders("containers", self.folders, "folder")
        self._collect_layers()
        self._collect_digests()

    def _collect_blobs(self) -> None:
        kept = {row[0] for row in self.db.execute("SELECT digest FROM blob WHERE used >= ?", (self.since,))}
        there = list(self.store.blobs.files())
        for digest in there:
            if digest not in self.blobs and digest not in kept:
                self.db.change("DELETE FROM blob WHERE digest = ?", (digest,))
                self._trash("blob", digest, f"blobs/{digest.replace(':', '/', 1)}")
        self._collect_rows("blob", "digest", self.blobs.union(there))

    def _collect_rows(self, table: str, key: str, kept: set[str]) -> None:
        """Rows whose files a killed sweep moved away. That of what is needed stays: `check` tells of it."""
        for (name,) in self.db.execute(f"SELECT {key} FROM {table}"):
            if name not in kept:
                self.db.change(f"DELETE FROM {table} WHERE {key} = ?", (name,))

    def _shed(self) -> None:
        """Blobs of layers that are kept as trees, as far as they can be had again."""
        from ..grammars.codecs.recipe import is_current

        sql = (
            "SELECT layer.digest, diff_id, recipe, EXISTS (SELECT 1 FROM source WHERE source.digest = "
            "layer.digest) FROM layer JOIN blob ON blob.digest = layer.digest JOIN tree USING (diff_id) "
            "WHERE blob.used < ? AND tree.synced = 1"
        )
        for digest, diff_id, recipe, has_source in self.db.execute(sql, (self.since,)):
            again = has_source or digest == diff_id or is_current(recipe)
            path = self.store.blobs.path(Digest(digest))
            if again and os.path.exists(path) and self.store.trees.can_tar(Digest(diff_id)):
                self.db.change("DELETE FROM blob WHERE digest = ?", (digest,))
                self._trash("blob", digest, os.path.relpath(path, self.store.root))

    def _collect_trees(self) -> None:
        rows = dict(self.db.execute("SELECT diff_id, used FROM tree"))
        kept = {Digest(d).hex for d, used in rows.items() if used >= self.since or d in self.trees}
        there = names(f"{self.store.root}/trees")
        for name in there:
            if name not in kept and not name.startswith("."):
                diff_id = f"sha256:{name}"
                self.db.change("DELETE FROM tree WHERE diff_id = ?", (diff_id,))
                self._trash("tree", diff_id, f"trees/{name}")
        self._collect_rows("tree", "diff_id", {f"sha256:{name}" for name in there} | self.trees)

    def _collect_folders(self, folder: str, kept: set[str], kind: str) -> None:
        for name in names(f"{self.store.root}/{folder}"):
            if name not in kept:
                self._trash(kind, name, f"{folder}/{name}")
        if folder == "active":
            for row in self.db.execute("SELECT key FROM active"):
                if row[0] not in kept:
                    self.db.change("DELETE FROM active WHERE key = ?", row)

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
        """Move it out of sight."""
        target = f"{self.store.root}/trash/{random_name()}"
        os.rename(f"{self.store.root}/{path}", target)
        self._trashed.append((kind, name, target))

    def free(self) -> None:
        """Outside the transaction: it may take long."""
        for kind, name, target in self._trashed:
            trace("sweep:freeing")
            self.items.append((kind, name, remove_tree(target)))

    def ingests(self) -> None:
        """Partial content whose writer is gone; downloads that can be resumed only when they are old."""
        folder = f"{self.store.root}/ingest"
        known = sorted({name.removesuffix(".lock") for name in names(folder)})
        living = {id for id, _ in self.store.leases.living()}  # asked after listing: leases come before files
        for name in known:
            if name.startswith("add-"):
                if name.split("-")[1] not in living:
                    self._remove("ingest", name, f"{folder}/{name}")
                continue
            lock = Lock.attempt(f"{folder}/{name}.lock")
            if lock is None:
                continue
            keep = self._resumable(f"{folder}/{name}", name)
            try:
                if not keep:
                    self._remove("ingest", name, f"{folder}/{name}")
            finally:
                lock.release(remove=not keep)

    def _remove(self, kind: str, name: str, path: str) -> None:
        """Free at once what nobody sees."""
        if os.path.lexists(path):
            self.items.append((kind, name, remove_tree(path)))

    def _resumable(self, path: str, name: str) -> bool:
        if name.startswith(("new-", "tree-")) or os.path.exists(f"{self.store.root}/blobs/sha256/{name}"):
            return False
        sql = "SELECT 1 FROM layer JOIN tree ON tree.diff_id = layer.diff_id WHERE digest = ?"
        if self.db.one(sql, (f"sha256:{name}",)):  # unpacked, and killed before its file went
            return False
        try:
            return time.time() - os.stat(f"{path}/data").st_mtime < self.wishes.max_age
        except FileNotFoundError:
            return False

    def strays(self) -> None:
        """What a kill left of writing a file or folder beside a tree, or a table of the builder."""
        trees = f"{self.store.root}/trees"
        for folder in [*(f"{trees}/{name}" for name in names(trees)), f"{self.store.root}/build/contexts"]:
            for name in names(folder):
                end = name.rpartition(".")[2]
                if len(end) == _RANDOM and end != name and _HEX.issuperset(end):
                    self._stray(f"{folder}/{name}", name)

    def _stray(self, path: str, name: str) -> None:
        try:
            old = time.time() - os.lstat(path).st_mtime > _STRAY_AGE
        except FileNotFoundError:
            return
        if old:
            self._remove("stray", name, path)


class _Foresight(_Sweep):
    """A run that moves nothing and notes the paths that would go."""

    def __init__(self, store: Store, wishes: SweepOptions, documents: Documents | None) -> None:
        super().__init__(store, wishes, documents)
        self.paths: list[str] = []

    def known_strays(self, known: StoreContents) -> list[str]:
        """What `strays` removes: the same whatever is wished."""
        if known.strays is None:
            before = len(self.paths)
            self.strays()
            known.strays = self.paths[before:]
            del self.paths[before:]
        return known.strays

    def _trash(self, kind: str, name: str, path: str) -> None:
        self.paths.append(f"{self.store.root}/{path}")

    def _remove(self, kind: str, name: str, path: str) -> None:
        if os.path.lexists(path):
            self.paths.append(path)


def _diff_ids(config: bytes) -> list[str]:
    """Trees of an image config; of an artifact's none."""
    try:
        return list(ImageConfig.parse(config).diff_ids)
    except NacreError:
        return []
