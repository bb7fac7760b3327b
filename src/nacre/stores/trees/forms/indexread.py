"""Reading a tree that is a tar and an index of it, without mounting."""

from __future__ import annotations

import io
import os
import stat

from ....grammars.erofs.format import BLOCK, HEAD, device_parts
from ....grammars.erofs.read import ErofsIndex
from ....grammars.layer.nodes import Inode
from ....grammars.layer.overlay import OPAQUE, kind_of, without_marks
from ....grammars.layer.union import Node
from ....words.errors import InvalidArchive, NotFound, StoreError
from ..dedup.seekable import Seeking
from ..files import CUTS, INDEX, LAZY, device_paths, open_locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

_HEAD = HEAD * BLOCK
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
            self._index = ErofsIndex(self._map)
        self._devices: tuple[str, ...] = ()
        self._is_lazy = os.path.exists(f"{folder}/{LAZY}")
        self._is_uncut = not os.path.exists(f"{folder}/{CUTS}")
        self._nids: dict[bytes, int | None] = {}
        self._listed: tuple[bytes | None, dict[bytes, int]] = (None, {})

    def node(self, path: bytes) -> Node | None:
        """What the layer has there, None if nothing."""
        with _damage(self._folder):
            nid = self._nid(path)
            if nid is None:
                return None
            inode = self._index.node(nid)
            several = self._index.links(nid) > 1
        node = _node(inode)
        if inode.size and node.kind == "file":
            node.content = nid
            if inode.device == 1 and self._is_uncut:
                node.block = inode.block
        if several and node.kind != "dir":
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
        rest = self._piece(inode.device, inode.block, inode.size)
        if inode.head is None:
            return io.BufferedReader(rest)
        head = self._piece(*inode.head, min(inode.size, _HEAD))
        return io.BufferedReader(_Beheaded(head, rest, inode.size))

    def _piece(self, device: int, block: int, size: int) -> _Piece:
        fd = open_locked(self._device(device))
        try:
            if self._is_lazy:
                from ..awaiting import await_content

                await_content(self._folder, block * BLOCK, size)
            return _Piece(fd, block * BLOCK, size)
        except BaseException:
            os.close(fd)
            raise

    def _device(self, number: int) -> str:
        if not self._devices:
            self._devices = device_paths(self._folder)
        if number > len(self._devices):
            raise StoreError(f"a file that the layer in {self._folder} refers to is missing")
        return self._devices[number - 1]

    def xattrs(self, path: bytes) -> tuple[tuple[bytes, bytes], ...]:
        """Extended attributes, sorted, without overlay's own."""
        inode = self._inode(path)
        found = inode.xattrs if inode is not None else ()
        return tuple(sorted(without_marks(found)))

    def tree(self, slots: Sequence[int]) -> Inode:
        """All of the layer; a content in its nth device gets the nth of `slots`. Raises StoreError."""
        with _damage(self._folder):
            return self._index.tree(slots)

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


class _Piece(Seeking):
    """Bytes `start` to `start + size` of a file as a file of their own. Owns the descriptor."""

    def __init__(self, fd: int, start: int, size: int) -> None:
        super().__init__(size)
        self._fd, self._start = fd, start

    def extent(self) -> tuple[int, int]:
        """The descriptor of the file that holds the bytes, which stays ours, and where they begin."""
        return self._fd, self._start

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        view = memoryview(buffer)[: max(0, self._size - self._at)]
        count = os.preadv(self._fd, [view], self._start + self._at) if view else 0
        if view and not count:
            raise StoreError("a layer in the store is shorter than its index says")
        self._at += count
        return count

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
        super().close()


class _Beheaded(Seeking):
    """A file whose first bytes lie apart. Owns both pieces; those of `rest` are not to be had there."""

    def __init__(self, head: _Piece, rest: _Piece, size: int) -> None:
        super().__init__(size)
        self._head, self._rest = head, rest

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        piece = self._head if self._at < _HEAD else self._rest
        piece.seek(self._at)
        count = piece.readinto(buffer)
        self._at += count
        return count

    def close(self) -> None:
        self._head.close()
        self._rest.close()
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
    kind = kind_of(inode.mode, inode.rdev) or "file"
    node = Node(kind, inode.mode & 0o7777, inode.uid, inode.gid, inode.mtime_ns, inode.size)
    node.implied = inode.implied
    if kind == "symlink":
        node.link = inode.link
    elif kind == "dir":
        node.opaque = OPAQUE in inode.xattrs
    elif kind in ("char", "block"):
        node.major, node.minor = device_parts(inode.rdev)
    return node
