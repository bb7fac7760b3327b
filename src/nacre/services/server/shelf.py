"""What the handlers of one registry share: its storage, its threads and its limits."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ...ground.files import Lock, os_errors, private_dir, sync_path
from ...stores.blobs import BlobStore
from ...words.errors import Conflict
from ...words.value import Value
from .catalog import Catalog
from .sessions import Sessions
from .work import Work

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...words.digest import Digest


_REMEMBERED = 10_000


class Limits(Value):
    """What a client may ask for. Sizes in bytes, times in seconds."""

    blob: int = 1 << 40
    uploads: int = 1000
    upload_age: float = 24 * 3600.0
    patience: float = 60.0
    """A body of which nothing comes for so long is given up."""


class Shelf:
    """Opens or makes the folder `root`, which belongs to one process at a time.

    Raises Conflict when another process serves it, StoreError. `close` it, on the loop that used it.
    """

    def __init__(self, root: str, limits: Limits) -> None:
        self.root, self.limits = os.path.abspath(root), limits
        self._lock = _own(self.root)
        self._settled: dict[Digest, None] = {}
        self.work = Work()
        self.blobs = BlobStore.at(self.root)
        self.catalog = Catalog(f"{self.root}/registry.db", self.remove)
        self.sessions = Sessions(
            self.blobs, self.catalog, self.work, most=limits.uploads, age=limits.upload_age
        )

    def settle(self, digests: Iterable[Digest]) -> None:
        """See to it that content survives a power cut: what is pushed here may exist nowhere else."""
        for digest in digests:
            path = self.blobs.path(digest)
            if digest not in self._settled:
                with os_errors(path):
                    sync_path(path)
                    sync_path(os.path.dirname(path))
            self._settled[digest] = None
        while len(self._settled) > _REMEMBERED:
            self._settled.pop(next(iter(self._settled)), None)

    def remove(self, digest: Digest) -> None:
        """Delete content that no repository holds."""
        self._settled.pop(digest, None)
        self.blobs.delete(digest)

    async def close(self) -> None:
        """Let go of everything; unfinished uploads can be resumed."""
        await self.sessions.close()
        self.work.close()
        self.catalog.close()
        self.blobs.close()
        self._lock.release()


def _own(root: str) -> Lock:
    """Make the folder and lock it: sessions and pins live in the memory of one process."""
    with os_errors(root):
        private_dir(root)
        lock = Lock.attempt(f"{root}/registry.lock")
    if lock is None:
        raise Conflict(f"{root} is served by another process")
    return lock
