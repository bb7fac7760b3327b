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
_GAP, _HELD, _MOST_HOLES = 1 << 14, 1 << 18, 1 << 14


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
    """The tar front to back, with zeros for contents; what is literal is written on the way.

    Many pieces are taken at once: `_data` is what they have of literal bytes, `_holes` where between these
    contents lie, the next one last. Up to `_stop` there is none.
    """

    __slots__ = ("_at", "_data", "_end", "_fd", "_holes", "_pieces", "_stop")

    def __init__(self, pieces: Pieces, fd: int) -> None:
        self._pieces, self._fd = pieces, fd
        self._data, self._holes = b"", list[tuple[int, int]]()
        self._at = self._stop = self._end = self.position = 0

    def take(self, count: int) -> bytes:
        """See `TarSource`, which this implements."""
        at, end = self._at, self._at + count
        if end <= self._stop:  # a header
            self._at = end
            self.position += count
            return self._data[at:end]
        parts: list[bytes] = []
        while count and (data := self.some(count)):
            parts.append(data)
            count -= len(data)
        return b"".join(parts)

    def some(self, count: int) -> bytes:
        """See `TarSource`, which this implements."""
        if not self._has_more():
            return b""
        at = self._at
        if at < self._stop:
            data = self._data[at : min(self._stop, at + count)]
            self._at += len(data)
        else:
            data = bytes(self._pass_hole(min(count, _MOST_ZEROS)))
        self.position += len(data)
        return data

    def skip(self, count: int) -> int:
        """See `TarSource`, which this implements."""
        while count and self._has_more():
            if self._at < self._stop:
                step = min(count, self._stop - self._at)
                self._at += step
            else:
                step = self._pass_hole(count)
            self.position += step
            count -= step
        return count

    def _pass_hole(self, most: int) -> int:
        """At most so many bytes of the content that is next; how many these were."""
        place, length = self._holes[-1]
        if length > most:
            self._holes[-1] = place, length - most
            return most
        self._holes.pop()
        self._stop = self._holes[-1][0] if self._holes else len(self._data)
        return length

    def _has_more(self) -> bool:
        return self._at < self._stop or bool(self._holes) or self._load()

    def _load(self) -> bool:
        """The next pieces, a limited number of bytes; whether there are any."""
        parts, holes, length = list[bytes](), list[tuple[int, int]](), 0
        for piece in self._pieces:
            if isinstance(piece, int):
                holes.append((length, piece))
            else:
                parts.append(piece)
                length += len(piece)
            if length >= _HELD or len(holes) >= _MOST_HOLES:
                break
        self._at, self._data = 0, b"".join(parts)
        self._write(self._data, holes)
        holes.reverse()
        self._holes, self._stop = holes, holes[-1][0] if holes else length
        return bool(length or holes)

    def _write(self, data: bytes, holes: list[tuple[int, int]]) -> None:
        """Small holes between two literals are written with them: fewer, longer writes."""
        held, start, place = list[bytes](), self._end, 0
        for stop, length in holes:
            held.append(data[place:stop])
            self._end += stop - place + length
            place = stop
            if length <= _GAP:
                held.append(bytes(length))
            else:
                write_at(self._fd, b"".join(held), start)
                held, start = [], self._end
        self._end += len(data) - place
        write_at(self._fd, b"".join((*held, data[place:])), start)

    def close(self) -> int:
        """The length of the tar, all of which must have been passed."""
        os.ftruncate(self._fd, self._end)
        return self._end
