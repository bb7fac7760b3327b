"""Layers as folders where files can share their blocks, and as tars with an index elsewhere.

For a root that is laid out: where the file system has reflinks its files are clones of those of the layers,
which an unpacked layer gives block by block. Elsewhere they are copied,
and an index needs no right to be exact.
"""

from __future__ import annotations

import os

from .. import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from ....grammars.tar.entry import Reader
    from ....words.mount import Erofs
    from ..interfaces import TreeForm, TreeWriter, Write
    from ..model import HeldLocks, StoredTree, TreeInfo
    from ..reading.reader import LayerReader
    from .folder import FolderForm
    from .indexed import IndexedForm


class EitherForm:
    """See TreeForm. A difference is always indexed: its files belong to a root that stays in use."""

    keeps_files = False

    def __init__(self, folder: FolderForm, indexed: IndexedForm) -> None:
        self._folder, self._indexed = folder, indexed

    def _of(self, folder: str) -> TreeForm:
        return self._indexed if os.path.exists(f"{folder}/{files.INDEX}") else self._folder

    def ingest(self, stream: Reader, folder: str, locks: HeldLocks) -> TreeInfo:
        """Fill `folder` in the form that suits its file system. Raises InvalidArchive, StoreError."""
        form = self._folder if shares_blocks(folder) else self._indexed
        return form.ingest(stream, folder, locks)

    def writer(self, folder: str, write: Write, locks: HeldLocks) -> TreeWriter:
        """As the indexed form."""
        return self._indexed.writer(folder, write, locks)

    def adopt(self, folder: str, upper: str, into: str) -> None:
        """As the indexed form."""
        self._indexed.adopt(folder, upper, into)

    def holds(self, folder: str) -> bool:
        """Whether it is one or the other."""
        return self._indexed.holds(folder) or self._folder.holds(folder)

    def describe(self, tree: StoredTree) -> TreeInfo:
        """As the form that it has."""
        return self._of(tree.folder).describe(tree)

    def read(self, tree: StoredTree) -> LayerReader:
        """Read the files of the tree; the caller closes it. Raises StoreError."""
        return self._of(tree.folder).read(tree)

    def tar(self, tree: StoredTree) -> BinaryIO:
        """Raises Unsupported for a folder without a skeleton, StoreError."""
        return self._of(tree.folder).tar(tree)

    def gives_tar(self, tree: StoredTree) -> bool:
        """As the form that it has. Raises StoreError."""
        return self._of(tree.folder).gives_tar(tree)

    def lower(self, tree: StoredTree) -> str | Erofs:
        """Raises Unsupported as the folder form does."""
        return self._of(tree.folder).lower(tree)

    def is_unpacked(self, tree: StoredTree) -> bool:
        """As the form that it has."""
        return self._of(tree.folder).is_unpacked(tree)


def shares_blocks(folder: str) -> bool:
    """Whether layers in `folder` are unpacked, for a container's files to be clones. Only root reads all."""
    from ....ground.clone import can_share

    try:
        return os.geteuid() == 0 and can_share(folder)
    except OSError:
        return False
