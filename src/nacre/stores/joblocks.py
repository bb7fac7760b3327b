"""Which process does a job that one at a time may do, and when it was done last.

A lock is held by time: a process that is killed or cut off loses it after `LOCKED` seconds. What a job
changes it looks at again in each transaction, so two that believe they hold it do work twice and no harm.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from .catalog import Catalog

LOCKED = 60.0
"""Seconds that a lock is held unless it is renewed."""


class JobLocks:
    """Those of one process, `owner`, in the catalog that all processes of the registry share."""

    def __init__(self, catalog: Catalog, owner: str, clock: Callable[[], float] = time.time) -> None:
        self._catalog, self._owner, self._clock = catalog, owner, clock

    def take(self, job: str, every: float) -> float:
        """0.0 if the lock is taken, and the job due; else seconds after which to ask again.

        It is due `every` seconds after it was last done anywhere, or first asked for. Raises StoreError.
        """
        with self._catalog.change() as db:
            return self._take(db, job, every, self._clock())

    def _take(self, db: sqlite3.Connection, job: str, every: float, now: float) -> float:
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
        with self._catalog.change() as db:
            sql = "UPDATE jobs SET until = ? WHERE name = ? AND owner = ?"
            return db.execute(sql, (self._clock() + LOCKED, job, self._owner)).rowcount > 0

    def end(self, job: str, *, done: bool = True) -> None:
        """Let go of it; unless it is `done`, it is due again at once. Raises StoreError."""
        ended = "ended = ?" if done else "ended = min(ended, ?)"
        with self._catalog.change() as db:
            sql = f"UPDATE jobs SET until = 0.0, {ended} WHERE name = ? AND owner = ?"
            db.execute(sql, (self._clock(), job, self._owner))
