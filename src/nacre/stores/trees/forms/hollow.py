"""A layer whose contents are not here yet: its index is whole, its tar has holes where contents will be.

    layer.tar      headers and padding where they belong; each content is a hole until it has come
    index.erofs    as of any layer (indexing.py)

What cannot be had so is told by Unsupported: sparse files, whose contents do not lie in the tar as they are,
and a content without padding at the very end.
"""

from __future__ import annotations

import os

from ....grammars.erofs.format import BLOCK
from ....grammars.erofs.tree import LayerTree
from ....grammars.erofs.write import write_index
from ....grammars.tar.read import TarSource, read_tar
from ....ground.files import write_at
from ....words.errors import Unsupported
from ..files import INDEX, TAR
from .indexing import NewFile, info_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..model import TreeInfo

    Pieces = Iterator[bytes | int]
    """The tar in order: literal bytes, and how many bytes of content come between them."""

_NEW = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
_MOST_ZEROS, _ALL = 1 << 20, 1 << 40
_GAP, _HELD = 1 << 14, 1 << 20


def lay(pieces: Pieces, folder: str) -> TreeInfo:
    """Fill `folder`; gives what its row will hold.

    Raises InvalidArchive, Unsupported, OSError, and what `pieces` raises.
    """
    tar = os.open(f"{folder}/{TAR}", _NEW, 0o400)
    try:
        return info_of(_laid(HollowTar(pieces, tar), folder), folder)
    finally:
        os.close(tar)


def _laid(stream: HollowTar, folder: str) -> LayerTree:
    tree = LayerTree()
    for entry, _payload in read_tar(stream):
        if entry.sparse is not None:
            raise Unsupported("the layer has sparse files")
        tree.add(entry)
    while not stream.skip(_ALL):
        pass
    length = stream.close()
    if length % BLOCK and tree.beyond(length):
        raise Unsupported("the tar of the layer ends within a file")
    with NewFile(f"{folder}/{INDEX}") as index:
        write_index(tree.inodes, [length], index.put)
    return tree


class HollowTar(TarSource):
    """The tar front to back, with zeros for contents; what is literal is written on the way."""

    __slots__ = ("_at", "_fd", "_held", "_hole", "_pieces", "_rest", "_start")

    def __init__(self, pieces: Pieces, fd: int) -> None:
        self._pieces, self._fd = pieces, fd
        self._rest, self._hole, self.position = b"", 0, 0
        self._held, self._start, self._at = bytearray(), 0, 0

    def take(self, count: int) -> bytes:
        """See `TarSource`, which this implements."""
        if len(self._rest) == count:  # a header
            data, self._rest = self._rest, b""
            self.position += count
            return data
        parts: list[bytes] = []
        while count and (data := self.some(count)):
            parts.append(data)
            count -= len(data)
        return b"".join(parts)

    def some(self, count: int) -> bytes:
        """See `TarSource`, which this implements."""
        if not self._has_more():
            return b""
        if self._rest:
            data, self._rest = self._rest[:count], self._rest[count:]
        else:
            data = bytes(min(self._hole, count, _MOST_ZEROS))
            self._hole -= len(data)
        self.position += len(data)
        return data

    def skip(self, count: int) -> int:
        """See `TarSource`, which this implements."""
        while count and self._has_more():
            step = min(count, len(self._rest) or self._hole)
            if self._rest:
                self._rest = self._rest[step:]
            else:
                self._hole -= step
            self.position += step
            count -= step
        return count

    def _has_more(self) -> bool:
        while not self._rest and not self._hole:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self._take(piece)
        return True

    def _take(self, piece: bytes | int) -> None:
        if isinstance(piece, int):
            self._hole = piece
            self._at += piece
        else:
            self._rest = piece
            self._write(piece)
            self._at += len(piece)

    def _write(self, data: bytes) -> None:
        """Small holes between two literals are written with them: fewer, longer writes."""
        end = self._start + len(self._held)
        if self._at - end > _GAP or len(self._held) > _HELD:
            self._flush()
            self._start = end = self._at
        self._held += bytes(self._at - end)
        self._held += data

    def _flush(self) -> None:
        write_at(self._fd, self._held, self._start)
        self._held = bytearray()

    def close(self) -> int:
        """Write what is left; the length of the tar."""
        self._flush()
        os.ftruncate(self._fd, self._at)
        return self._at
