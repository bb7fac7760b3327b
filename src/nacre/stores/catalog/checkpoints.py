"""Moves the log of a SQLite database into the database, beside the changes."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 300
"""Changed rows after which the log is moved: some four MiB of it."""
LONG = 4000
"""Pages after which nobody may write until the rest is moved, too."""
_PASSIVE = "PRAGMA wal_checkpoint(PASSIVE)"


class Checkpoints:
    """Moves what the log holds, in a thread.

    SQLite does it in the commit that makes the log long: after a collection of garbage these are many pages
    all over a large file, and nobody else writes meanwhile. `connect` opens the database, `writing` is the
    lock of whoever changes it.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], writing: threading.Lock) -> None:
        self._connect, self._writing = connect, writing
        self._db: sqlite3.Connection | None = None
        self._rows, self._running = 0, threading.Lock()

    def count(self, rows: int) -> None:
        """So many rows were changed, by whoever may write now."""
        self._rows += rows
        if self._rows >= ROWS and self._running.acquire(blocking=False):
            self._rows = 0
            try:
                threading.Thread(target=self._run, name="nacre-checkpoint", daemon=True).start()
            except RuntimeError:  # no thread to be had: next time
                self._running.release()

    def _run(self) -> None:
        try:
            with suppress(sqlite3.Error):  # on a full disk, say: the log is whole, and grows
                self._move()
        finally:
            self._running.release()

    def _move(self) -> None:
        if self._db is None:
            self._db = self._connect()
        _, pages, moved = self._db.execute(_PASSIVE).fetchone()
        if pages >= LONG and moved < pages:  # SQLite begins the log anew only when nothing is left in it
            with self._writing:
                self._db.execute(_PASSIVE).fetchone()

    def close(self) -> None:
        """Wait for what runs. Nothing may be called afterwards."""
        with self._running:
            if self._db:
                self._db.close()
