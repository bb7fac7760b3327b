"""Rows out of a damaged database, as far as they can be read and are what they should be.

Each value is checked, for a page of other bytes may still look like rows. Blobs and trees are left out,
since the files say the same, and so are build steps and notes, which are only a cache.
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
    from collections.abc import Callable, Iterator
    from typing import Any

    Row = tuple[Any, ...]

_PAGE_SIZE = 8
"""Where the header of a log has the size of a page. Source: SQLite's file format, "WAL Header Format"."""


def _digests(text: str) -> None:
    for word in text.split():
        Digest(word)


def _descriptor(text: str) -> None:
    Descriptor.from_json(quickjson.loads(text))


_RIGHT: dict[str, Callable[[str], object]] = {
    "digest": Digest, "diff_id": Digest, "image": Digest, "layers": _digests, "descriptor": _descriptor,
    "config_json": quickjson.loads,
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
_NUMBERS = frozenset(
    (
        "size",
        "added",
        "updated",
        "created",
        "pid",
        "pid_start",
        "exit_code",
        "started",
        "finished",
        "auto_remove",
    )
)


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
    except (NacreError, ValueError, RecursionError):
        return False


def _holds(column: str, value: object) -> bool:
    if column in _NUMBERS:
        return isinstance(value, int | float)
    if isinstance(value, str) and column in _RIGHT:
        _RIGHT[column](value)
    return isinstance(value, str)
