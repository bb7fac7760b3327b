"""A registry into other places: its content into a bucket, its names and accounts into a server.

    content   each object is hashed as it is sent, and noted when it is there; what is noted is asked for
    names     every row of every table, in one transaction of a database that has no registry yet

What was broken off goes on when it is begun again. A mark in the names says whose they are: so who comes
again after the transaction finds its own work, and not somebody else's registry.
"""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import closing
from threading import Lock
from typing import TYPE_CHECKING, Any

from ..ground.files import os_errors
from ..words.digest import Digest, Verifier
from ..words.errors import Conflict, ContentError, StoreError
from .catalog import Catalog, SqliteDatabase
from .catalog.opening import open_database, remember
from .copying import OTHER, content_path
from .marks import Marks
from .namecopy import tables
from .storage.bucket import Bucket
from .storage.objects import ObjectStorage
from .storage.protocol import Placed
from .storage.rows import BucketContents, ObjectRows
from .storage.uploads import NewObject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..words.progress import Task
    from ..words.rules import StorageRules
    from .catalog.model import CatalogDatabase, CatalogTransaction

    Row = tuple[Any, ...]

_MARK = "restore"
_PIECE = 1 << 20
_AT_ONCE = 1000
_CARRIED = ("bucket", "name, listed"), ("contents", "digest, key, size, tag, damaged")
_NUMBERED = """
    SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()
    AND (is_identity = 'YES' OR column_default LIKE 'nextval(%')"""


class CarriedRows:
    """What a restore that was broken off has done, from the file of names that it has left."""

    def __init__(self, path: str = "") -> None:
        self._mark = secrets.token_hex(16)
        self._rows: dict[str, list[Row]] = {}
        if path:
            with closing(SqliteDatabase(path)) as before:
                self._mark = _mark_of(before) or self._mark
                for table, columns in _CARRIED:
                    self._rows[table] = before.listed(f"SELECT {columns} FROM {table}")

    def put(self, path: str) -> None:
        """Into the file of names of this one. Raises StoreError."""
        with closing(SqliteDatabase(path)) as found:
            Marks(Catalog(found, BucketContents())).set(_MARK, self._mark)
            found.change(self._insert)

    def _insert(self, db: CatalogTransaction) -> None:
        for table, columns in _CARRIED:
            holes = ", ".join("?" for _ in columns.split())
            db.executemany(f"INSERT INTO {table} ({columns}) VALUES ({holes})", self._rows.get(table, []))


def unmark(path: str) -> None:
    """It has come to its end. Raises StoreError."""
    with closing(open_database(path)) as found:
        found.change(_unmark)


def _unmark(db: CatalogTransaction) -> None:
    db.execute("DELETE FROM marks WHERE name = ?", (_MARK,))


def _mark_of(found: CatalogDatabase) -> str:
    rows = found.listed("SELECT value FROM marks WHERE name = ?", _MARK)
    return str(rows[0][0]) if rows else ""


class BucketCopy:
    """From the folder `source` into the bucket that `rules` name, which must be this registry's or nobody's.
    The names are in `database`. Any thread may `bring`. Raises Conflict, Unsupported, Unavailable.
    """

    def __init__(self, source: str, rules: StorageRules, database: SqliteDatabase, task: Task) -> None:
        self._source, self._task, self._lock = source, task, Lock()
        self._catalog, self._bucket = Catalog(database, BucketContents()), Bucket(rules)
        self._storage = ObjectStorage(self._bucket, ObjectRows(self._catalog))
        self.missing: dict[str, int] = {}
        self.damaged: dict[str, str] = {}

    def begin(self, size: int) -> None:
        """So many bytes are to come."""
        self.missing.clear()
        self._task.phase("Copying", size)

    def bring(self, digest: str, size: int) -> None:
        """Have it there, or note it as missing or damaged. Raises StoreError, Unavailable."""
        found = self._storage.locate(Digest(digest), size)
        if found and not self._storage.problem(found):
            self._task.advance(size)
            return
        try:
            placed = self._send(digest, size)
        except FileNotFoundError:
            self._note(self.missing, digest, size)
        except ContentError:
            self._note(self.damaged, digest, OTHER)
        else:
            self._catalog.change(lambda db: BucketContents().keep(db, placed))

    def _note(self, where: dict[str, Any], digest: str, what: object) -> None:
        with self._lock:
            where[digest] = what

    def _send(self, digest: str, size: int) -> Placed:
        verifier, made = Verifier(Digest(digest), size), NewObject(self._bucket, size)
        path = content_path(self._source, digest)
        with open(path, "rb", buffering=0) as file:
            while data := _read(file, path):
                verifier.update(data)
                made.write(data)
                self._task.advance(len(data))
        verifier.verify()
        part = made.complete(0)
        return Placed(Digest(digest), size, part.key, part.tag)


def _read(file: Any, path: str) -> bytes:
    with os_errors(f"read {path}"):
        return bytes(file.read(_PIECE))


def move_names(path: str, url: str, root: str) -> None:
    """All rows of the file into the server at `url`, which the folder `root` then remembers.

    Raises Conflict where it has a registry already, UsageError, Unsupported, StoreError, Unavailable.
    """
    with closing(open_database(url)) as target, closing(_reader(path)) as source:
        if _mark_of(target) != _stored_mark(source):
            move = _Move(source, _account_tables(path, url, source))
            target.change(move.run)
        remember(root, url, target)


def _reader(path: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)


def _stored_mark(source: sqlite3.Connection) -> str:
    return str(source.execute("SELECT value FROM marks WHERE name = ?", (_MARK,)).fetchone()[0])


def _account_tables(path: str, url: str, source: sqlite3.Connection) -> dict[str, frozenset[str]]:
    """Those of accounts, if there are any, with the columns that say yes or no; both sides are brought up to
    date.
    """
    if not source.execute("SELECT 1 FROM sqlite_master WHERE name = 'users'").fetchone():
        return {}
    from sqlalchemy import Boolean

    from .accounts.database import AccountsDatabase
    from .accounts.schema import METADATA

    for place in (path, url):
        AccountsDatabase(place).close()
    return {
        table.name: frozenset(column.name for column in table.columns if isinstance(column.type, Boolean))
        for table in METADATA.sorted_tables
    }


class _Move:
    """Every row of `source`, with `accounts` as `_account_tables` gives them."""

    def __init__(self, source: sqlite3.Connection, accounts: dict[str, frozenset[str]]) -> None:
        self._source, self._accounts = source, accounts
        self._tables = [*tables(), *accounts]

    def run(self, db: CatalogTransaction) -> None:
        """In one transaction. Raises Conflict, StoreError."""
        try:
            for table in self._tables:
                if db.execute(f'SELECT 1 FROM "{table}" LIMIT 1').fetchall():
                    raise Conflict("the database has a registry already", hint="give it an empty one")
            for table in self._tables:
                self._copy(db, table)
            for table, column in db.execute(_NUMBERED).fetchall():
                self._go_on(db, table, column)
        except sqlite3.Error as error:
            raise StoreError(f"registry database: {error}") from error

    def _copy(self, db: CatalogTransaction, table: str) -> None:
        columns = [row[1] for row in self._source.execute(f'PRAGMA table_info("{table}")')]
        named = ", ".join(f'"{column}"' for column in columns)
        sql = f'INSERT INTO "{table}" ({named}) VALUES ({", ".join("?" for _ in columns)})'
        truths = [number for number, name in enumerate(columns) if name in self._accounts.get(table, ())]
        cursor = self._source.execute(f'SELECT {named} FROM "{table}"')
        while rows := cursor.fetchmany(_AT_ONCE):
            db.executemany(sql, list(_truthful(rows, truths)) if truths else rows)

    def _go_on(self, db: CatalogTransaction, table: str, column: str) -> None:
        """New rows get numbers that no row ever had."""
        if table not in self._tables:
            return
        last = self._source.execute(f'SELECT coalesce(max("{column}"), 0) FROM "{table}"').fetchone()[0]
        sql = "SELECT seq FROM sqlite_sequence WHERE name = ?"
        known = self._source.execute(sql, (table,)).fetchone()
        if most := max(last, known[0] if known else 0):
            db.execute(f"SELECT setval(pg_get_serial_sequence('\"{table}\"', '{column}')::regclass, {most})")


def _truthful(rows: list[Row], truths: list[int]) -> Iterator[list[Any]]:
    for row in rows:
        values = list(row)
        for number in truths:
            values[number] = None if values[number] is None else bool(values[number])
        yield values
