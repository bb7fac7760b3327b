"""Where accounts are read from: the file or the server that has the catalog as well."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from ...words.errors import NacreError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from ..catalog.model import CatalogDatabase

    class AccountsSource(Protocol):
        """Answers questions from any thread. Everything raises StoreError, Unavailable."""

        is_remote: bool
        place: str
        """The path, or the URL."""

        def rows(self, sql: str, *values: object) -> list[Any]:
            """What was committed, all of it."""

        def has_tables(self) -> bool:
            """Has there ever been an account?"""

        def changes(self, *, now: bool = False) -> str:
            """Another text whenever somebody has changed accounts; "" where there are none. `now`: also
            what was changed only just, for which a server is asked.
            """

        def before_change(self, prepare: Callable[[str], object]) -> None:
            """Call this with each new text before `changes` gives it, where a thread looks for that."""

        def close(self) -> None:
            """Nothing may be called afterwards."""


COUNT = "SELECT value FROM settings WHERE name = 'changes'"
_EVERY = 0.5
"""Seconds from one question to a server to the next."""


class SqliteSource:
    """The database file `place`. That it has changed SQLite tells in 5 µs (PRAGMA data_version); whether it
    was by a push or by the administration a count says.
    """

    is_remote = False

    def __init__(self, place: str) -> None:
        self.place, self._lock = place, threading.Lock()
        self._version, self._changes = -1, ""
        self._db = sqlite3.connect(place, timeout=30, isolation_level=None, check_same_thread=False)

    def rows(self, sql: str, *values: object) -> list[Any]:
        """What was committed, all of it."""
        try:
            with self._lock, closing(self._db.execute(sql, values)) as cursor:
                return cursor.fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"registry database: {error}") from error

    def has_tables(self) -> bool:
        """Has there ever been an account?"""
        return bool(self.rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'users'"))

    def changes(self, *, now: bool = False) -> str:
        """Another text whenever somebody has changed accounts; "" where there are none."""
        ((number,),) = self.rows("PRAGMA data_version")
        if number != self._version:
            self._version, self._changes = number, count_of(self)
        return self._changes

    def before_change(self, prepare: Callable[[str], object]) -> None:
        """Nobody looks: what is asked is answered at once."""

    def close(self) -> None:
        """Nothing may be called afterwards."""
        with self._lock:
            self._db.close()


class RemoteSource:
    """The server that `database` asks, at the URL `place`. A thread asks it for changes: an event loop wants
    to know at each request, and must not wait. While it does not answer, what is known holds. `close` closes
    a database that is `owned`.
    """

    is_remote = True

    def __init__(self, database: CatalogDatabase, place: str, *, owned: bool = False) -> None:
        self.place, self.rows = place, database.read
        self._database = database if owned else None
        self._prepare: Callable[[str], object] = lambda _changes: None
        self._changes, self._closed = count_of(self), threading.Event()
        self._thread = threading.Thread(target=self._follow, name="nacre-accounts", daemon=True)
        self._thread.start()

    def has_tables(self) -> bool:
        """Has there ever been an account?"""
        return self.rows("SELECT to_regclass('users')")[0][0] is not None

    def changes(self, *, now: bool = False) -> str:
        """As it was half a second ago, unless it is asked for `now`."""
        if now:
            self._changes = count_of(self)
        return self._changes

    def before_change(self, prepare: Callable[[str], object]) -> None:
        """Also once now, for the text that there is."""
        self._prepare = prepare
        prepare(self._changes)

    def _follow(self) -> None:
        while not self._closed.wait(_EVERY):
            with suppress(NacreError):
                self._look()

    def _look(self) -> None:
        changes = count_of(self)
        if changes != self._changes:
            self._prepare(changes)
            self._changes = changes

    def close(self) -> None:
        """Nothing may be called afterwards."""
        self._closed.set()
        self._thread.join()
        if self._database:
            self._database.close()


def count_of(source: AccountsSource) -> str:
    """What counts the changes."""
    rows = source.rows(COUNT) if source.has_tables() else []
    return str(rows[0][0]) if rows else ""
