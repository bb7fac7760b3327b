"""A registry in a new folder, from a backup; its content may go into a bucket, its names into a server.

    ROOT/restoring.db   its names, until all is there: then it becomes registry.db, or is in the server

Nobody serves the folder before that. Everything is hashed. What was broken off goes on when it is begun
again: content that has its name is whole.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from ..ground.clone import clone
from ..ground.files import Lock, os_errors, private_dir, sync_path, trace
from ..words.digest import Digest
from ..words.errors import Conflict
from ..words.progress import NullProgress
from ..words.rules import StorageRules
from .backup import CATALOG, check_backup, contents_of, copy_content, unchanged
from .blobs import BlobStore
from .catalog import SqliteDatabase
from .catalog.opening import FILE, RESTORING
from .catalog.sqlite import check_database
from .copying import ContentCopy, content_path
from .layout import names
from .namecopy import remove_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..words.progress import Progress
    from .catalog.model import CatalogDatabase

_AWAY = 16
"""Threads that send content to a bucket."""


class RestoreTarget(NamedTuple):
    """Where a registry comes: content into a bucket unless `storage` names none, names and accounts into the
    server at the URL `database` unless it is "".
    """

    storage: StorageRules = StorageRules()
    database: str = ""

    @property
    def is_elsewhere(self) -> bool:
        """Does anything of it go elsewhere than into the folder?"""
        return bool(self.storage.url or self.database)


class RegistryRestore:
    """Makes `root` what the backup in `folder` holds, or what `target` names."""

    def __init__(
        self, folder: str, root: str, progress: Progress | None = None, target: RestoreTarget | None = None
    ) -> None:
        self._folder, self._root = os.path.abspath(folder), os.path.abspath(root)
        self._task = (progress or NullProgress()).task("restore")
        self._target = target or RestoreTarget()

    def run(self) -> None:
        """What is damaged in the backup stays away. Raises NotFound, Conflict, StoreError, and of a bucket or
        a server UsageError, Unsupported, Unavailable.
        """
        check_backup(self._folder)
        in_folder = not self._target.storage.url
        with unchanged(self._folder), _new_registry(self._root, in_folder=in_folder) as blobs:
            place = self._take_names()
            with closing(SqliteDatabase(place)) as found:
                self._copy_content(found, blobs)
            self._publish(place)
        self._task.done("Complete")

    def _copy_content(self, found: SqliteDatabase, blobs: BlobStore | None) -> None:
        if blobs is None:
            from .moving import BucketCopy

            copy_content(found, BucketCopy(self._folder, self._target.storage, found, self._task), _AWAY)
            return
        copy = ContentCopy(self._folder, self._root, self._task, links=False, read=False)
        copy.prepare()
        copy_content(found, copy)
        self._record(found, blobs)
        copy.sync()

    def _publish(self, place: str) -> None:
        """From now on it is a registry."""
        if self._target.database:
            self._publish_in_server(place)
            return
        if self._target.is_elsewhere:
            from .moving import unmark

            unmark(place)
        with os_errors(f"write {self._root}"):
            sync_path(place)
            os.rename(place, f"{self._root}/{FILE}")
            sync_path(self._root)

    def _publish_in_server(self, place: str) -> None:
        from .moving import move_names, unmark

        move_names(place, self._target.database, self._root)
        trace("restore:moved")
        remove_names(place)
        with os_errors(f"write {self._root}"):
            sync_path(self._root)
        unmark(self._target.database)

    def _take_names(self) -> str:
        """A copy of the names: the backup may be where nothing can be written."""
        place = f"{self._root}/{RESTORING}"
        if not self._target.is_elsewhere:
            self._copy_names(place)
            return place
        from .moving import CarriedRows

        new = f"{place}.new"
        carried = CarriedRows(place if os.path.exists(place) else "")
        self._copy_names(new)
        carried.put(new)
        remove_names(place, but_the_file=True)
        with os_errors(f"write {place}"):
            os.rename(new, place)
            sync_path(self._root)
        return place

    def _copy_names(self, place: str) -> None:
        remove_names(place)
        _copy_file(f"{self._folder}/{CATALOG}", place)
        check_database(place)

    def _record(self, found: CatalogDatabase, blobs: BlobStore) -> None:
        for rows in contents_of(found):
            pairs = [(Digest(digest), size) for digest, size in rows]
            blobs.record(pair for pair in pairs if os.path.exists(content_path(self._root, pair[0])))


def _copy_file(source: str, target: str) -> None:
    with os_errors(f"copy {source} to {target}"), open(source, "rb", buffering=0) as file:
        new = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            clone(file.fileno(), new, 0, os.fstat(file.fileno()).st_size)
        finally:
            os.close(new)


@contextmanager
def _new_registry(root: str, *, in_folder: bool) -> Iterator[BlobStore | None]:
    """Its folder, empty or left by a restore that was broken off; the store for its content if that comes
    there. Raises Conflict, StoreError.
    """
    there = set(names(root)) - {"registry.lock"}
    if there and not there.intersection((RESTORING, f"{RESTORING}.new")):
        raise Conflict(f"{root} is not empty", hint="restore into a new directory")
    with ExitStack() as held:
        blobs = held.enter_context(closing(BlobStore.at(root))) if in_folder else None
        private_dir(root)
        with os_errors(f"lock {root}"):
            lock = Lock.attempt(f"{root}/registry.lock")
        if lock is None:
            raise Conflict(f"{root} is being restored by another process")
        with lock:
            yield blobs
