"""Whether one blob or one tree is what its name says."""

from __future__ import annotations

import os

from ...ground.files import is_shortage
from ...ground.work.pipe import CHUNK
from ...words.digest import Verifier
from ...words.errors import NacreError, StoreError
from .finding import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from ...grammars.tar.entry import Reader
    from ...stores.store import Store
    from ...words.digest import Digest

    Found = tuple[Fault, str] | None
    """What is wrong, and what the system had to say of it; None for nothing."""


def blob_fault(store: Store, digest: Digest, passed: Callable[[int], object]) -> Found:
    """Read a blob; `passed` is told the bytes read. Raises StoreError where it could not look."""
    verifier = Verifier(digest, what="it")
    try:
        with open(store.blobs.path(digest), "rb", buffering=0) as file:
            while data := file.read(CHUNK):
                verifier.update(data)
                passed(len(data))
        verifier.verify()
    except FileNotFoundError:
        return Fault.BLOB_LOST, ""
    except NacreError as error:
        return Fault.BLOB_DAMAGED, error.message
    except OSError as error:
        _refuse_shortage(error)
        return Fault.BLOB_UNREADABLE, error.strerror or str(error)
    return None


def tree_fault(
    store: Store, diff_id: Digest, blobs: Container[Digest], passed: Callable[[int], object]
) -> Found:
    """As `blob_fault`, of a tree; `blobs` are those that are recorded.

    A tree that nothing can prove is taken for whole.
    """
    if not os.path.isdir(store.trees.rows.folder(diff_id)):
        return Fault.TREE_LOST, ""
    try:
        problem = _proven(store, diff_id, blobs, passed)
    except (NacreError, OSError) as error:
        _refuse_shortage(error)
        problem = str(error)
    return (Fault.TREE_DAMAGED, problem) if problem else None


def _proven(
    store: Store, diff_id: Digest, blobs: Container[Digest], passed: Callable[[int], object]
) -> str | None:
    """Against a blob of the layer that is here, or against the tar that the tree itself gives."""
    forms = [layer.digest for layer in store.layers.blobs_of(diff_id) if layer.digest in blobs]
    blob = next(filter(os.path.exists, map(store.blobs.path, forms)), None)
    if blob is None:
        return store.trees.repair.prove(diff_id, passed)
    with open(blob, "rb", buffering=0) as file:
        return store.trees.repair.prove(diff_id, passed, lambda: _plain(file))


def _refuse_shortage(error: NacreError | OSError) -> None:
    """Too little memory, too few descriptors: that says nothing of what was looked at."""
    if is_shortage(error):
        raise StoreError(f"cannot check the store: {error}") from None


def _plain(file: Reader) -> Reader:
    from ...grammars.codecs.stream import decompress

    return decompress(file)
