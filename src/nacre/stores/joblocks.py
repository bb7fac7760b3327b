"""Which process does a job that one at a time may do, and when it was done last.

A lock is held by time: a process that is killed or cut off loses it after `LOCKED` seconds. What a job
changes it looks at again in each transaction, so two that believe they hold it do work twice and no harm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .catalog import Catalog
    from .catalog.model import CatalogTransaction

LOCKED = 60.0
"""Seconds that a lock is held unless it is renewed."""


class JobLocks:
    """Those of one process, `owner`, in the catalog that all processes of the registry share."""

    def __init__(self, catalog: Catalog, owner: str) -> None:
        self._catalog, self._owner = catalog, owner

    def take(self, job: str, every: float) -> float:
        """0.0 if the lock is taken, and the job due; else seconds after which to ask again.

        It is due `every` seconds after it was last done anywhere, or first asked for. Raises StoreError.
        """
        return self._catalog.change(lambda db: self._take(db, job, every))

    def _take(self, db: CatalogTransaction, job: str, every: float) -> float:
        db.lock(f"job {job}")
        now = db.now()
        db.execute("INSERT INTO jobs VALUES (?, '', 0.0, ?) ON CONFLICT DO NOTHING", (job, now))
        sql = "SELECT owner, until, ended FROM jobs WHERE name = ?"
        owner, until, ended = db.execute(sql, (job,)).fetchone()
        if owner != self._owner and now < until <= now + LOCKED:
            return float(until - now)
        if ended > now:  # the clock was set back
            db.execute("UPDATE jobs SET ended = ? WHERE name = ?", (now, job))
        if (left := min(ended, now) + every - now) > 0:
            return float(left)
        sql = "UPDATE jobs SET owner = ?, until = ? WHERE name = ?"
        db.execute(sql, (self._owner, now + LOCKED, job))
        return 0.0

    def renew(self, job: str) -> bool:
        """Hold it for longer; False if another process has taken it. Raises StoreError."""

        def renew(db: CatalogTransaction) -> bool:
            sql = "UPDATE jobs SET until = ? WHERE name = ? AND owner = ?"
            return db.execute(sql, (db.now() + LOCKED, job, self._owner)).rowcount > 0

        return self._catalog.change(renew)

    def end(self, job: str, *, done: bool = True) -> None:
        """Let go of it; unless it is `done`, it is due again at once. Raises StoreError."""
        ended = "?" if done else "CASE WHEN ended < ?1 THEN ended ELSE ?1 END"
        sql = f"UPDATE jobs SET until = 0.0, ended = {ended} WHERE name = ? AND owner = ?"
        self._catalog.change(lambda db: db.execute(sql, (db.now(), job, self._owner)))
