"""Rows out of a damaged database, as far as they can be read and are what they should be.

It also says whether all rows of one are. Each value is checked, for a page of other bytes may still look like
rows. Blobs and trees do not come out, as the files say the same, nor steps and notes of builds, a cache.
"""

from __future__ import annotations

import os

from ..words import quickjson
from ..words.digest import Digest
from ..words.errors import NacreError
from ..words.oci import Descriptor
from .sqlite import sqlite3

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    Row = tuple[Any, ...]

_PAGE_SIZE = 8
"""Where the header of a log has the size of a page. Source: SQLite's file format, "WAL Header Format"."""


def _digests(text: str) -> None:
    for word in text.split():
        Digest(word)


def _descriptor(text: str) -> None:
    Descriptor.from_json(quickjson.loads(text))


def _layer(text: str) -> None:
    if text:
        _descriptor(text)


def _record(text: str) -> None:
    if not isinstance(quickjson.loads(text), dict):
        raise ValueError(text)


def _root(text: str) -> list[int]:
    """What a layer says of `/`: mode, uid, gid; or nothing."""
    return [int(word, base) for word, base in zip(text.split(), (8, 10, 10), strict=bool(text))]


_RIGHT: dict[str, Callable[[str], object]] = {
    "digest": Digest, "diff_id": Digest, "image": Digest, "layers": _digests, "descriptor": _descriptor,
    "config_json": _record, "root": _root, "layer": _layer,
}  # fmt: skip
"""What a column must hold in every table."""

_TABLES = {
    "layer": ("digest", "diff_id", "media_type", "size", "added", "recipe"),
    "source": ("digest", "repository", "added"),
    "image": ("digest", "descriptor", "added"),
    "ref": ("name", "digest", "descriptor", "updated"),
    "container": (
        "id", "name", "image", "image_ref", "created", "state", "pid", "pid_start", "exit_code", "started",
        "finished", "command", "config_json", "auto_remove", "boot",
    ),
    "active": ("key", "driver", "layers", "created"),
}  # fmt: skip
_OTHERS = {
    "blob": ("digest", "size", "synced", "written", "used"),
    "tree": ("diff_id", "driver", "size", "root", "synced", "written", "used"),
    "step": ("key", "parent", "layer", "inputs", "created", "used"),
}
"""What the files say as well, or a cache only."""
_NUMBERS = frozenset({
    "size", "added", "updated", "created", "pid", "pid_start", "exit_code", "started", "finished",
    "auto_remove", "synced", "written", "used",
})  # fmt: skip


def fault(query: Callable[[str], Iterable[Row]]) -> str:
    """The first row that is not what it should be, one phrase; "" for none. `query` gives rows of SQL."""
    for table, columns in (_TABLES | _OTHERS).items():
        for row in query(f"SELECT {', '.join(columns)} FROM {table}"):
            if not _is_right(dict(zip(columns, row, strict=True))):
                return f"it is damaged: the row of {table} {row[0]} has a value that cannot be one"
    return ""


def rows(path: str) -> Iterator[tuple[str, Row]]:
    """(table, row) of all that is good in the database `path`. Opening it changes the file."""
    _give_pages(path)
    try:
        connection = sqlite3.connect(path, isolation_level=None)
    except sqlite3.Error:
        return
    try:
        for table, columns in _TABLES.items():
            for row in _read(connection, table, columns):
                if _is_right(dict(zip(columns, row, strict=True))):
                    yield table, row
    finally:
        connection.close()


def _give_pages(path: str) -> None:
    """Beside an empty file SQLite would remove the log without reading it."""
    if os.path.exists(path) and os.stat(path).st_size:
        return
    try:
        with open(f"{path}-wal", "rb") as log:
            size = int.from_bytes(log.read(32)[_PAGE_SIZE : _PAGE_SIZE + 4], "big")
        with open(path, "wb") as file:
            file.write(bytes(min(size, 1 << 16)))
    except OSError:
        return


def _read(connection: sqlite3.Connection, table: str, columns: tuple[str, ...]) -> Iterator[Row]:
    """From both ends, for a page in the middle may be the one that is damaged."""
    sql = f"SELECT {', '.join(columns)} FROM {table} ORDER BY {columns[0]}"
    yield from _until_damaged(connection, sql)
    yield from _until_damaged(connection, f"{sql} DESC")


def _until_damaged(connection: sqlite3.Connection, sql: str) -> Iterator[Row]:
    try:
        # "database disk image is malformed" for a file that was cut is left out then (sqlite3.c, lockBtree)
        connection.execute("PRAGMA writable_schema=ON")
        yield from connection.execute(sql)
    except (sqlite3.Error, UnicodeError):
        return


def _is_right(row: dict[str, Any]) -> bool:
    try:
        return all(_holds(column, value) for column, value in row.items())
    except (NacreError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False


def _holds(column: str, value: object) -> bool:
    if column in _NUMBERS:
        return isinstance(value, int | float)
    if isinstance(value, str) and column in _RIGHT:
        _RIGHT[column](value)
    return isinstance(value, str)
