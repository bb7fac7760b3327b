"""The folder of a registry: content and catalog of the server, owned by one process at a time.

    ROOT/registry.lock   held by the process that serves
    ROOT/registry.db     `catalog`
    ROOT/blobs/ …        a blob store, as a store has it
    ROOT/ingest/         uploads that have begun and not ended

What a kill left is removed when the folder is opened. A blob is on the disk a moment before its repository
has it, and content that was deleted a moment after no repository has it: in between, nobody will ever ask for
it. Only the holder of the lock may remove it, and only while nothing is being written.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, closing

from ..ground.files import Lock, os_errors, remove_tree, unlink
from ..words.digest import Digest
from ..words.errors import Conflict, DamagedStore, InvalidName
from .blobs import BlobStore
from .catalog import Catalog
from .layout import names

DATABASE = "registry.db"


class RegistryStore:
    """What one registry keeps: `blobs` is content by digest, `catalog` says which repository holds what."""

    def __init__(self, root: str) -> None:
        """Opens or makes the folder `root`; `close` it.

        Raises Conflict when another process serves it or it is not a registry's, DamagedStore, StoreError.
        """
        self.root = os.path.abspath(root)
        with ExitStack() as opened:
            self.blobs = opened.enter_context(closing(_blobs(self.root)))
            self._lock = _own(self.root)
            opened.callback(self._lock.release)
            path = f"{self.root}/{DATABASE}"
            self.catalog = opened.enter_context(closing(Catalog(path, self.blobs.delete)))
            with os_errors(f"tidy {self.root}"):
                _tidy_content(self.blobs, self.catalog.digests())
                _tidy_uploads(f"{self.root}/ingest", self.catalog.uploads())
            opened.pop_all()

    def close(self) -> None:
        """Let go of everything; unfinished uploads can be resumed."""
        self.catalog.close()
        self.blobs.close()
        self._lock.release()


def _blobs(root: str) -> BlobStore:
    """Everything that the blob store is given in ways used here is on disk before it is answered for."""
    if os.path.exists(f"{root}/nacre.db") and not os.path.exists(f"{root}/{DATABASE}"):
        raise Conflict(f"{root} holds the images of a nacre store, not a registry")
    try:
        return BlobStore.at(root)
    except DamagedStore as error:
        error.hint = f"`nacre --root {root} system check --repair` rebuilds the database"
        raise


def _own(root: str) -> Lock:
    """Lock the folder: the server's sessions and pins live in the memory of one process."""
    with os_errors(root):
        lock = Lock.attempt(f"{root}/registry.lock")
    if lock is None:
        raise Conflict(f"{root} is served by another process")
    return lock


def _tidy_content(blobs: BlobStore, held: set[str]) -> None:
    """Remove content that no repository holds."""
    for text in blobs.files():
        try:
            digest = Digest(text)
        except InvalidName:
            continue  # not made here: not ours to remove
        if digest not in held:
            blobs.delete(digest)


def _tidy_uploads(folder: str, known: set[str]) -> None:
    """Remove data of uploads that nobody can go on with."""
    for name in {name.removesuffix(".lock") for name in names(folder)}:
        if name.removeprefix("key-") not in known:
            if os.path.lexists(f"{folder}/{name}"):
                remove_tree(f"{folder}/{name}")
            unlink(f"{folder}/{name}.lock")
