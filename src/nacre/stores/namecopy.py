"""The names and accounts of a registry as they are at one moment, in a SQLite file of its own.

A file is copied by SQLite itself. Of a server every row of every table is read in one transaction, which sees
what there was at its begin, and written into a file of the same schema: so a backup is the same whatever the
registry is kept in, and can be restored into anything. What is only going on (uploads, jobs), and where a
bucket has which content, is left out: the backup has the content by digest.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from ..ground.files import os_errors, random_name, unlink
from ..words.errors import StoreError
from .catalog import SqliteDatabase, is_url
from .catalog.opening import open_database
from .catalog.sqlite import check_database, copy_database, sqlite_errors
from .catalog.steps import STEPS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .catalog.model import CatalogTransaction

    Row = tuple[Any, ...]

PASSING = "uploads", "upload_parts", "jobs"
"""Tables of what is only going on."""
_BUCKET = "contents", "discarded", "bucket"
_AT_ONCE = 1000
_NEW = "names-"
_OLD = 24 * 3600.0
_HAS_ACCOUNTS = """
    SELECT 1 FROM information_schema.tables
    WHERE table_schema = current_schema() AND table_name = 'users'"""
_NUMBERED = "SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'"
_STRANGE = "SELECT name FROM sqlite_master WHERE type IN ('trigger', 'view') OR sql LIKE '%VIRTUAL%' LIMIT 1"


def tables() -> list[str]:
    """Those of the catalog that last, in the order in which they were made."""
    named = re.findall(r"CREATE TABLE (\w+)", "".join(STEPS))
    return [name for name in named if name not in PASSING]


def copy_names(place: str, path: str) -> None:
    """Of the database at `place`, path or URL, into the new file `path`. Raises StoreError, Unavailable."""
    if is_url(place):
        _copy_server(place, path)
    else:
        copy_database(place, path)
    with sqlite_errors(), closing(sqlite3.connect(path)) as made, made:
        for table in (*PASSING, *_BUCKET):
            made.execute(f"DELETE FROM {table}")


def temporary_names(root: str, place: str) -> str:
    """As `copy_names`, into a file in the folder `root`, whose path is given: `remove_names` it.

    What a kill left there a day ago goes; another process may use the folder for its own.
    """
    with os_errors(f"tidy {root}"), os.scandir(root) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if entry.name.startswith(_NEW) and time.time() - entry.stat().st_mtime > _OLD:
                    unlink(entry.path)
    path = f"{root}/{_NEW}{random_name()}.db"
    try:
        copy_names(place, path)
    except BaseException:
        remove_names(path)
        raise
    return path


def remove_names(path: str, *, but_the_file: bool = False) -> None:
    """A SQLite file, with what stands beside it, which goes first. Raises StoreError."""
    with os_errors(f"remove {path}"):
        for end in ("-wal", "-shm", "-journal", *(() if but_the_file else ("",))):
            unlink(path + end)


def check_names(path: str) -> None:
    """Of a file that came from somebody else. Raises StoreError unless it is a database that is whole, and
    nothing in it runs by itself.
    """
    with sqlite_errors(), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as found:
        found.execute("PRAGMA trusted_schema = OFF")
        if strange := found.execute(_STRANGE).fetchone():
            raise StoreError(f"{path} is no backup of a registry: it has {strange[0]!r:.100}")
    check_database(path)


def _copy_server(url: str, path: str) -> None:
    SqliteDatabase(path).close()
    with closing(open_database(url)) as found:
        found.snapshot(lambda db: _Copy(db, path).run())


class _Copy:
    """Every row that `db` sees, into the file `path`, whose tables are empty."""

    def __init__(self, db: CatalogTransaction, path: str) -> None:
        self._db, self._path = db, path

    def run(self) -> None:
        """Copy them all. Raises StoreError."""
        accounts = self._account_tables() if self._db.execute(_HAS_ACCOUNTS).fetchall() else []
        with sqlite_errors(), closing(sqlite3.connect(self._path, isolation_level=None)) as made:
            made.execute("BEGIN")
            for table in (*(name for name in tables() if name not in _BUCKET), *accounts):
                self._copy(made, table)
            for (table,) in made.execute(_NUMBERED).fetchall():
                self._go_on(made, table)
            made.execute("COMMIT")

    def _account_tables(self) -> list[str]:
        from .accounts.database import AccountsDatabase
        from .accounts.schema import METADATA

        AccountsDatabase(self._path).close()
        return [table.name for table in METADATA.sorted_tables]

    def _copy(self, made: sqlite3.Connection, table: str) -> None:
        columns = ", ".join(f'"{row[1]}"' for row in made.execute(f'PRAGMA table_info("{table}")'))
        holes = ", ".join("?" for _ in columns.split(", "))
        for rows in self._rows(f'SELECT {columns} FROM "{table}"'):
            made.executemany(f'INSERT INTO "{table}" ({columns}) VALUES ({holes})', rows)

    def _rows(self, sql: str) -> Iterator[list[Row]]:
        self._db.execute(f"DECLARE copied NO SCROLL CURSOR FOR {sql}")
        while rows := self._db.execute(f"FETCH {_AT_ONCE} FROM copied").fetchall():
            yield rows
        self._db.execute("CLOSE copied")

    def _go_on(self, made: sqlite3.Connection, table: str) -> None:
        """New rows get numbers that no row ever had."""
        sql = f"SELECT last_value FROM {self._sequence(table)} WHERE is_called"
        for (last,) in self._db.execute(sql).fetchall():
            made.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
            made.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, last))

    def _sequence(self, table: str) -> str:
        return str(self._db.execute(f"SELECT pg_get_serial_sequence('\"{table}\"', 'id')").fetchall()[0][0])
