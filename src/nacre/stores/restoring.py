"""A registry in a new folder, from a backup.

    ROOT/restoring.db   its names, until all is there: then it becomes registry.db

Nobody serves the folder before that. Everything is hashed. What was broken off goes on when it is begun
again: content that has its name is whole.
"""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from ..ground.clone import clone
from ..ground.files import Lock, os_errors, sync_path, unlink
from ..words.digest import Digest
from ..words.errors import Conflict
from ..words.progress import NullProgress
from .backup import CATALOG, check_backup, contents_of, copy_content, unchanged
from .blobs import BlobStore
from .catalog import SqliteDatabase
from .catalog.opening import FILE, RESTORING
from .catalog.sqlite import check_database
from .copying import ContentCopy, content_path
from .layout import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..words.progress import Progress
    from .catalog.model import CatalogDatabase


class RegistryRestore:
    """Makes `root` what the backup in `folder` holds."""

    def __init__(self, folder: str, root: str, progress: Progress | None = None) -> None:
        self._folder, self._root = os.path.abspath(folder), os.path.abspath(root)
        self._task = (progress or NullProgress()).task("restore")
        self._copy = ContentCopy(self._folder, self._root, self._task, links=False, read=False)

    def run(self) -> None:
        """What is damaged in the backup stays away. Raises NotFound, Conflict, StoreError."""
        check_backup(self._folder)
        with unchanged(self._folder), _new_registry(self._root) as blobs:
            place = self._take_names()
            self._copy.prepare()
            with closing(SqliteDatabase(place)) as found:
                copy_content(found, self._copy)
                self._record(found, blobs)
            self._copy.sync()
            with os_errors(f"write {self._root}"):
                sync_path(place)
                os.rename(place, f"{self._root}/{FILE}")
                sync_path(self._root)
        self._task.done("Complete")

    def _take_names(self) -> str:
        """A copy of the names: the backup may be where nothing can be written."""
        place = f"{self._root}/{RESTORING}"
        with os_errors(f"write {place}"):
            for end in ("", "-wal", "-shm", "-journal"):
                unlink(place + end)
        _copy_file(f"{self._folder}/{CATALOG}", place)
        check_database(place)
        return place

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
def _new_registry(root: str) -> Iterator[BlobStore]:
    """Its folder, empty or left by a restore that was broken off. Raises Conflict, StoreError."""
    if names(root) and not os.path.exists(f"{root}/{RESTORING}"):
        raise Conflict(f"{root} is not empty", hint="restore into a new directory")
    with closing(BlobStore.at(root)) as blobs:
        with os_errors(f"lock {root}"):
            lock = Lock.attempt(f"{root}/registry.lock")
        if lock is None:
            raise Conflict(f"{root} is being restored by another process")
        with lock:
            yield blobs
