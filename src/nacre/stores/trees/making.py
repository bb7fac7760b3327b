"""Folders in which trees are made before they are published.

ROOT/ingest/tree-<hex>/   guarded by the lock ROOT/ingest/tree-<hex>.lock
"""

from __future__ import annotations

from ...ground.files import Lock, os_errors, private_dir, remove_tree, surely, trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...grammars.tar.entry import Reader
    from ...ground.work.budget import Budget
    from ...words.digest import Digest
    from .interfaces import TreeForm
    from .model import HeldLocks, TreeInfo


class Making:
    """A folder in which something is made, with its lock; what is left in it at the end is removed."""

    def __init__(self, root: str, name: str) -> None:
        self.folder = f"{root}/ingest/tree-{name}"

    @classmethod
    def attempt(cls, root: str, name: str) -> Making | None:
        """One that was entered, to be left in any case; None while another process is at it."""
        self = cls(root, name)
        with os_errors("start to make a tree"):
            self._lock = Lock.attempt(self.folder + ".lock")
        return self._begun() if self._lock else None

    def __enter__(self) -> Making:
        self._lock: Lock | None = None
        try:
            with os_errors("start to make a tree"):
                self._lock = Lock(self.folder + ".lock")
        except BaseException:
            self.__exit__()
            raise
        return self._begun()

    def _begun(self) -> Making:
        try:
            remove_tree(self.folder)
            private_dir(self.folder)
            trace("tree:begun")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._lock is None:  # a signal broke into it: the file may have been made, and nobody holds it
            surely(_remove_free, self.folder + ".lock")
            return
        try:
            surely(remove_tree, self.folder)
        finally:
            surely(self._lock.remove)


def _remove_free(path: str) -> None:
    """Remove the file of a lock, unless somebody holds it."""
    try:
        lock = Lock.attempt(path)
    except OSError:  # nor can anybody make it
        return
    if lock is not None:
        lock.remove()


def ingest(
    stream: Reader, form: TreeForm, folder: str, locks: HeldLocks, budget: Budget
) -> tuple[Digest, TreeInfo]:
    """Fill the folder from a stream, read to its very end; gives the diff id.

    Raises InvalidArchive, StoreError.
    """
    from ...ground.work.hashing import HashingReader

    with HashingReader(stream, budget) as hashing, os_errors("write a tree"):
        info = form.ingest(hashing, folder, locks)
        hashing.drain()
        return hashing.digest(), info
