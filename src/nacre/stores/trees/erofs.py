"""Trees that are never unpacked: a layer is its tar and an EROFS index that points into it.

    trees/<hex>/layer.tar, index.erofs, sparse    see forms/indexing.py
    trees/<hex>/cuts, lent-00 …                    see dedup/
    trees/<hex>/merged-….erofs                     see roots/merging.py
    active/<key>/                                  as the overlay driver's

The kernel mounts the index with the tar as its extra device, file-backed, so nothing is extracted,
deleting a layer is deleting two files, and what is pushed again is the tar as it came. Containers share the
mounts, which vanish with the last of them: stores/shared.py.
Needs root of the first user namespace and Linux 6.12 for file-backed EROFS; `probe` tries.
"""

from __future__ import annotations

import os

from ...ground.files import os_errors, trace
from ...words.errors import SandboxError, Unsupported
from ...words.mount import Erofs, Overlay
from . import files
from .base import Held, Made
from .forms import implied
from .overlay import OverlayDriver, hide_lower
from .roots import merging

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

    from .base import LayerReader, Placed, Reader, Write
    from .dedup.donors import Lenders

_ENOTBLK = 15


class ErofsDriver(OverlayDriver):
    """See TreeDriver."""

    name = "erofs"
    adopts_files = False
    _store: tuple[str, Callable[[], set[str]]] | None = None
    _lenders: Lenders | None = None

    def borrow_from(self, root: str, trusted: Callable[[], set[str]]) -> None:
        """New layers may point into the tars of this store: those in the folders of ROOT/trees so named."""
        self._store = root, trusted

    @property
    def lenders(self) -> Lenders | None:
        """What new layers may point into."""
        if self._lenders is None and self._store:
            from .dedup.donors import Lenders

            self._lenders = Lenders(*self._store)
        return self._lenders

    def probe(self, scratch: str) -> str:
        """Index a small tar and read a file of it through overlayfs, attached nowhere. Raises Unsupported."""
        if self.mode.userxattr:
            raise Unsupported("EROFS can be mounted by root of the first user namespace only")
        for name in ("tree", "upper", "work"):
            os.mkdir(f"{scratch}/{name}", 0o700)
        try:
            with Held() as held:
                self.ingest(_Sample(), f"{scratch}/tree", held)
            _try_mount(scratch)
        except (OSError, SandboxError) as error:
            raise Unsupported(_why_not(error)) from None
        return "EROFS over a file of this store can be mounted"

    def ingest(self, stream: Reader, folder: str, held: Held) -> Made:
        """Write the stream and its index. Raises InvalidArchive, StoreError."""
        from .forms.indexing import index_stream

        tree = index_stream(stream, folder, self.lenders, held)
        implied.save(folder, tree.implied())
        if tree.is_opaque():
            hide_lower(folder)
        looks = tree.root_looks()
        return Made(tree.size, "{:o} {} {}".format(*looks) if looks else "")

    def tar(self, tree: Placed) -> BinaryIO:
        """The file as it was written, what was cut out of it filled in again."""
        from .dedup.restore import open_tar

        with os_errors(f"read tree {tree.diff_id}"):
            return open_tar(tree.folder)

    def lower(self, tree: Placed) -> Erofs:
        """The index, to be mounted."""
        return _lower(tree.folder)

    def _merged(self, trees: Sequence[Placed]) -> tuple[int, Erofs | None]:
        others = (count for count, tree in enumerate(trees) if tree.driver != self.name)
        own = trees[: next(others, len(trees))]
        with os_errors("merge the layers of an image"):
            return merging.lowest(own, self.lower)

    def pack(
        self, trees: Sequence[Placed], folder: str, write: Write, clamp: int | None, root: str, held: Held
    ) -> Made:
        """Scan the upper folder into a tar, which is kept beside it with its index, ready to be adopted."""
        from .forms.indexing import IndexingWriter

        self._drop_packed(folder)
        writer = IndexingWriter(folder, write, self.lenders, held)
        try:
            return self._pack(trees, folder, writer, clamp, root)
        finally:
            writer.discard()

    def _drop_packed(self, folder: str) -> None:
        for name in filter(files.is_ours, os.listdir(folder)):
            os.unlink(f"{folder}/{name}")

    def adopt(self, folder: str, into: str) -> None:
        """Rename tar, index and what belongs to them."""
        with os_errors(f"move {folder}/{files.TAR}"):
            for name in filter(files.is_ours, os.listdir(folder)):
                os.rename(f"{folder}/{name}", f"{into}/{name}")
        trace("tree:adopted")

    def reader(self, tree: Placed) -> LayerReader:
        """Raises StoreError."""
        from .forms.indexread import IndexReader

        with os_errors(f"read tree {tree.diff_id}"):
            return IndexReader(tree.folder)


def _lower(folder: str) -> Erofs:
    return Erofs(f"{folder}/{files.INDEX}", files.device_paths(folder))


def _try_mount(scratch: str) -> None:
    from ...ground.mounts import detached

    lower = _lower(f"{scratch}/tree")
    fd = detached(Overlay((lower,), f"{scratch}/upper", f"{scratch}/work"))
    try:
        file = os.open(_Sample.NAME, os.O_RDWR | os.O_CLOEXEC, dir_fd=fd)
        try:
            if os.read(file, 100) != _Sample.DATA:
                raise OSError(0, "it shows other bytes than the layer has")
        finally:
            os.close(file)
    finally:
        os.close(fd)


def _why_not(error: OSError | SandboxError) -> str:
    text = str(getattr(error, "strerror", "") or error)
    if os.strerror(_ENOTBLK) in text:
        return "EROFS cannot be mounted from this store: its file system, or the kernel, needs a block device"
    return f"EROFS cannot be mounted from this store: {text[:1].lower()}{text[1:]}"


class _Sample:
    """A tar of one file."""

    NAME, DATA = "file", b"content\n"

    def __init__(self) -> None:
        from ...grammars.tar.entry import Entry
        from ...grammars.tar.write import TarWriter

        self._pieces: list[bytes] = []
        writer = TarWriter(self._pieces.append)
        writer.add(Entry(self.NAME.encode(), size=len(self.DATA)), _Once(self.DATA))
        writer.close()

    def read(self, _count: int, /) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


class _Once:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, _count: int, /) -> bytes:
        data, self._data = self._data, b""
        return data
