"""Opens the storage of a registry that is not a folder, and keeps the two apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...words.errors import Conflict

if TYPE_CHECKING:
    from ...words.rules import StorageRules
    from ..catalog import Catalog
    from ..catalog.model import CatalogDatabase
    from .objects import ObjectStorage

AWAY = "the content of this registry is in object storage"


def in_bucket(rules: StorageRules, catalog: Catalog) -> ObjectStorage:
    """The bucket that `rules` name. Raises Conflict, UsageError, Unsupported, Unavailable, StoreError."""
    from .bucket import Bucket
    from .objects import ObjectStorage
    from .rows import ObjectRows

    return ObjectStorage(Bucket(rules), ObjectRows(catalog), redirect=rules.redirect)


def is_away(catalog: Catalog | CatalogDatabase) -> bool:
    """Is the content of this registry in a bucket?"""
    return bool(catalog.read("SELECT 1 FROM bucket"))


def check_place(catalog: Catalog, url: str) -> None:
    """Is its content where a registry is told that it is? Raises Conflict."""
    away = is_away(catalog)
    if away and not url:
        hint = "say in which bucket with `--storage`, or by its configuration with `--config`"
        raise Conflict(AWAY, hint=hint)
    if url and not away and catalog.read("SELECT 1 FROM blobs LIMIT 1"):
        hint = "`nacre registry backup` it, and restore that into a new directory with --storage"
        raise Conflict("the content of this registry is in its folder", hint=hint)
