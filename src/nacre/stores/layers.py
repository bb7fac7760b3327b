"""What is known of layers: which blob is which tree, and where registries hold it."""

from __future__ import annotations

from ..words.digest import Digest
from ..words.oci import Descriptor


class LayerStore:
    """The relation between compressed layers (digest) and trees (diff id)."""

    def record(self, digest: Digest, diff_id: Digest, media_type: str, size: int) -> None:
        """The blob `digest` decompresses to the tar `diff_id`. Idempotent."""
        raise NotImplementedError

    def diff_id(self, digest: Digest) -> Digest | None:
        """The tar that this blob decompresses to, if known."""
        raise NotImplementedError

    def blobs_of(self, diff_id: Digest) -> list[Descriptor]:
        """Every compressed form known of this tar, the newest first (the blob itself may be gone)."""
        raise NotImplementedError

    def add_source(self, digest: Digest, repository: str) -> None:
        """`repository` (`host:port/path`) is known to hold the blob. Idempotent."""
        raise NotImplementedError

    def sources(self, digest: Digest) -> list[str]:
        """Repositories known to hold the blob, the newest first."""
        raise NotImplementedError
