"""Opens the storage of a registry that is not a folder, and keeps the two apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...words.errors import Conflict

if TYPE_CHECKING:
    from ...words.rules import StorageRules
    from ..catalog import Catalog
    from .protocol import Storage

AWAY = "the content of this registry is in object storage"


def in_bucket(rules: StorageRules, catalog: Catalog) -> Storage:
    """The bucket that `rules` name. Raises Conflict, UsageError, Unsupported, Unavailable, StoreError."""
    from .bucket import Bucket
    from .objects import ObjectStorage
    from .rows import ObjectRows

    return ObjectStorage(Bucket(rules), ObjectRows(catalog), redirect=rules.redirect)


def check_place(catalog: Catalog, url: str) -> None:
    """Is its content where a registry is told that it is? Raises Conflict."""
    is_away = bool(catalog.read("SELECT 1 FROM bucket"))
    if is_away and not url:
        raise Conflict(AWAY, hint="say in which bucket with `--storage`")
    if url and not is_away and catalog.read("SELECT 1 FROM blobs LIMIT 1"):
        hint = "serve it without `--storage`, and copy its images to a new registry"
        raise Conflict("the content of this registry is in its folder", hint=hint)
