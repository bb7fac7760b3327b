"""A layer that is never unpacked: its tar, and an EROFS index that points into it.

    trees/<hex>/layer.tar, index.erofs, sparse    see indexing.py
    trees/<hex>/cuts, lent-00 …                    see dedup

The kernel mounts the index with the tar as its extra device, file-backed, so nothing is extracted,
deleting a layer is deleting two files, and what is pushed again is the tar as it came. No owner, device, mark
or mode needs a right to be kept. Containers share the mounts, which vanish with the last of them:
stores/shared.py. Mounting needs root of the first user namespace and Linux 6.12 for file-backed EROFS.
"""

from __future__ import annotations

import os

from ....ground.files import os_errors, trace
from ....words.mount import Erofs
from .. import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from ....grammars.tar.entry import Reader
    from ..dedup.donors import Donors
    from ..interfaces import TreeWriter, Write
    from ..model import HeldLocks, StoredTree, TreeInfo
    from ..reading.reader import LayerReader


class IndexedForm:
    """A layer as its tar and an EROFS index that points into it."""

    keeps_files = False

    def __init__(self, root: str = "", trusted: Callable[[], set[str]] = set) -> None:
        """New layers may point into the tars of the store `root`: those in the folders of ROOT/trees that
        `trusted` names. Without a store they hold all their contents themselves.
        """
        self._root, self._trusted = root, trusted
        self._known: Donors | None = None

    @property
    def _donors(self) -> Donors | None:
        """What new layers may point into."""
        if self._known is None and self._root:
            from ..dedup.donors import Donors

            self._known = Donors(self._root, self._trusted)
        return self._known

    def ingest(self, stream: Reader, folder: str, locks: HeldLocks) -> TreeInfo:
        """Write the stream and its index. Raises InvalidArchive, StoreError."""
        from .indexing import index_stream, info_of

        return info_of(index_stream(stream, folder, self._donors, locks), folder)

    def writer(self, folder: str, write: Write, locks: HeldLocks) -> TreeWriter:
        """Keeps the tar with its index in the folder, instead of what an earlier attempt left there."""
        from .indexing import IndexingWriter

        for name in filter(files.is_ours, os.listdir(folder)):
            os.unlink(f"{folder}/{name}")
        return IndexingWriter(folder, write, self._donors, locks)

    def adopt(self, folder: str, upper: str, into: str) -> None:
        """Rename tar, index and what belongs to them; the files in `upper` stay."""
        with os_errors(f"move {folder}/{files.TAR}"):
            for name in filter(files.is_ours, os.listdir(folder)):
                os.rename(f"{folder}/{name}", f"{into}/{name}")
        trace("tree:adopted")

    def holds(self, folder: str) -> bool:
        """A tar is enough, if it is whole: an index that is lost is made of it."""
        return os.path.exists(f"{folder}/{files.TAR}") and not os.path.exists(f"{folder}/{files.LAZY}")

    def describe(self, tree: StoredTree) -> TreeInfo:
        """The row of the tree, read from its tar."""
        from ....words.errors import NacreError
        from ..model import TreeInfo
        from .describe import of_tar

        try:
            with self.tar(tree) as tar:
                return of_tar(tar)
        except (NacreError, OSError):
            return TreeInfo(0)

    def read(self, tree: StoredTree) -> LayerReader:
        """Read the files of the tree; the caller closes it. Raises StoreError."""
        from .indexread import IndexReader

        with os_errors(f"read tree {tree.diff_id}"):
            return IndexReader(tree.folder)

    def tar(self, tree: StoredTree) -> BinaryIO:
        """The file as it was written, what was cut out of it filled in again; for a lazy tree it waits.

        It is opened first: when all is here, another form may take the place of this one.
        """
        with os_errors(f"read tree {tree.diff_id}"):
            tar = _open_tar(tree.folder)
            try:
                _await_content(tree.folder)
            except BaseException:
                tar.close()
                raise
            return tar

    def gives_tar(self, tree: StoredTree) -> bool:
        """Whether its tar can be opened. Raises StoreError."""
        with os_errors(f"read tree {tree.diff_id}"):
            _open_tar(tree.folder).close()
        return True

    def lower(self, tree: StoredTree) -> Erofs:
        """The index, to be mounted."""
        names, index = os.listdir(tree.folder), f"{tree.folder}/{files.INDEX}"
        lazy = (index,) if files.LAZY in names else ()
        return Erofs(index, files.device_paths(tree.folder, names), lazy)

    def is_unpacked(self, tree: StoredTree) -> bool:
        """It is not: what is mounted keeps index and tar open."""
        return False


def _open_tar(folder: str) -> BinaryIO:
    """The tar as far as it is here. Raises OSError, StoreError."""
    if not _is_cut(folder):
        return open(files.open_locked(f"{folder}/{files.TAR}"), "rb", buffering=0)
    from ..dedup.restore import open_restored

    return open_restored(folder)


def _await_content(folder: str) -> None:
    """Raises OSError: EIO for what cannot be had."""
    if os.path.exists(f"{folder}/{files.LAZY}"):
        from ..awaiting import await_content

        await_content(folder)


def _is_cut(folder: str) -> bool:
    """Whether contents were left out of the tar. Raises OSError."""
    try:
        os.stat(f"{folder}/{files.CUTS}")
    except FileNotFoundError:
        return False
    return True
