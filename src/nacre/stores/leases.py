"""What running work needs is not garbage.

A lease is a file that its holder keeps locked; the kernel lets go of it when the holder dies, in any
pid namespace. Content that was made or looked up since the oldest living lease began is never swept.
Work that makes content without holding a lease gets one for as long as its `Store` is open.

"Since" is counted by a clock of the store's own that ticks when a lease begins, so that no change of
the machine's time matters.
"""

from __future__ import annotations

import os
from _thread import RLock

from ..ground.files import Lock, os_errors, private_dir, random_name, trace
from .database import Database
from .layout import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class Lease:
    """Held until `close`, the end of the `with` block, or the death of the process."""

    def __init__(self, store: LeaseStore, id: str, lock: Lock, began: int) -> None:
        self._store, self.id, self._lock, self.began = store, id, lock, began

    def add(self, kind: str, key: str) -> None:
        """Keep `kind` ('active', 'container', 'step' by key; 'blob', 'tree' by digest) by name as well."""
        self._store._database.change(
            "INSERT OR IGNORE INTO lease_item VALUES (?, ?, ?)", (self.id, kind, key)
        )

    def close(self) -> None:
        """Release the lease. Idempotent."""
        if self._lock.fd >= 0:
            self._store._drop(self)
            trace("lease:forgotten")
            self._lock.release(remove=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class LeaseStore:
    """The leases of one store."""

    def __init__(self, folder: str, database: Database) -> None:
        self._folder, self._database = folder, database
        self._mutex = RLock()
        self._held: list[Lease] = []
        self._implicit: Lease | None = None

    @property
    def began(self) -> int:
        """When the oldest lease of this `Store` began; 0 when it holds none."""
        return self._held[0].began if self._held else 0

    def hold(self) -> Lease:
        """Begin a lease: everything this `Store` adds or finds (`has`) from now on is kept until it ends.

        Raises StoreError.
        """
        from .syncing import mark_synced

        id = random_name()
        with os_errors("take a lease"):
            mark_synced(os.path.dirname(self._folder), self._database)
            private_dir(self._folder)
            lock = Lock(self._file(id))
        trace("lease:locked")
        with self._mutex:
            lease = Lease(self, id, lock, self._begin(id))
            self._held.append(lease)
        trace("lease:begun")
        return lease

    def _begin(self, id: str) -> int:
        with self._database.transaction():
            self._database.change("UPDATE clock SET now = now + 1")
            self._database.change("INSERT INTO lease SELECT ?, now FROM clock", (id,))
            row = self._database.one("SELECT now FROM clock")
        return int(row[0]) if row else 0

    def current(self) -> Lease:
        """A lease of this `Store`; begun when there is none, and then held until `release`."""
        with self._mutex:
            if not self._held:
                self._implicit = self.hold()
            return self._held[-1]

    def release(self) -> None:
        """Let go of the lease that `current` began, if any."""
        with self._mutex:
            if self._implicit:
                self._implicit.close()
            self._implicit = None

    def release_all(self) -> None:
        """Let go of every lease of this `Store`."""
        for lease in list(self._held):
            lease.close()

    def living(self) -> list[tuple[str, int]]:
        """(id, began) of every lease whose holder lives; those of the dead are removed."""
        return [
            (id, began)
            for id, began in self._database.execute("SELECT id, began FROM lease ORDER BY began")
            if self._lives(id)
        ]

    def unrecorded(self) -> list[str]:
        """Files of leases that never came to be. Those of holders that have died go on the way.

        Raises StoreError.
        """
        with os_errors(f"list {self._folder}"):
            found = names(self._folder)
        living = {id for id, _ in self.living()}
        return [id for id in found if id not in living and os.path.exists(self._file(id))]

    def tidy(self) -> None:
        """Remove files of leases that never came to be."""
        for id in os.listdir(self._folder):
            self._lives(id)

    def _lives(self, id: str) -> bool:
        with os_errors("look at a lease"):
            lock = Lock.attempt(self._file(id))
        if lock is None:
            return True
        self._forget(id)
        lock.release(remove=True)
        return False

    def _drop(self, lease: Lease) -> None:
        with self._mutex:
            if lease in self._held:
                self._held.remove(lease)
            if lease is self._implicit:
                self._implicit = None
        self._forget(lease.id)

    def _forget(self, id: str) -> None:
        with self._database.transaction():
            self._database.change("DELETE FROM lease WHERE id = ?", (id,))
            self._database.change("DELETE FROM lease_item WHERE lease = ?", (id,))

    def _file(self, id: str) -> str:
        return os.path.join(self._folder, id)
