"""Packages of RPM: rpmdb.sqlite, a table `Packages` of headers.

    header = count:u32 size:u32 count*( tag:u32 type:u32 offset:u32 count:u32 ) size*OCTET        big endian

The database is another's: it is read from memory, nothing but that one table, and within a number of
steps. Source: rpm's docs/manual/format_header.md and lib/backend/sqlite.c.
"""

from __future__ import annotations

from struct import error, iter_unpack, unpack_from

from ...words.errors import InvalidDocument
from .package import Package, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

MAGIC = b"SQLite format 3\0"
_NAME, _VERSION, _RELEASE, _EPOCH, _VENDOR = 1000, 1001, 1002, 1003, 1011
_LICENSE, _ARCH, _SOURCE = 1014, 1022, 1044
_INT32, _STRINGS = 4, (6, 8, 9)
_TAGS = frozenset((_NAME, _VERSION, _RELEASE, _EPOCH, _VENDOR, _LICENSE, _ARCH, _SOURCE))
_MOST = 64 << 20
_STEPS, _EVERY = 20_000, 10_000
"""How often the database is asked whether it goes on too long, and after how many steps of its machine."""


def parse_database(data: bytes, path: str) -> Iterator[Package]:
    """The packages of an rpmdb.sqlite. Raises InvalidDocument."""
    for blob in _headers(data, path):
        package = parse_header(blob, path)
        if package.name and package.name != "gpg-pubkey":
            yield package


def _headers(data: bytes, path: str) -> Iterator[bytes]:
    import sqlite3

    if data[:16] != MAGIC or len(data) < 100:
        raise InvalidDocument(f"{path} is not an SQLite database")
    rollback = data[:18] + b"\1\1" + data[20:]  # memory has no write-ahead log, which these bytes ask for
    connection = sqlite3.connect(":memory:")
    try:
        connection.deserialize(rollback)
        _confine(connection)
        for (blob,) in connection.execute("SELECT blob FROM Packages ORDER BY hnum"):
            if isinstance(blob, bytes):
                yield blob
    except (sqlite3.Error, OverflowError) as problem:
        raise InvalidDocument(f"{path} cannot be read: {str(problem)[:100]}") from None
    finally:
        connection.close()


def _confine(connection: Any) -> None:
    """Let a query read one table, and not go on for ever."""
    import sqlite3

    left = [_STEPS]

    def ended() -> int:
        left[0] -= 1
        return int(left[0] < 0)

    def permitted(action: int, table: str | None, *_more: object) -> int:
        reads = action == sqlite3.SQLITE_READ and table == "Packages"
        return sqlite3.SQLITE_OK if reads or action == sqlite3.SQLITE_SELECT else sqlite3.SQLITE_DENY

    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST)
    connection.set_progress_handler(ended, _EVERY)
    connection.set_authorizer(permitted)


def parse_header(blob: bytes, path: str) -> Package:
    """A package of its header; a tag that is damaged counts as absent. Raises InvalidDocument."""
    try:
        found = _tags(blob)
    except (error, ValueError, OverflowError):
        raise InvalidDocument(f"{path} holds a damaged header") from None
    version = "-".join(filter(None, (found.get(_VERSION, ""), found.get(_RELEASE, ""))))
    return Package(
        "rpm", found.get(_NAME, ""), version, architecture=found.get(_ARCH, ""), epoch=found.get(_EPOCH, ""),
        license=found.get(_LICENSE, ""), supplier=found.get(_VENDOR, ""),
        source=found.get(_SOURCE, ""), path=path,
    )  # fmt: skip


def _tags(blob: bytes) -> dict[int, str]:
    count, size = unpack_from(">II", blob, 0)
    begin = 8 + 16 * count
    data = blob[begin : begin + size]
    if begin + size > len(blob):
        raise ValueError("truncated")
    found = {}
    for tag, kind, offset, _ in iter_unpack(">IIII", blob[8:begin]):
        if tag in _TAGS and kind in _STRINGS and offset < size:
            found[tag] = text(data[offset:].partition(b"\0")[0] if offset else data.partition(b"\0")[0])
        elif tag in _TAGS and kind == _INT32 and offset + 4 <= size:
            found[tag] = str(unpack_from(">I", data, offset)[0])
    return found
