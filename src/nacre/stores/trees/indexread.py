"""Reading a tree that is a tar and an index of it, without mounting."""

from __future__ import annotations

import io
import os
import stat

from ...grammars.erofs import BLOCK, device_parts
from ...grammars.erofs import Node as Inode
from ...grammars.erofsread import Index
from ...grammars.nodes import OPAQUE, ORIGIN
from ...words.errors import InvalidArchive, NotFound, StoreError
from .base import Node
from .indexing import INDEX, SPARSE, TAR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

_KINDS = {
    stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink", stat.S_IFCHR: "char",
    stat.S_IFBLK: "block", stat.S_IFIFO: "fifo",
}  # fmt: skip
_REMEMBERED = 4096
_FORMAT = 0o170000


class IndexReader:
    """A LayerReader over a folder that `indexing` filled."""

    def __init__(self, folder: str) -> None:
        """Raises OSError, StoreError when the index is damaged."""
        from mmap import PROT_READ, mmap

        self._folder = folder
        with open(f"{folder}/{INDEX}", "rb", buffering=0) as file, _damage(folder):
            if not os.fstat(file.fileno()).st_size:
                raise InvalidArchive("the index of a layer is damaged: it is empty")
            self._map = mmap(file.fileno(), 0, prot=PROT_READ)
            self._index = Index(self._map)
        self._nids: dict[bytes, int | None] = {}
        self._listed: tuple[bytes | None, dict[bytes, int]] = (None, {})

    def node(self, path: bytes) -> Node | None:
        """What the layer has there, None if nothing."""
        with _damage(self._folder):
            nid = self._nid(path)
            if nid is None:
                return None
            node = _node(self._index.node(nid))
            if node.kind != "dir" and self._index.links(nid) > 1:
                node.inode = nid
            return node

    def names(self, path: bytes) -> list[bytes]:
        """Names in a folder, whiteouts included; [] if it is none."""
        with _damage(self._folder):
            nid = self._nid(path)
            self._listed = path, {} if nid is None else dict(self._index.names(nid))
            return list(self._listed[1])

    def open(self, path: bytes) -> BinaryIO:
        """A regular file; the caller closes it. Raises NotFound, OSError."""
        inode = self._inode(path)
        if inode is None or inode.mode & _FORMAT != stat.S_IFREG:
            raise NotFound(f"{path[:200].decode('utf-8', 'backslashreplace')!r} is not a regular file")
        if not inode.size:
            return io.BytesIO()
        name = TAR if inode.device == 1 else SPARSE
        fd = os.open(f"{self._folder}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        return io.BufferedReader(_Piece(fd, inode.block * BLOCK, inode.size))

    def xattrs(self, path: bytes) -> tuple[tuple[bytes, bytes], ...]:
        """Extended attributes, sorted, without overlay's own."""
        inode = self._inode(path)
        found = inode.xattrs if inode is not None else ()
        return tuple(sorted(pair for pair in found if pair not in (OPAQUE, ORIGIN)))

    def tree(self, first: int) -> Inode:
        """All of the layer; `first` is added to the slots of its contents. Raises StoreError."""
        with _damage(self._folder):
            return self._index.tree(first)

    def _inode(self, path: bytes) -> Inode | None:
        with _damage(self._folder):
            nid = self._nid(path)
            return None if nid is None else self._index.node(nid)

    def _nid(self, path: bytes) -> int | None:
        """Folders on the way are remembered, and the last one listed: a walk asks for what is in it next."""
        if not path:
            return self._index.root
        above, _, name = path.rpartition(b"/")
        if above == self._listed[0]:
            return self._listed[1].get(name)
        folder = self._nids[above] if above in self._nids else self._find(above)
        return None if folder is None else self._index.lookup(folder, name)

    def _find(self, path: bytes) -> int | None:
        nid: int | None = self._index.root
        for name in path.split(b"/") if path else ():
            nid = None if nid is None else self._index.lookup(nid, name)
        if len(self._nids) >= _REMEMBERED:
            self._nids.clear()
        self._nids[path] = nid
        return nid

    def close(self) -> None:
        """Idempotent. Files that were opened stay open."""
        self._map.close()


class _Piece(io.RawIOBase):
    """Bytes `start` to `start + size` of a file as a file of their own. Owns the descriptor."""

    def __init__(self, fd: int, start: int, size: int) -> None:
        super().__init__()
        self._fd, self._start, self._size, self._at = fd, start, size, 0

    def extent(self) -> tuple[int, int]:
        """The descriptor of the file that holds the bytes, which stays ours, and where they begin."""
        return self._fd, self._start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        view = memoryview(buffer)[: max(0, self._size - self._at)]
        count = os.preadv(self._fd, [view], self._start + self._at) if view else 0
        if view and not count:
            raise StoreError("a layer in the store is shorter than its index says")
        self._at += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(22, os.strerror(22))
        self._at = base + offset
        return self._at

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
        super().close()


class _damage:
    """What is wrong with an index is the store's fault, not that of content from outside."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, InvalidArchive):
            message = f"{error.message} ({self._folder}/{INDEX})"
            raise StoreError(message, hint="remove the image and pull it again") from error


def _node(inode: Inode) -> Node:
    kind = _KINDS.get(inode.mode & _FORMAT, "file")
    node = Node(kind, inode.mode & 0o7777, inode.uid, inode.gid, inode.mtime_ns, inode.size)
    node.implied = inode.implied
    if kind == "symlink":
        node.link = inode.link
    elif kind == "file":
        node.content = inode.block * 4 + inode.device if inode.size else 0
    elif kind == "dir":
        node.opaque = OPAQUE in inode.xattrs
    elif kind in ("char", "block"):
        node.major, node.minor = device_parts(inode.rdev)
        if kind == "char" and not inode.rdev:
            node.kind = "whiteout"
    return node
