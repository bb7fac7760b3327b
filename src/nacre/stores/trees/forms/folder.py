"""A layer unpacked in a folder, as overlayfs wants it.

    trees/<hex>/fs         whiteouts are char devices 0/0, opaque folders carry an extended attribute
    trees/<hex>/skeleton   how to make its tar again; see skeleton.py
    trees/<hex>/owners     only where owners cannot be kept; see owners.py
    trees/<hex>/marks      see `FolderForm`

Files that another tree has at the same path are shared by hard links (`ground.twins`).
"""

from __future__ import annotations

import os

from ....ground.files import content_size, os_errors, private_dir, trace, write_atomic
from ....words.errors import NacreError, Unsupported
from .. import files
from ..model import PLAIN_ROOT, TreeInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import BinaryIO

    from ....grammars.tar.entry import Entry, Reader
    from ....ground.extract import Stats
    from ....ground.work.budget import Budget
    from ..interfaces import TreeWriter, Write
    from ..model import HeldLocks, Mode, StoredTree
    from ..reading.reader import LayerReader
    from .skeleton import StreamRecorder

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class FolderForm:
    """See TreeForm; also reads and uses what another process with more or fewer rights made."""

    keeps_files = True

    def __init__(
        self, mode: Mode, budget: Callable[[], Budget], peers: Callable[[], Sequence[str]] = tuple, *,
        marked: bool = False,
    ) -> None:  # fmt: skip
        """`budget` is for unpacking. `peers` gives folders of trees whose files a new one may share, the ones
        used last first.

        `marked`: where the marks of a user namespace are written, a file says so, because whoever mounts
        with others would not see what such a layer hides.
        """
        self._mode, self._budget, self._peers, self._marked = mode, budget, peers, marked

    def ingest(self, stream: Reader, folder: str, _locks: HeldLocks) -> TreeInfo:
        """Extract into `folder`/fs. Raises InvalidArchive, StoreError."""
        from . import implied, owners
        from .skeleton import StreamRecorder

        if self._marked and self._mode.userxattr:
            write_atomic(f"{folder}/{files.MARKS}", b"user")
        private_dir(f"{folder}/{files.FS}")
        os.chmod(f"{folder}/{files.FS}", 0o755)
        followed = _Followed()
        with StreamRecorder(stream, folder) as skeleton:
            stats, opaque = self._extract(skeleton, followed, folder)
            skeleton.done(replaced=stats.replaced)
        if opaque:
            implied.hide_lower(folder)
        owners.save(folder, followed.notes.known)
        implied.save(folder, stats.implied)
        return TreeInfo(stats.size, followed.root)

    def _extract(self, skeleton: StreamRecorder, followed: _Followed, folder: str) -> tuple[Stats, bool]:
        """What was made, and whether the root hides everything beneath it."""
        from ....grammars.tar.read import read_tar
        from ....ground.extract import extract
        from ....ground.twins import Twins

        twins = Twins(self._peers, owners=not self._mode.single)
        fd = os.open(f"{folder}/{files.FS}", _FOLDER)
        try:
            form = self._mode.on_disk(followed.notes)
            form = form.replace(budget=self._budget(), twins=twins, placed=skeleton.file)
            stats = extract(followed.watch(read_tar(skeleton.stream)), fd, form)
            return stats, os.fsdecode(form.opaque_xattr) in os.listxattr(fd)
        finally:
            os.close(fd)
            twins.close()

    def writer(self, folder: str, write: Write, _locks: HeldLocks) -> TreeWriter:
        """Keeps a skeleton: the files are where they were written."""
        from .skeleton import RecordingTarWriter

        return RecordingTarWriter(write, folder)

    def adopt(self, folder: str, upper: str, into: str) -> None:
        """Rename: nothing is extracted. Files that another tree has are shared with it."""
        with os_errors(f"move {upper}"):
            for name in (files.OWNERS, files.SKELETON):
                if os.path.exists(f"{folder}/{name}"):
                    os.rename(f"{folder}/{name}", f"{into}/{name}")
            os.rename(upper, f"{into}/{files.FS}")
        self._share(f"{into}/{files.FS}")
        trace("tree:adopted")

    def _share(self, root: str) -> None:
        from ....ground.twins import Twins, relink

        twins = Twins(self._peers, owners=not self._mode.single)
        try:
            fd = os.open(root, _FOLDER)
            try:
                relink(fd, twins)
            finally:
                os.close(fd)
        except OSError:
            pass  # a saving that cannot be made
        finally:
            twins.close()

    def holds(self, folder: str) -> bool:
        """A folder without marks of its own, or with those that this form may write."""
        is_marked = os.path.exists(f"{folder}/{files.MARKS}")
        return os.path.isdir(f"{folder}/{files.FS}") and (self._marked or not is_marked)

    def describe(self, tree: StoredTree) -> TreeInfo:
        """By its tar, else by its files: then nobody knows whether the layer describes its root."""
        from .describe import of_tar

        try:
            with self.tar(tree) as tar:
                return of_tar(tar)
        except Unsupported:
            return self._of_files(tree)
        except (NacreError, OSError):
            return TreeInfo(0)

    def _of_files(self, tree: StoredTree) -> TreeInfo:
        """A root that looks as most do needs no row of its own."""
        reader = self.read(tree)
        try:
            node = reader.node(b"")
        finally:
            reader.close()
        root = f"{node.mode:o} {node.uid} {node.gid}" if node else PLAIN_ROOT
        return TreeInfo(content_size(f"{tree.folder}/{files.FS}"), "" if root == PLAIN_ROOT else root)

    def read(self, tree: StoredTree) -> LayerReader:
        """Read the files of the tree; the caller closes it. Raises StoreError."""
        from .folderread import FolderReader

        with os_errors(f"read tree {tree.diff_id}"):
            return FolderReader(f"{tree.folder}/{files.FS}", tree.folder)

    def tar(self, tree: StoredTree) -> BinaryIO:
        """Made from its skeleton. Raises Unsupported when it has none, StoreError."""
        from .skeleton import open_tar

        return open_tar(tree, self.read(tree))

    def gives_tar(self, tree: StoredTree) -> bool:
        """Whether it has a skeleton."""
        return os.access(f"{tree.folder}/{files.SKELETON}", os.R_OK) and os.path.isdir(
            f"{tree.folder}/{files.FS}"
        )

    def lower(self, tree: StoredTree) -> str:
        """The folder. Raises Unsupported where overlayfs would not see what the layer hides."""
        if self._marked and not self._mode.userxattr and os.path.exists(f"{tree.folder}/{files.MARKS}"):
            raise Unsupported(
                f"layer {tree.diff_id} was unpacked without CAP_SYS_ADMIN and cannot be mounted with it",
                hint="use --storage-driver plain, or remove the image and pull it again",
            )
        return f"{tree.folder}/{files.FS}"

    def is_unpacked(self, tree: StoredTree) -> bool:
        """True: the files lie in the folder."""
        return True


class _Followed:
    """Follows an extraction: owners that could not be made, and what the layer says of its root."""

    def __init__(self) -> None:
        from .owners import OwnersRecorder

        self.notes = OwnersRecorder({})
        self.root = ""

    def watch(self, members: Iterable[tuple[Entry, Reader]]) -> Iterator[tuple[Entry, Reader]]:
        for entry, payload in members:
            if entry.path == b"":
                self.root = f"{entry.mode:o} {entry.uid} {entry.gid}"
            yield entry, payload
