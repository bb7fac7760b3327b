"""Writing a layer as its tar and an index of it: bytes pass through once and are written as they come.

layer.tar      the uncompressed layer, all of the stream, as it was, but for the contents that were cut
cuts           only where there are any: what was left out of it and where it lies (grammars.erofs.cuts)
lent-00 …      links to the tars of other layers that have those contents (donors.py)
index.erofs    metadata that points into them, made from the headers on the way (grammars.erofs.format)
sparse         only where the tar has sparse files: their contents with the holes, one after the other,
               and the content of a file with whose last byte the tar ends, without padding

The devices of the index are layer.tar, sparse if it is there, and the links in the order of their names.
"""

from __future__ import annotations

import os

from ....grammars.erofs.cuts import Cuts
from ....grammars.erofs.format import BLOCK
from ....grammars.erofs.tree import LayerTree
from ....grammars.erofs.write import write_index
from ....grammars.tar.read import read_tar
from ....grammars.tar.write import TarWriter
from ....ground.files import trace, write_at
from ....words.errors import InvalidArchive
from ..dedup.cutting import SPARSE as SPARSE_DEVICE
from ..dedup.cutting import Cutter
from ..dedup.donors import Borrowing
from ..files import CUTS, INDEX, SPARSE, TAR
from ..model import TreeInfo
from . import implied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ....grammars.tar.entry import Entry, Reader
    from ..dedup.donors import Donors
    from ..interfaces import Write
    from ..model import HeldLocks

_CHUNK = 1 << 18
_MAX_SPARSE = (1 << 32) - 2
"""Most blocks that an index can point into, 2 TiB."""
_NEW = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


def index_stream(
    stream: Reader, folder: str, donors: Donors | None = None, locks: HeldLocks | None = None
) -> LayerTree:
    """Fill `folder` from an uncompressed layer, read to its end. Raises InvalidArchive, OSError.

    `locks`, which must come with `donors`, is given those of what the layer borrows.
    """
    with _Indexing(folder, donors, locks) as indexing:
        passing = _BufferedStream(stream, indexing)
        for entry, payload in read_tar(passing):
            indexing.take(entry, payload)
        while passing.read(_CHUNK):
            pass
        return indexing.finish()


def info_of(tree: LayerTree, folder: str) -> TreeInfo:
    """What the row of a layer will hold; what overlayfs must be told besides is written into its folder."""
    implied.save(folder, tree.implied())
    if tree.is_opaque():
        implied.hide_lower(folder)
    looks = tree.root_looks()
    return TreeInfo(tree.size, "{:o} {} {}".format(*looks) if looks else "")


class IndexingWriter:
    """A TarWriter that also fills `folder`. What is written goes on to `write` in large pieces.

    `close` makes it complete; `with` it, so that after a failure no file stays open.
    """

    def __init__(
        self, folder: str, write: Write, donors: Donors | None = None, locks: HeldLocks | None = None
    ) -> None:
        self._indexing, self._write = _Indexing(folder, donors, locks), write
        self._pieces: list[bytes] = []
        self._held = 0
        self._tar = TarWriter(self._put)

    def add(self, entry: Entry, payload: Reader | None = None) -> None:
        """Write one entry with its content, as TarWriter."""
        note = self._indexing.note
        if payload is None or entry.kind != "file" or not entry.size:
            note(self._tar.add(entry, payload))
        elif entry.sparse is not None:
            block, payload = self._indexing.spread(entry, payload)
            note(self._tar.add(entry, payload), block)
        else:  # the member must be known before its content comes, and where that begins only then is
            self._tar.add(entry, _Begun(payload, lambda: note(entry._replace(offset=self._tar.offset))))

    def close(self) -> None:
        """The end of the tar; writes the index."""
        self._tar.close()
        self._flush()
        self._indexing.finish()
        self.discard()

    def discard(self) -> None:
        """Let go of the files, complete or not. Idempotent."""
        self._indexing.close()

    def __enter__(self) -> IndexingWriter:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.discard()

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
            self._indexing.feed(data)
            self._indexing.drain()
            self._write(data)


class _Begun:
    """A payload that says when it is first asked for."""

    def __init__(self, payload: Reader, begun: Callable[[], object]) -> None:
        self._payload, self._begun = payload, begun
        self._asked = False

    def read(self, count: int, /) -> bytes:
        if not self._asked:
            self._asked = True
            self._begun()
        return self._payload.read(count)


class _BufferedStream:
    """A stream whose bytes are kept as they are read, and decided about when more are asked for.

    By then the headers among them have been parsed and their members noted.
    """

    def __init__(self, stream: Reader, indexing: _Indexing) -> None:
        self._read, self._feed, self._drain = stream.read, indexing.feed, indexing.drain

    def read(self, count: int, /) -> bytes:
        self._drain()
        data = self._read(count)
        self._feed(data)
        return data


class _Indexing:
    """The files of one layer while they are written. They can be read by nobody else."""

    def __init__(self, folder: str, donors: Donors | None, locks: HeldLocks | None) -> None:
        self._folder, self._locks = folder, locks
        self._tree = LayerTree()
        self._blocks = 0
        self._sparse = -1
        self._tar = os.open(f"{folder}/{TAR}", _NEW, 0o400)
        self._borrowing = Borrowing(donors if locks else None, folder, self._tar)
        self._cutter = Cutter(self._tar, self._tree, self._borrowing)
        self.feed, self.drain, self.note = self._cutter.feed, self._cutter.drain, self._cutter.note

    def take(self, entry: Entry, payload: Reader) -> None:
        """A member that is being read; the content of a sparse one is spread out."""
        block = -1
        if entry.sparse is not None:
            block, spreading = self.spread(entry, payload)
            while spreading.read(_CHUNK):
                pass
        self.note(entry, block)

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
        """Write the index, and the list of cuts."""
        self._cutter.finish()
        length = self._cutter.end - self._cutter.cut
        if length % BLOCK:
            self._move_last(length)
        donors = [donor.blocks * BLOCK for donor in self._borrowing.used]
        if self._sparse >= 0:
            os.ftruncate(self._sparse, self._blocks * BLOCK)
        trace("tree:indexing")
        if self._cutter.records:
            cuts = Cuts(self._cutter.end, self._cutter.records)
            cuts.check([length, *donors])
            with NewFile(f"{self._folder}/{CUTS}") as file:
                file.put(cuts.encode(), 0)
            trace("tree:cuts")
        sparse = self._blocks * BLOCK if self._sparse >= 0 else None
        with NewFile(f"{self._folder}/{INDEX}") as index:
            write_index(self._tree.inodes, [length, sparse, *donors], index.put)
        self._borrowing.publish()
        if self._locks:
            self._borrowing.leave(self._locks)
        return self._tree

    def _move_last(self, length: int) -> None:
        """The kernel reads whole blocks only: a content without padding at the very end goes elsewhere."""
        inodes = self._tree.inodes
        for inode in self._tree.beyond(length):
            block, size = self._reserve(inodes.size[inode]), inodes.size[inode]
            self._copy(inodes.block[inode] * BLOCK, block * BLOCK, size)
            self._tree.place(inode, SPARSE_DEVICE, block)

    def _copy(self, start: int, to: int, left: int) -> None:
        while left:
            data = os.pread(self._tar, min(left, _CHUNK), start)
            write_at(self._sparse, data, to)
            start, to, left = start + len(data), to + len(data), left - len(data)

    def close(self) -> None:
        """Close the files. Idempotent."""
        self._borrowing.close()
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


class NewFile:
    """A new file that is written in pieces. Raises OSError."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, _NEW, 0o400)

    def put(self, data: bytes | bytearray, offset: int) -> None:
        """Write at an offset. Raises OSError."""
        write_at(self._fd, data, offset)

    def __enter__(self) -> NewFile:
        return self

    def __exit__(self, *_exc: object) -> None:
        os.close(self._fd)
