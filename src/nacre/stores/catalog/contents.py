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
_CONTENT = {KEPT: "AND kind IN ('manifest', 'blob')"}


def contents(found: Catalog | CatalogDatabase, table: str, last: str = "") -> Iterator[list[tuple[str, int]]]:
    """Digests after `last` with their sizes, some at a time, each once. Raises StoreError."""
    sql = f"""SELECT digest, max(size) FROM {table} WHERE digest > ? {_CONTENT.get(table, "")}
        GROUP BY digest ORDER BY digest LIMIT ?"""
    while rows := found.listed(sql, last, _AT_ONCE):
        yield rows
        last = rows[-1][0]
