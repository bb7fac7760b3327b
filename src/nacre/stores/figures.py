"""How much a registry holds, for its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .catalog import Catalog

_COUNTED = {
    "repositories": "SELECT count(*) FROM repositories",
    "manifests": "SELECT count(*) FROM manifests",
    "tags": "SELECT count(*) FROM tags",
    "blobs": "SELECT count(*) FROM blobs",
    "uploads": "SELECT count(*) FROM uploads",
    "unused_manifests": "SELECT count(*) FROM unused WHERE kind = 'manifests'",
    "unused_blobs": "SELECT count(*) FROM unused WHERE kind = 'blobs'",
}


def figures(catalog: Catalog) -> dict[str, int]:
    """Numbers of rows by what they are; a blob counts in each repository. In a thread: it may take long.

    Raises StoreError.
    """
    return {name: int(catalog.listed(sql)[0][0]) for name, sql in _COUNTED.items()}
