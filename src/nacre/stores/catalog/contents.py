"""All content that a table names, in the order of the digests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .catalog import Catalog
    from .model import CatalogDatabase

TABLES = ("blobs", "manifests")
KEPT = "removed"
"""What can be restored."""
_AT_ONCE = 500
_SIZES = """
    SELECT size FROM blobs WHERE digest = ?1 UNION ALL SELECT size FROM manifests WHERE digest = ?1
    UNION ALL SELECT size FROM removed WHERE digest = ?1 AND kind IN ('manifest', 'blob')"""
"""Of content by digest, each time that a table names it."""
_CONTENT = {KEPT: "AND kind IN ('manifest', 'blob')"}


def contents(found: Catalog | CatalogDatabase, table: str, last: str = "") -> Iterator[list[tuple[str, int]]]:
    """Digests after `last` with their sizes, some at a time, each once. Raises StoreError."""
    sql = f"""SELECT digest, max(size) FROM {table} WHERE digest > ? {_CONTENT.get(table, "")}
        GROUP BY digest ORDER BY digest LIMIT ?"""
    while rows := found.listed(sql, last, _AT_ONCE):
        yield rows
        last = rows[-1][0]


def size_of(found: Catalog | CatalogDatabase, digest: str) -> int | None:
    """Of content that a table names, None of any other. Raises StoreError."""
    rows = found.listed(f"{_SIZES} LIMIT 1", digest)
    return int(rows[0][0]) if rows else None
