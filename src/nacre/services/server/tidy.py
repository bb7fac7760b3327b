"""What a kill leaves behind, removed before the first request.

A blob is on the disk a moment before its repository has it, and content that was deleted a moment after
no repository has it: in between, it is content that nobody will ever ask for. Only the process that
holds the folder's lock may do this, and only while nothing is being written.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ...ground.files import os_errors, remove_tree, unlink
from ...words.digest import Digest
from ...words.errors import InvalidName

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...stores.blobs import BlobStore
    from .catalog import Catalog


def tidy(blobs: BlobStore, catalog: Catalog) -> int:
    """Remove content that no repository holds and data of uploads that nobody can go on with.

    Returns how many things went. Raises StoreError.
    """
    with os_errors(f"tidy {blobs.root}"):
        return _tidy_content(blobs, catalog.digests()) + _tidy_uploads(blobs, catalog.uploads())


def _tidy_content(blobs: BlobStore, held: set[str]) -> int:
    lost = [digest for digest in _content(f"{blobs.root}/blobs") if digest not in held]
    for digest in lost:
        blobs.delete(digest)
    return len(lost)


def _content(folder: str) -> Iterator[Digest]:
    for algorithm in os.listdir(folder):
        for name in os.listdir(f"{folder}/{algorithm}"):
            try:
                yield Digest(f"{algorithm}:{name}")
            except InvalidName:
                continue  # not made here: not ours to remove


def _tidy_uploads(blobs: BlobStore, known: set[str]) -> int:
    folder = f"{blobs.root}/ingest"
    names = {name.removesuffix(".lock") for name in os.listdir(folder)}
    lost = {name for name in names if name.removeprefix("key-") not in known}
    for name in lost:
        if os.path.lexists(f"{folder}/{name}"):
            remove_tree(f"{folder}/{name}")
        unlink(f"{folder}/{name}.lock")
    return len(lost)
