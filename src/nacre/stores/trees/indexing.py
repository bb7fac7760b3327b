"""Writing a layer as its tar and an index of it: bytes pass through once and are written as they come.

layer.tar      the uncompressed layer, all of the stream, as it was
index.erofs    metadata that points into it, made from the headers on the way (grammars.erofs)
sparse         only where the tar has sparse files: their contents with the holes, one after the other,
               and the content of a file with whose last byte the tar ends, without padding
"""

from __future__ import annotations

import os

from ...grammars.entries import TarWriter, read_tar
from ...grammars.erofs import BLOCK, encode
from ...grammars.nodes import LayerTree, walk
from ...ground.files import trace, write_all
from ...words.errors import InvalidArchive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...grammars.entries import Entry
    from .base import Reader, Write

TAR, INDEX, SPARSE = "layer.tar", "index.erofs", "sparse"

_CHUNK = 1 << 18
_MAX_SPARSE = (1 << 32) - 2
"""Most blocks that an index can point into, 2 TiB."""
_NEW = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


def index_stream(stream: Reader, folder: str) -> LayerTree:
    """Fill `folder` from an uncompressed layer, read to its end. Raises InvalidArchive, OSError."""
    with _Indexing(folder) as indexing:
        passing = _Passing(stream, indexing.keep)
        for entry, payload in read_tar(passing):
            indexing.take(entry, payload)
        while passing.read(_CHUNK):
            pass
        return indexing.finish()


class IndexingWriter:
    """A TarWriter that also fills `folder`. What is written goes on to `write` in large pieces.

    `close` makes it complete; without `discard` after a failure the files stay open.
    """

    def __init__(self, folder: str, write: Write) -> None:
        self._indexing, self._write = _Indexing(folder), write
        self._pieces: list[bytes] = []
        self._held = 0
        self._tar = TarWriter(self._put)

    def add(self, entry: Entry, payload: Reader | None = None) -> None:
        """As TarWriter's."""
        sparse = entry.kind == "file" and entry.sparse is not None and payload is not None
        block, payload = self._indexing.spread(entry, payload) if sparse and payload else (-1, payload)
        self._indexing.note(self._tar.add(entry, payload), block)

    def close(self) -> None:
        """The end of the tar; writes the index."""
        self._tar.close()
        self._flush()
        self._indexing.finish()
        self.discard()

    def discard(self) -> None:
        """Let go of the files, complete or not. Idempotent."""
        self._indexing.close()

    def _put(self, data: bytes) -> None:
        self._pieces.append(data)
        self._held += len(data)
        if self._held >= _CHUNK:
            self._flush()

    def _flush(self) -> None:
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        if data:
            self._indexing.keep(data)
            self._write(data)


class _Passing:
    """A stream whose bytes are handed on as they are read."""

    def __init__(self, stream: Reader, write: Write) -> None:
        self._read, self._write = stream.read, write

    def read(self, count: int, /) -> bytes:
        data = self._read(count)
        self._write(data)
        return data


class _Indexing:
    """The three files of one layer while they are written. They can be read by nobody else."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._tree = LayerTree()
        self._length = self._blocks = 0
        self._sparse = -1
        self._tar = os.open(f"{folder}/{TAR}", _NEW, 0o400)

    def keep(self, data: bytes) -> None:
        """The next bytes of the tar."""
        self._length += len(data)
        written = os.write(self._tar, data)
        if written < len(data):
            write_all(self._tar, memoryview(data)[written:])

    def take(self, entry: Entry, payload: Reader) -> None:
        """A member that is being read; the content of a sparse one is spread out."""
        block = -1
        if entry.sparse is not None:
            block, spreading = self.spread(entry, payload)
            while spreading.read(_CHUNK):
                pass
        self.note(entry, block)

    def note(self, entry: Entry, block: int) -> None:
        """A member, its content in the tar, or in the other file at `block`."""
        if block < 0:
            self._tree.add(entry)
        else:
            self._tree.add(entry, 2, block)

    def spread(self, entry: Entry, payload: Reader) -> tuple[int, Reader]:
        """Where the whole content of a sparse file will be, and a reader that writes it on the way."""
        block = self._reserve(entry.size)
        return block, _Spreading(self._sparse, block * BLOCK, entry, payload)

    def _reserve(self, size: int) -> int:
        block = self._blocks
        self._blocks += -(-size // BLOCK)
        if self._blocks > _MAX_SPARSE:
            raise InvalidArchive("the sparse files of the layer are larger than 2 TiB")
        if self._sparse < 0:
            self._sparse = os.open(f"{self._folder}/{SPARSE}", _NEW, 0o400)
        return block

    def finish(self) -> LayerTree:
        """Write the index."""
        if self._length % BLOCK:
            self._move_last()
        devices = [self._length]
        if self._sparse >= 0:
            os.ftruncate(self._sparse, self._blocks * BLOCK)
            devices.append(self._blocks * BLOCK)
        trace("tree:indexing")
        fd = os.open(f"{self._folder}/{INDEX}", _NEW, 0o400)
        try:
            write_all(fd, memoryview(encode(self._tree.root, devices)))
        finally:
            os.close(fd)
        return self._tree

    def _move_last(self) -> None:
        """The kernel reads whole blocks only: a content without padding at the very end goes elsewhere."""
        for _, node in walk(self._tree.root):
            end = node.block * BLOCK + node.size
            if node.device == 1 and node.size and end + -end % BLOCK > self._length:
                block = self._reserve(node.size)
                self._copy(node.block * BLOCK, block * BLOCK, node.size)
                node.device, node.block = 2, block

    def _copy(self, start: int, to: int, left: int) -> None:
        while left:
            data = os.pread(self._tar, min(left, _CHUNK), start)
            os.lseek(self._sparse, to, os.SEEK_SET)
            write_all(self._sparse, data)
            start, to, left = start + len(data), to + len(data), left - len(data)

    def close(self) -> None:
        """Idempotent."""
        for fd in (self._tar, self._sparse):
            if fd >= 0:
                os.close(fd)
        self._tar = self._sparse = -1

    def __enter__(self) -> _Indexing:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class _Spreading:
    """The payload of a sparse file; what is read is written to its places from `start` on."""

    def __init__(self, fd: int, start: int, entry: Entry, payload: Reader) -> None:
        self._fd, self._start, self._payload = fd, start, payload
        self._segments = list(reversed(entry.sparse or ()))

    def read(self, count: int, /) -> bytes:
        data = self._payload.read(count)
        rest = memoryview(data)
        while rest and self._segments:
            offset, length = self._segments.pop()
            written = os.pwrite(self._fd, rest[:length], self._start + offset)
            rest = rest[written:]
            if written < length:
                self._segments.append((offset + written, length - written))
        return data
