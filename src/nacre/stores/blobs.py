"""Content by digest: files that are whole and verified the moment they can be seen."""

from __future__ import annotations

from ..words.digest import Digest
from ..words.oci import MAX_DOCUMENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, Self

    from .database import Database


class BlobStore:
    """`ROOT/blobs/<algorithm>/<hex>`; ROOT itself is an OCI image layout. Safe for threads and processes."""

    @classmethod
    def at(cls, root: str) -> Self:
        """A blob store of its own in the folder `root` (for a registry); made if absent. `close` it."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the database that `at` opened."""

    def has(self, digest: Digest) -> bool:
        """Is it here, whole? A leased store keeps what it was told is here until the lease ends."""
        raise NotImplementedError

    def size(self, digest: Digest) -> int:
        """Bytes. Raises NotFound."""
        raise NotImplementedError

    def path(self, digest: Digest) -> str:
        """The file that holds it (or would): never write to it."""
        raise NotImplementedError

    def open(self, digest: Digest) -> BinaryIO:
        """An unbuffered file of the content; the caller closes it. Raises NotFound."""
        raise NotImplementedError

    def read(self, digest: Digest, limit: int = MAX_DOCUMENT) -> bytes:
        """The content, verified. Raises NotFound, TooLarge, DigestMismatch."""
        raise NotImplementedError

    def add(self, data: bytes, digest: Digest | None = None) -> Digest:
        """Store small content; atomic and idempotent. Raises DigestMismatch, StoreError.

        With `digest` the content came from elsewhere and can be had again; without, it was made here
        and is synced to disk before this returns.
        """
        raise NotImplementedError

    def ingest(self, expected: Digest | None = None, size: int | None = None, *, key: str = "") -> Ingest:
        """Begin to write content. Waits while another thread or process writes the same digest.

        `key` ([a-z0-9-]+) names an upload whose digest is not known yet, so that it can be resumed.
        """
        raise NotImplementedError

    def partial(self, key: str | Digest) -> int:
        """Bytes already kept of an interrupted ingest; 0 if none."""
        raise NotImplementedError

    def delete(self, digest: Digest) -> int:
        """Remove it and give the bytes freed; for the sweep and for a registry's DELETE."""
        raise NotImplementedError


class Ingest:
    """Content being written. `with` it: leaving without `commit` keeps the data when it can be resumed.

    `exists`: somebody else completed it while this one waited; write nothing, `commit` is free.
    `offset`: bytes that are here already; go on writing from there.
    `resumed`: offset came from an earlier try; if commit raises DigestMismatch, try again from 0.
    """

    exists: bool
    resumed: bool
    offset: int

    def write(self, data: bytes | memoryview) -> int:
        """Take the next bytes. Raises TooLarge at the first byte over `size`, StoreError."""
        raise NotImplementedError

    def commit(self, expected: Digest | None = None) -> Digest:
        """Verify digest and size, make the content visible. On a mismatch the data is dropped.

        `expected` for an upload whose digest came last. Raises DigestMismatch, StoreError.
        """
        raise NotImplementedError

    def abort(self) -> None:
        """Drop the data."""

    def close(self) -> None:
        """Let go; data of a known digest or key stays for resumption."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
