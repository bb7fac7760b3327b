"""What the handlers of one registry share: its storage, its threads and its limits."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing

from ...ground.files import Lock, os_errors
from ...stores.blobs import BlobStore
from ...words.errors import Conflict, DamagedStore
from ...words.value import Value
from .catalog import Catalog
from .sessions import Sessions
from .tidy import tidy
from .work import Work

DATABASE = "registry.db"


class Limits(Value):
    """What a client may ask for. Sizes in bytes, times in seconds."""

    blob: int = 1 << 40
    uploads: int = 1000
    upload_age: float = 24 * 3600.0
    patience: float = 60.0
    """A body of which nothing comes for so long is given up."""


class Shelf:
    """Opens or makes the folder `root`, which belongs to one process at a time.

    Raises Conflict when another process serves it or it is no registry's, StoreError. `close` it, on
    the loop that used it.
    """

    def __init__(self, root: str, limits: Limits) -> None:
        self.root, self.limits = os.path.abspath(root), limits
        with ExitStack() as opened:
            self.blobs = opened.enter_context(closing(_open(self.root)))
            self._lock = _own(self.root)
            opened.callback(self._lock.release)
            self.catalog = opened.enter_context(
                closing(Catalog(f"{self.root}/{DATABASE}", self.blobs.delete))
            )
            tidy(self.blobs, self.catalog)
            opened.pop_all()
        self.work = Work()
        self.sessions = Sessions(
            self.blobs, self.catalog, self.work, most=limits.uploads, age=limits.upload_age
        )

    async def close(self) -> None:
        """Let go of everything; unfinished uploads can be resumed."""
        await self.sessions.close()
        self.work.close()
        self.catalog.close()
        self.blobs.close()
        self._lock.release()


def _open(root: str) -> BlobStore:
    """Everything that the blob store is given in ways used here is on disk before it is answered for."""
    if os.path.exists(f"{root}/nacre.db") and not os.path.exists(f"{root}/{DATABASE}"):
        raise Conflict(f"{root} holds the images of a nacre store, not a registry")
    try:
        return BlobStore.at(root)
    except DamagedStore as error:
        error.hint = f"`nacre --root {root} system check --repair` rebuilds the database from what is there"
        raise


def _own(root: str) -> Lock:
    """Lock the folder: sessions and pins live in the memory of one process."""
    with os_errors(root):
        lock = Lock.attempt(f"{root}/registry.lock")
    if lock is None:
        raise Conflict(f"{root} is served by another process")
    return lock
