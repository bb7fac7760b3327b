"""Layers on their way into the store and out of a writable tree."""

from __future__ import annotations

from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..stores import Store
    from ..stores.trees import Active
    from ..words.digest import Digest
    from ..words.oci import Descriptor
    from ..words.progress import Task
    from .source import Reader, Source


class Ingested(Value):
    """What became of one layer: its tree, how many bytes were fetched, docker's word for it."""

    diff_id: Digest
    moved: int
    status: str


def ingest_layer(
    store: Store, descriptor: Descriptor, diff_id: Digest, source: Source, task: Task
) -> Ingested:
    """Bring one layer into the store: network → digest → blob file → decompress → diff id → tree."""
    raise NotImplementedError


def ensure_tree(store: Store, descriptor: Descriptor, diff_id: Digest) -> None:
    """Make the tree of a layer whose blob is in the store, unless it is there."""
    raise NotImplementedError


def commit_layer(store: Store, active: Active, codec: str = "gzip") -> tuple[Descriptor, Digest, int]:
    """Turn the difference of a writable tree into a layer: its blob's descriptor, diff id, count of changes."""
    raise NotImplementedError


def add_layer(store: Store, stream: Reader, codec: str = "gzip") -> tuple[Descriptor, Digest]:
    """Store an uncompressed tar that is read once as a layer: tree and compressed blob side by side."""
    raise NotImplementedError
