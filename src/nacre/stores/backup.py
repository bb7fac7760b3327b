"""A copy of a registry in a folder of its own, made while the registry is served.

    FOLDER/registry-backup.json   which registry it is of
    FOLDER/catalog.db             names and accounts as they were at one moment
    FOLDER/blobs/<algorithm>/     the content that these name
    FOLDER/lock                   held by whoever writes there

Names are taken first. What they name is on the disk by then, so no manifest comes without its parts; what is
pushed later belongs to the next backup. Content may be collected before it is copied: then the names are
taken once more, and only what has come since is copied. A lease was rejected: it would keep a full disk full
for as long as a backup hangs.

Content comes before `catalog.db` gets its name and goes after that: whenever a backup is killed, the one
before it is whole. On the file system of the registry content is linked, as its files are never written
again; elsewhere it is copied and hashed.
"""

from __future__ import annotations

import json
import os
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from ..ground.files import Lock, os_errors, private_dir, read_bounded, sync_path, unlink, write_atomic
from ..ground.work.threads import in_parallel
from ..words.digest import Digest
from ..words.errors import Conflict, InvalidName, NotFound, TooLarge, Unsupported
from ..words.progress import NullProgress
from .catalog import SqliteDatabase, is_url, place_of
from .catalog.contents import KEPT, TABLES, contents
from .catalog.sqlite import copy_database
from .catalog.statements import HELD
from .copying import ContentCopy, content_path
from .layout import names
from .storage.place import is_away

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..words.progress import Progress
    from .catalog import Catalog
    from .catalog.model import CatalogDatabase
    from .moving import BucketCopy

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


class RegistryBackup:
    """Brings the backup in `folder` up to what the registry in `root`, whose catalog this is, holds now.

    `read`: content that is there already, or is only linked, is hashed as well.
    """

    def __init__(
        self, catalog: Catalog, root: str, folder: str, *, read: bool = False,
        progress: Progress | None = None,
    ) -> None:  # fmt: skip
        self._catalog, self._root, self._folder = catalog, os.path.abspath(root), os.path.abspath(folder)
        self._task = (progress or NullProgress()).task("backup")
        self._copy = ContentCopy(self._root, self._folder, self._task, links=True, read=read)
        self._new = f"{self._folder}/{CATALOG}.new"

    def run(self) -> BackupReport:
        """Raises Conflict, Unsupported, StoreError; the backup before it is whole then."""
        _check_kind(self._catalog, self._root)
        with _claimed(self._folder, self._root):
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
        _remove_database(self._new)
        copy_database(place_of(self._root), self._new)
        with closing(SqliteDatabase(self._new)) as found:
            copy_content(found, self._copy)
        lost = {digest: "is missing" for digest in self._copy.missing if self._is_lost(digest)}
        self._copy.damaged.update(lost)
        return len(lost) == len(self._copy.missing)

    def _is_lost(self, digest: str) -> bool:
        """Should the registry have it, and has it not?"""
        held = bool(self._catalog.listed(HELD, digest))
        return held and not os.path.exists(content_path(self._root, digest))

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


def _check_kind(catalog: Catalog, root: str) -> None:
    if is_away(catalog):
        raise Unsupported(
            f"the content of {root} is in object storage, which this does not copy",
            hint="turn on versioning of the bucket, and keep a copy of registry.db (docs/registry-backup.md)",
        )


def check_engine(root: str) -> None:
    """Raises Unsupported for a registry whose names are in a server."""
    if is_url(place_of(root)):
        raise Unsupported(
            f"the names of {root} are in PostgreSQL, which this does not copy",
            hint="use pg_dump first and copy the content after that (docs/registry-database.md)",
        )


def _remove_database(path: str) -> None:
    """Of a backup that was killed."""
    with os_errors(f"remove {path}"):
        for end in ("", "-wal", "-shm", "-journal"):
            unlink(path + end)
