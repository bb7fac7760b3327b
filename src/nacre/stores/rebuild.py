"""Rebuild a lost or damaged database from what is left of it and from the files of the store.

    old database   every row that can still be read (`salvage`): names, sources, recipes, containers
    index.json     names
    blobs/         content; manifests and configs say which images there are, and which layer is which tree
    trees/         trees
    containers/    a record beside each container, see `containers.describe`

Nothing found this way is trusted before it is verified, as after a crash of the machine
(`images.audit.check`).
The new database replaces the old one in one step, complete; what was left of the old one is kept beside it.
Lost without the old database: the build cache, and which registries content came from.
"""

from __future__ import annotations

import os
import shutil

from ..ground.files import Lock, os_errors, sync_path, trace, unlink
from ..words import quickjson
from ..words.digest import Digest
from ..words.errors import DamagedStore, NacreError
from ..words.oci import MAX_DOCUMENT, Descriptor, ImageConfig, Index, Manifest, parse_document
from ..words.value import Value
from . import salvage
from .database import Database, fault
from .layout import listed, make_folders, names, publish_index, unknown
from .store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BESIDE = ("-wal", "-shm", ".lock")


class Rebuilt(Value):
    """What the new database holds. `problem` is what was wrong with the old one, "" if nothing was.

    `kept` names the file that holds what was left of the old one, "" if nothing was left.
    """

    problem: str
    kept: str = ""
    names: int = 0
    images: int = 0
    blobs: int = 0
    trees: int = 0
    containers: int = 0


def rebuild(root: str, *, single: bool | None = None) -> Rebuilt:
    """Rebuild the database of the store `root` if it is damaged, or has lost its log. Raises StoreError.

    After a kill the old one is as it was, or the new one is in its place. `single` as in `Store.open`.
    """
    path = f"{root}/nacre.db"
    make_folders(root)
    with os_errors(f"rebuild {path}"), Lock(f"{path}.lock"):
        if not (problem := fault(path) or _closed_fault(root)):
            return Rebuilt("")
        kept = _keep(path)
        trace("rebuild:kept")
        new = f"{path}.new"
        _remove(new, "", *_BESIDE)
        database = Database(new)
        try:
            with Store(root, database, "auto", single) as store:
                counts = _Filling(store, kept).run()
                _publish_names(store)
                database.one("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            database.close()
        _replace(new, path)
    return counts.replace(problem=problem, kept=os.path.basename(kept))


def _closed_fault(root: str) -> str:
    database = Database(f"{root}/nacre.db", create=False)
    try:
        return _inner_fault(root, database)
    finally:
        database.close()


def _inner_fault(root: str, database: Database) -> str:
    """What is wrong with the rows of a file that SQLite finds whole, one phrase; "" for nothing."""
    return lost_names(unknown(root, database)) or salvage.fault(database.execute)


def refuse_damaged(store: Store) -> None:
    """Raises DamagedStore when the database must be rebuilt before anything is changed in the store."""
    store.db.check()
    if problem := _inner_fault(store.root, store.db):
        raise DamagedStore(f"the database of {store.root} is incomplete: {problem}")


def database_faults(store: Store) -> list[str]:
    """What is wrong with the database of an open store, the first few phrases. Raises StoreError."""
    found = store.db.faults()
    inner = (lost_names(unknown(store.root, store.db)), "" if found else salvage.fault(store.db.execute))
    return [*found, *filter(None, inner)]


def lost_names(lost: Iterable[str]) -> str:
    """What is wrong with a database that lacks these names, one phrase; "" for none."""
    name = min(lost, default="")
    return f"it is out of date: it does not know {name}, which index.json has" if name else ""


def _keep(path: str) -> str:
    """Copy what is left of the old database to a name of its own; "" if nothing is."""
    left = [end for end in ("", "-wal") if os.path.exists(path + end) and os.stat(path + end).st_size]
    number = 1
    while any(os.path.exists(f"{path}.damaged-{number}{end}") for end in ("", "-wal")):
        number += 1
    for end in left:
        shutil.copyfile(path + end, f"{path}.damaged-{number}{end}")
        os.chmod(f"{path}.damaged-{number}{end}", 0o600)
    return f"{path}.damaged-{number}" if left else ""


def _replace(new: str, path: str) -> None:
    """The old log goes first: SQLite would read it into the new database."""
    _remove(new, *_BESIDE)
    sync_path(new)
    _remove(path, "-wal", "-shm")
    trace("rebuild:made")
    os.rename(new, path)
    sync_path(os.path.dirname(path))


def _remove(path: str, *ends: str) -> None:
    for end in ends:
        unlink(path + end)


class _Filling:
    """Writes the rows of a new database, in one transaction."""

    def __init__(self, store: Store, old: str) -> None:
        self._store, self._db, self._old = store, store.db, old

    def run(self) -> Rebuilt:
        """What there is then, without a problem."""
        with self._db.transaction(durable=True):
            self._leases()
            self._salvaged()
            self._blobs()
            self._names()
            self._trees()
            self._containers()
        return self._counts()

    def _put(self, table: str, *values: object) -> None:
        """What is there already is better."""
        marks = ", ".join("?" * len(values))
        self._db.change(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", values)

    def _leases(self) -> None:
        """Whoever works keeps everything, as after the first tick of the clock."""
        for name in names(f"{self._store.root}/leases"):
            self._put("lease", name, 1)

    def _salvaged(self) -> None:
        if self._old:
            copy = f"{self._db.path}.old"
            for end in ("", "-wal"):
                if os.path.exists(self._old + end):
                    shutil.copyfile(self._old + end, copy + end)
            try:
                for table, row in salvage.rows(copy):
                    self._put(table, *row)
            finally:
                _remove(copy, "", "-wal", "-shm")

    def _blobs(self) -> None:
        for digest in self._found():
            found = os.stat(self._store.blobs.path(digest))
            self._put("blob", digest, found.st_size, "", 0, found.st_mtime, 1)
            if found.st_size <= MAX_DOCUMENT:
                self._document(digest, found.st_mtime)

    def _found(self) -> Iterator[Digest]:
        for text in self._store.blobs.files():
            try:
                yield Digest(text)
            except NacreError:
                continue

    def _document(self, digest: Digest, time: float) -> None:
        """An image, if the content is the manifest of one: then its config says which layer is which tree."""
        document = self._parsed(digest)
        if not isinstance(document, Manifest):
            return
        try:
            config = ImageConfig.parse(self._store.blobs.read(document.config.digest, drop=False))
        except NacreError:
            return
        descriptor = Descriptor(document.media_type, digest, self._store.blobs.size(digest))
        self._put("image", digest, quickjson.dumps(descriptor.to_json()), time)
        for layer, diff_id in zip(document.layers, config.diff_ids, strict=False):
            self._put("layer", layer.digest, diff_id, layer.media_type, layer.size, time, "")

    def _parsed(self, digest: Digest) -> Manifest | Index | None:
        with open(self._store.blobs.path(digest), "rb", buffering=0) as file:
            if file.read(1) != b"{":
                return None
        try:
            return parse_document(self._store.blobs.read(digest, drop=False))
        except NacreError:
            return None

    def _names(self) -> None:
        """Also of a manifest that is not here: it can perhaps be fetched by its digest."""
        for name, descriptor in listed(self._store.root).items():
            text = quickjson.dumps(descriptor.to_json())
            time = os.stat(f"{self._store.root}/index.json").st_mtime
            self._put("image", descriptor.digest, text, time)
            self._put("ref", name, descriptor.digest, text, time)

    def _trees(self) -> None:
        for name in names(f"{self._store.root}/trees"):
            try:
                self._store.trees.repair.record(Digest(f"sha256:{name}"))
            except NacreError:
                continue

    def _containers(self) -> None:
        for id in names(f"{self._store.root}/containers"):
            described = self._store.containers.described(id)
            if described is not None:
                row, active = described
                self._put("container", *row._astuple())
                self._put("active", id, *active)

    def _counts(self) -> Rebuilt:
        tables = {
            "names": "ref",
            "images": "image",
            "blobs": "blob",
            "trees": "tree",
            "containers": "container",
        }
        counted = {
            key: self._db.execute(f"SELECT count(*) FROM {table}")[0][0] for key, table in tables.items()
        }
        return Rebuilt("", "", **counted)


def _publish_names(store: Store) -> None:
    """From now on `index.json` says the same; one that could not be read is kept beside it."""
    path = f"{store.root}/index.json"
    if os.path.exists(path) and not listed(store.root):
        shutil.copyfile(path, f"{path}.damaged")
    publish_index(store.root, store.db)
