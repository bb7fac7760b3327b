"""How far something has come that goes on beside the requests: a text by name, in the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .catalog import Catalog


class Marks:
    """Those of one catalog. Everything raises StoreError."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def get(self, name: str) -> str:
        """What was set last, "" if nothing was."""
        rows = self._catalog.listed("SELECT value FROM marks WHERE name = ?", name)
        return str(rows[0][0]) if rows else ""

    def set(self, name: str, value: str) -> None:
        """Keep it, durable when this returns."""
        sql = "INSERT INTO marks VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        self._catalog.change(lambda db: db.execute(sql, (name, value)))
