"""A catalog in one SQLite file.

Every change is one IMMEDIATE transaction: what it checks still holds when it commits, as nobody else writes
meanwhile. Reads never wait for a writer (WAL), and take some 20 µs, so an event loop makes them itself.

SQLite can sync its log in each commit (`synchronous = FULL`), while nobody else may write: eight clients
that push then wait for eight syncs in a row. Here a commit ends without (`NORMAL`), the next one begins, and
one sync serves all threads that wait by then. What was committed is seen a moment before it is safe. Nobody
relies on that in vain: what a later change builds on stands before it in the log.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

from ...ground.files import os_errors
from ...ground.work.syncing import DiskWait
from ...words.errors import DiskFull, StoreError
from .checkpoints import Checkpoints
from .steps import STEPS, VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    from ...words.digest import Digest
    from .model import CatalogTransaction

    T = TypeVar("T")


_STALE = 0.005
"""Seconds after which SQLite is asked whether another process has changed something: that takes 5 µs."""
_IDLE = 4
"""Connections for long questions that are kept open."""


class SqliteDatabase:
    """Opens or makes the database `path`, and brings it up to date. Close it. Raises StoreError."""

    is_remote, registry = False, ""

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        self.now, self._path = clock, path
        self._write_lock, self._read_lock = threading.Lock(), threading.Lock()
        self._numbers, self._version, self._looked, self._seen = count(1), 0, 0.0, -1
        self._idle: list[_SqliteConnection] | None = []
        self._log, self._is_broken = DiskWait(f"{path}-wal", os.fdatasync), False
        self._checkpoints = Checkpoints(lambda: _connect(path), self._write_lock)
        with os_errors(f"open {path}"):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        with sqlite_errors(), ExitStack() as opened:
            self._writer = opened.enter_context(closing(_connect(path)))
            self._writer.now = clock
            _prepare(self._writer)
            for pragma in ("synchronous = NORMAL", "wal_autocheckpoint = 0"):
                self._writer.execute(f"PRAGMA {pragma}")
            self._reader = opened.enter_context(closing(_connect(path)))
            opened.pop_all()

    def close(self) -> None:
        """Close the database. Nothing may be called afterwards."""
        self._checkpoints.close()
        idle, self._idle = self._idle or [], None
        with self._write_lock, self._read_lock:
            for connection in (*idle, self._writer, self._reader):
                connection.close()

    def version(self) -> int:
        """Another number after each change, after one of another process within 5 ms."""
        now = time.monotonic()
        if now - self._looked > _STALE:
            (found,) = self.read("PRAGMA data_version")[0]
            if found != self._seen:  # perhaps by a change of our own: then there is one number more
                self._seen, self._version = found, next(self._numbers)
            self._looked = now
        return self._version

    def read(self, sql: str, *values: object) -> list[Any]:
        """What was committed, which takes no time."""
        try:
            with self._read_lock:
                return self._reader.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise _translated(error) from error

    def listed(self, sql: str, *values: object) -> list[Any]:
        """What may take long: by a connection of its own, so that nobody waits for it."""
        with sqlite_errors():
            connection = self._free()
            try:
                return connection.execute(sql, values).fetchall()
            finally:
                self._put_back(connection)

    def _free(self) -> _SqliteConnection:
        try:
            return (self._idle or []).pop()
        except IndexError:
            return _connect(self._path)

    def _put_back(self, connection: _SqliteConnection) -> None:
        idle = self._idle
        if idle is None or len(idle) >= _IDLE:
            connection.close()
        else:
            idle.append(connection)

    def every(self, table: str, columns: Sequence[str], keys: int) -> Iterator[Any]:
        """The rows of a table, none if there is no such table; text that cannot be decoded comes as bytes."""
        there = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
        with sqlite_errors(), closing(sqlite3.connect(self._path, isolation_level=None)) as db:
            db.text_factory = _text_or_bytes
            if db.execute(there, (table,)).fetchone():
                yield from db.execute(f"SELECT {quoted(columns)} FROM {table} NOT INDEXED")

    def problems(self) -> list[str]:
        """What SQLite finds wrong with the file, some of it."""
        with sqlite_errors(), closing(_connect(self._path)) as db:
            rows = db.execute("PRAGMA integrity_check(20)").fetchall()
        return [row[0] for row in rows if row[0] != "ok"]

    def rebuild_indexes(self) -> None:
        """Make all indexes again from the tables."""
        with self._write_lock, sqlite_errors():
            self._writer.execute("REINDEX")

    def change(self, function: Callable[[CatalogTransaction], T], *, durable: bool = True) -> T:
        """`function(transaction)`, which nobody else's change comes between. Files of `orphans` go only when
        it is on the disk.
        """
        with self._write_lock, sqlite_errors():
            self._check()
            before = self._writer.total_changes
            answer = self._run(function)
            rows = self._writer.total_changes - before
            self._checkpoints.count(rows)
            durable = rows > 0 and (durable or bool(self._writer.orphans))
        if durable:
            self._sync()
        return answer

    def _check(self) -> None:
        """After a sync that failed nobody knows what is in the log."""
        if self._is_broken:
            raise StoreError(f"{self._path} could not be written to the disk: start the registry again")

    def _sync(self) -> None:
        try:
            self._log.wait()
        except StoreError:
            self._is_broken = True
            raise

    def _run(self, function: Callable[[CatalogTransaction], T]) -> T:
        self._writer.execute("BEGIN IMMEDIATE")
        self._writer.orphans = []
        try:
            answer = function(self._writer)
        except BaseException:
            self._writer.execute("ROLLBACK")
            raise
        self._commit()
        return answer

    def snapshot(self, function: Callable[[CatalogTransaction], T]) -> T:
        """`function(transaction)` of what is there at one moment; it only reads."""
        return self.change(function)

    def _commit(self) -> None:
        try:
            self._writer.execute("COMMIT")
            self._version = next(self._numbers)
        except sqlite3.Error:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise


def quoted(columns: Sequence[str]) -> str:
    """A list of names for a statement: some are words of SQL."""
    return ", ".join(f'"{column}"' for column in columns)


def _text_or_bytes(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def copy_database(source: str, target: str) -> None:
    """Make `target` a copy of a database as it is at one moment, whoever writes. Raises StoreError."""
    with os_errors(f"write {target}"):
        os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with sqlite_errors(), closing(_connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def check_database(path: str) -> None:
    """Raises StoreError for a file that is damaged or no database."""
    with sqlite_errors(), closing(sqlite3.connect(path)) as db:
        found = db.execute("PRAGMA quick_check").fetchone()[0]
    if found != "ok":
        raise StoreError(f"{path} is damaged: {found}")


class _SqliteConnection(sqlite3.Connection):
    now: Callable[[], float]
    orphans: list[Digest]

    def lock(self, *keys: str) -> None:
        """Whoever writes has the whole database."""


def _connect(path: str) -> _SqliteConnection:
    connection = sqlite3.connect(
        path, timeout=30, isolation_level=None, check_same_thread=False, factory=_SqliteConnection
    )
    try:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(db: sqlite3.Connection) -> None:
    found = db.execute("PRAGMA user_version").fetchone()[0]
    if found > VERSION:
        raise StoreError(f"the registry was written by a newer nacre (version {found}, known {VERSION})")
    if found < VERSION:
        steps = "".join(STEPS[found:])
        db.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {VERSION}; COMMIT;")


@contextmanager
def sqlite_errors() -> Iterator[None]:
    """What SQLite says, as StoreError."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translated(error) from error


def _translated(error: sqlite3.Error) -> StoreError:
    if getattr(error, "sqlite_errorname", "").startswith("SQLITE_FULL"):
        return DiskFull("registry database: no space left on device")
    return StoreError(f"registry database: {error}")
