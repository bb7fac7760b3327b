"""A copy of a registry in a folder of its own, made while the registry is served.

    FOLDER/registry-backup.json   which registry it is of
    FOLDER/catalog.db             names and accounts as they were at one moment
    FOLDER/blobs/<algorithm>/     the content that these name
    FOLDER/lock                   held by whoever writes there

Names are taken first. What they name is on the disk by then, so no manifest comes without its parts; what is
pushed later belongs to the next backup. Content may be collected before it is copied: then the names are
taken once more, and only what has come since is copied. A lease was rejected: it would keep a full disk full
for as long as a backup hangs.

The registry may have its names in a server and its content in a bucket, or be one far away: a `BackupSource`
says how both are had. Names are a SQLite file in any case, so one backup is like another.

Content comes before `catalog.db` gets its name and goes after that: whenever a backup is killed, the one
before it is whole. On the file system of the registry content is linked, as its files are never written
again; otherwise it is copied and hashed.
"""

from __future__ import annotations

import json
import os
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..ground.files import Lock, os_errors, private_dir, read_bounded, sync_path, unlink, write_atomic
from ..ground.work.threads import in_parallel
from ..words.digest import Digest
from ..words.errors import Conflict, InvalidName, NotFound, TooLarge
from ..words.progress import NullProgress
from .catalog import SqliteDatabase, place_of
from .catalog.contents import KEPT, TABLES, contents, size_of
from .catalog.statements import HELD
from .copying import ContentCopy, FetchedCopy, content_path
from .layout import names
from .namecopy import copy_names, remove_names
from .storage.place import check_place, in_bucket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..words.progress import Progress, Task
    from ..words.rules import StorageRules
    from .catalog import Catalog
    from .catalog.model import CatalogDatabase
    from .moving import BucketCopy
    from .storage.objects import ObjectStorage
    from .storage.protocol import ContentReader

CATALOG = "catalog.db"
_MARK, _LOCK = "registry-backup.json", "lock"
_FORMAT = 1
_MOST_MARK = 64 << 10
_MOST_ROUNDS = 10
_SIZES = """
    SELECT count(*), coalesce(sum(size), 0) FROM (SELECT max(size) AS size FROM {} GROUP BY digest) x"""


class BackupReport(NamedTuple):
    """What a backup holds, and what is new: `added` files, of which so many bytes were `copied`, not linked.

    `removed` files are not needed any more. `damaged`: content that could not be had whole, and why.
    """

    repositories: int
    manifests: int
    blobs: int
    bytes: int
    added: int
    copied: int
    removed: int
    damaged: tuple[tuple[str, str], ...]


class BackupSource(Protocol):
    """A registry of which a backup can be made."""

    name: str
    """One directory is for one of them."""
    threads: int
    """So many bring content at once; 0: one for each processor."""

    def take_names(self, path: str) -> None:
        """Its names and accounts at one moment, as the new SQLite file `path`. Raises NacreError."""

    def copy(self, folder: str, task: Task, *, read: bool) -> ContentCopy:
        """What brings its content into a folder."""

    def has_lost(self, digest: str) -> bool:
        """Should it have content that it has not?"""


class FolderSource:
    """The registry in `root`, whose catalog this is, with content in its folder."""

    threads = 0

    def __init__(self, catalog: Catalog, root: str) -> None:
        self.name = self._root = os.path.abspath(root)
        self._catalog = catalog

    def take_names(self, path: str) -> None:
        """As `BackupSource` says it."""
        copy_names(place_of(self._root), path)

    def copy(self, folder: str, task: Task, *, read: bool) -> ContentCopy:
        """As `BackupSource` says it."""
        return ContentCopy(self._root, folder, task, links=True, read=read)

    def has_lost(self, digest: str) -> bool:
        """As `BackupSource` says it."""
        held = bool(self._catalog.listed(HELD, digest))
        return held and not os.path.exists(content_path(self._root, digest))


class BucketSource:
    """The registry in `root`, whose catalog this is, with content in a bucket."""

    threads = 16

    def __init__(self, catalog: Catalog, root: str, storage: ObjectStorage) -> None:
        self.name, self._catalog, self._storage = os.path.abspath(root), catalog, storage

    def take_names(self, path: str) -> None:
        """As `BackupSource` says it."""
        copy_names(place_of(self.name), path)

    def copy(self, folder: str, task: Task, *, read: bool) -> ContentCopy:
        """As `BackupSource` says it."""
        return FetchedCopy(self._fetch, folder, task, read=read)

    def _fetch(self, digest: Digest, size: int) -> ContentReader:
        found = self._storage.locate(digest, size)
        if found is None:
            raise NotFound(digest)
        return self._storage.open(found, 0, size)

    def has_lost(self, digest: str) -> bool:
        """As `BackupSource` says it."""
        size = size_of(self._catalog, digest)
        return size is not None and self._storage.locate(Digest(digest), size) is None


def source_of(catalog: Catalog, root: str, place: StorageRules) -> BackupSource:
    """The registry in a folder, whose content is in `place`. Raises Conflict, StoreError, Unavailable."""
    check_place(catalog, place.url)
    if place.url:
        return BucketSource(catalog, root, in_bucket(place, catalog))
    return FolderSource(catalog, root)


class RegistryBackup:
    """Brings the backup in `folder` up to what the registry `source` holds now.

    `read`: content that is there already, or is only linked, is hashed as well.
    """

    def __init__(
        self, source: BackupSource, folder: str, *, read: bool = False, progress: Progress | None = None
    ) -> None:
        self._source, self._folder = source, os.path.abspath(folder)
        self._task = (progress or NullProgress()).task("backup")
        self._copy = source.copy(self._folder, self._task, read=read)
        self._new = f"{self._folder}/{CATALOG}.new"

    def run(self) -> BackupReport:
        """Raises Conflict, StoreError, and as the source does; the backup before it is whole then."""
        with _claimed(self._folder, self._source.name):
            self._copy.prepare()
            rounds = 1
            while not self._round():
                rounds += 1
                if rounds > _MOST_ROUNDS:
                    raise Conflict("content of the registry is removed faster than it can be copied")
            report, surplus = self._counts(), self._surplus()
            self._publish()
            removed = self._remove(surplus)
            self._task.done("Complete")
        return report._replace(removed=removed)

    def _round(self) -> bool:
        """Take the names and what they mean; False if something of it is gone by now."""
        remove_names(self._new)
        self._source.take_names(self._new)
        with closing(SqliteDatabase(self._new)) as found:
            copy_content(found, self._copy, self._source.threads)
        lost = {digest: "is missing" for digest in self._copy.missing if self._source.has_lost(digest)}
        self._copy.damaged.update(lost)
        return len(lost) == len(self._copy.missing)

    def _counts(self) -> BackupReport:
        with closing(SqliteDatabase(self._new)) as found:
            ((repositories,),) = found.listed("SELECT count(*) FROM repositories")
            ((manifests, described),) = found.listed(_SIZES.format("manifests"))
            ((blobs, size),) = found.listed(_SIZES.format("blobs"))
        damaged = tuple(sorted(self._copy.damaged.items()))
        counts = (repositories, manifests, blobs, described + size)
        return BackupReport(*counts, self._copy.added, self._copy.copied, 0, damaged)

    def _publish(self) -> None:
        """From now on the folder is this backup."""
        self._copy.sync()
        with os_errors(f"write {self._folder}/{CATALOG}"):
            sync_path(self._new)
            os.rename(self._new, f"{self._folder}/{CATALOG}")
            sync_path(self._folder)

    def _surplus(self) -> list[str]:
        """Files that the new names do not need."""
        with closing(SqliteDatabase(self._new)) as found:
            return [path for digest, path in self._files() if not found.listed(HELD, digest)]

    def _files(self) -> Iterator[tuple[str, str]]:
        folder = f"{self._folder}/blobs"
        for algorithm in names(folder):
            for name in names(f"{folder}/{algorithm}"):
                with suppress(InvalidName):  # not made here: not ours to remove
                    yield Digest(f"{algorithm}:{name}"), f"{folder}/{algorithm}/{name}"

    def _remove(self, paths: list[str]) -> int:
        with os_errors(f"remove from {self._folder}"):
            return sum(map(unlink, paths))


def copy_content(found: CatalogDatabase, copy: ContentCopy | BucketCopy, threads: int = 0) -> None:
    """Bring all that a catalog names, and what of it can be restored. Raises StoreError."""
    ((total,),) = found.listed("SELECT coalesce(sum(size), 0) FROM blobs")
    copy.begin(int(total))
    for rows in contents_of(found):
        in_parallel(lambda row, _stop: copy.bring(*row), rows, threads or os.cpu_count() or 1)


def contents_of(found: CatalogDatabase) -> Iterator[list[tuple[str, int]]]:
    """Digests and sizes, some at a time; what several tables have comes several times."""
    for table in (*TABLES, KEPT):
        yield from contents(found, table)


def check_backup(folder: str) -> None:
    """Does it hold a backup that came to its end? Raises NotFound, Conflict, StoreError."""
    if _marked(folder) is None:
        raise NotFound(f"{folder} holds no backup of a registry")
    if not os.path.exists(f"{folder}/{CATALOG}"):
        raise NotFound(f"the backup in {folder} never came to its end")


@contextmanager
def unchanged(folder: str) -> Iterator[None]:
    """While this lasts, no backup is made there. Raises Conflict, StoreError."""
    if not os.access(folder, os.W_OK):  # nobody can make one
        yield
        return
    with _locked(folder):
        yield


@contextmanager
def _claimed(folder: str, root: str) -> Iterator[None]:
    """The folder is one for backups of this registry, and nobody else's now. Raises Conflict, StoreError."""
    private_dir(folder)
    of = _marked(folder)
    if of is None and [name for name in names(folder) if name not in (_LOCK, "lost+found")]:
        raise Conflict(f"{folder} is neither empty nor a backup of a registry")
    if of is not None and of != root:
        raise Conflict(f"{folder} holds the backup of {of}", hint="use one directory for each registry")
    with _locked(folder):
        if of is None:
            document = json.dumps({"format": _FORMAT, "registry": root})
            write_atomic(f"{folder}/{_MARK}", document.encode(), sync=True)
        yield


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    with os_errors(f"lock {folder}"):
        lock = Lock.attempt(f"{folder}/{_LOCK}")
    if lock is None:
        raise Conflict(f"{folder} is being written or restored by another process")
    with lock:
        yield


def _marked(folder: str) -> str | None:
    """The registry of which a folder holds backups. Raises Conflict, StoreError."""
    try:
        with os_errors(f"read {folder}"):
            if not os.path.exists(f"{folder}/{_MARK}"):
                return None
            with open(f"{folder}/{_MARK}", "rb") as file:
                document = json.loads(read_bounded(file.read, _MOST_MARK, _MARK))
        version, root = document["format"], document["registry"]
    except (ValueError, TypeError, LookupError, TooLarge):
        raise Conflict(f"{folder}/{_MARK} is damaged") from None
    if version != _FORMAT:
        raise Conflict(f"{folder} was written by a newer nacre (format {version}, known {_FORMAT})")
    return str(root)
