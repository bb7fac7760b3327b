"""What is in the layers of a registry, kept so that each is read once: names, and a sum of each file.

    FOLDER/<algorithm>-<hex>/index.erofs   the tree of the layer, as a store has it; it points into the tar
    FOLDER/<algorithm>-<hex>/contents      for each file where it begins in the tar (u32, in blocks) and the
                                           first half of the SHA-256 of its content, by place

All of it can be made again, so the least used goes when there is too much. Layers come from anybody: what is
read of one has a limit in bytes, entries and time, and where its links lead is decided by `layer.rules`.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from hashlib import sha256
from struct import Struct
from typing import TYPE_CHECKING

from ..grammars.codecs.stream import decompress
from ..grammars.erofs.format import BLOCK
from ..grammars.erofs.tree import LayerTree
from ..grammars.erofs.write import write_index
from ..grammars.tar.read import read_tar
from ..ground.files import os_errors, private_dir, random_name, remove_tree, write_all
from ..words.errors import InvalidArchive, NotFound
from ..words.value import Value
from .layout import names
from .trees.files import INDEX
from .trees.forms.indexread import IndexReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO, Self

    from ..grammars.layer.union import Node
    from ..grammars.tar.entry import Entry, Reader
    from ..words.digest import Digest

_CONTENTS = "contents"
_RECORD = Struct("<I16s")
_CHUNK = 1 << 18
_SPARSE = 2


class ReadingLimits(Value):
    """How much is read of one layer: bytes of its tar, entries, seconds; `kept` bytes of all listings."""

    bytes: int = 32 << 30
    entries: int = 500_000
    seconds: float = 120.0
    kept: int = 2 << 30


class Bounded:
    """The plain content of a compressed stream, limited in bytes and time. Reading raises InvalidArchive.

    `is_over` is asked now and then whether nobody waits any more.
    """

    def __init__(self, stream: Reader, limits: ReadingLimits, is_over: Callable[[], bool]) -> None:
        self._stream, self._limits, self._is_over = decompress(stream), limits, is_over
        self._end, self.count = time.monotonic() + limits.seconds, 0

    def read(self, count: int, /) -> bytes:
        """The next bytes, at most so many."""
        data = self._stream.read(count)
        self.count += len(data)
        if self.count > self._limits.bytes:
            raise InvalidArchive(f"the layer has more than {self._limits.bytes} bytes")
        if time.monotonic() > self._end or self._is_over():
            raise InvalidArchive(f"reading the layer takes more than {self._limits.seconds:g} seconds")
        return data

    def skip(self, count: int) -> None:
        """Pass over so many bytes. Raises InvalidArchive at the end, too."""
        while count:
            data = self.read(min(count, _CHUNK))
            if not data:
                raise InvalidArchive("the layer ends too early")
            count -= len(data)


class LayerListing(IndexReader):
    """What one layer has, by literal paths (`trees.reading.reader.LayerReader`), but contents. Close it."""

    def __init__(self, folder: str) -> None:
        """Raises OSError, StoreError when it is damaged."""
        super().__init__(folder)
        with open(f"{folder}/{_CONTENTS}", "rb") as file:
            self._contents = file.read()

    def open(self, path: bytes) -> BinaryIO:
        """Only names are here. Raises NotFound."""
        raise NotFound("the content of the layer is elsewhere")

    def sum(self, path: bytes) -> bytes:
        """Equal contents have an equal one; b"" of what is no file, is empty, or is not known."""
        node = self.node(path)
        if node is None or node.block < 0:
            return b""
        low, high = 0, len(self._contents) // _RECORD.size
        while low < high:
            middle = (low + high) // 2
            block, found = _RECORD.unpack_from(self._contents, middle * _RECORD.size)
            if block == node.block:
                return bytes(found)
            low, high = (middle + 1, high) if block < node.block else (low, middle)
        return b""


def place_of(node: Node) -> int:
    """Where the content of a file begins in the tar of its layer; -1 where that is in several pieces."""
    return node.block * BLOCK if node.block >= 0 else -1


class Listings:
    """Those in `folder`, which is made when it is needed. Safe for threads. Raises StoreError."""

    def __init__(self, folder: str, limits: ReadingLimits | None = None) -> None:
        self._folder, self.limits = folder, limits or ReadingLimits()

    @classmethod
    def at(cls, root: str) -> Self:
        """Those of the registry in the folder `root`."""
        return cls(f"{root}/listings")

    def find(self, digest: Digest) -> LayerListing | None:
        """Of the layer with the compressed digest; None if there is none yet."""
        folder = self._path(digest)
        try:
            found = LayerListing(folder)
        except FileNotFoundError:
            return None
        with suppress(OSError):
            os.utime(folder)
        return found

    def make(self, digest: Digest, stream: Reader, is_over: Callable[[], bool] = lambda: False) -> None:
        """Read a layer as it was pushed, and keep what is in it. Raises InvalidArchive, too."""
        with os_errors(f"write to {self._folder}"):
            private_dir(self._folder)
            new = f"{self._folder}/new-{random_name()}"
            private_dir(new)
            try:
                _write(new, Bounded(stream, self.limits, is_over), self.limits.entries)
                self._publish(new, digest)
            finally:
                if os.path.lexists(new):
                    remove_tree(new)
            self._trim()

    def _publish(self, new: str, digest: Digest) -> None:
        try:
            os.rename(new, self._path(digest))
        except OSError:
            if not os.path.exists(self._path(digest)):  # another thread or process was faster
                raise

    def _trim(self) -> None:
        """Remove those that were used the longest ago while there is too much."""
        found = sorted(self._sizes())
        left = sum(size for _, size, _ in found)
        for _, size, path in found[:-1]:
            if left <= self.limits.kept:
                return
            remove_tree(path)
            left -= size

    def _sizes(self) -> Iterator[tuple[float, int, str]]:
        """When it was used, its size, where it is."""
        for name in names(self._folder):
            path = f"{self._folder}/{name}"
            with suppress(FileNotFoundError):
                files = (os.stat(f"{path}/{each}").st_size for each in names(path))
                yield os.stat(path).st_mtime, sum(files), path

    def _path(self, digest: Digest) -> str:
        return f"{self._folder}/{digest.algorithm}-{digest.hex}"


def _write(folder: str, stream: Bounded, entries: int) -> None:
    tree, contents, spread = LayerTree(), bytearray(), 0
    for entry, payload in read_tar(stream, entries):
        found = _sum(entry, payload)
        inode = tree.add(entry)
        if inode and entry.sparse is not None:  # in pieces: it counts, and is not shown
            tree.place(inode, _SPARSE, spread)
            spread += -(-entry.size // BLOCK)
        elif inode:
            contents += _RECORD.pack(entry.offset // BLOCK, found)
    while stream.read(_CHUNK):
        pass
    with _ListingFile(f"{folder}/{_CONTENTS}") as file:
        file.put(contents, 0)
    with _ListingFile(f"{folder}/{INDEX}") as index:
        write_index(tree.inodes, [-(-stream.count // BLOCK) * BLOCK, spread * BLOCK or None], index.put)


def _sum(entry: Entry, payload: Reader) -> bytes:
    found = sha256(repr(entry.sparse).encode() if entry.sparse is not None else b"")
    while data := payload.read(_CHUNK):
        found.update(data)
    return found.digest()[:16]


class _ListingFile:
    """A new file that is written in pieces. Raises OSError."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def put(self, data: bytes | bytearray, offset: int) -> None:
        os.lseek(self._fd, offset, os.SEEK_SET)
        write_all(self._fd, memoryview(data))

    def __enter__(self) -> _ListingFile:
        return self

    def __exit__(self, *_exc: object) -> None:
        os.close(self._fd)
