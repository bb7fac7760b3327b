"""Finds the files of a chunked layer that the store already has.

A file is looked for under its own path in other trees, the likeliest trees first, and believed only when
its bytes have the digest that the table gives. Of a large file that differs, the pieces that are equal at
the same place are taken.
"""

from __future__ import annotations

from hashlib import sha256

from ...words.errors import NacreError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO, Self

    from ...grammars.chunked.layout import Chunk, File
    from ...stores.store import Store
    from ...stores.trees.reading.reader import LayerReader
    from ...words.digest import Digest

MOST_TREES = 128
"""How many trees, the newest first, are asked whether they resemble the layer."""
MOST_ALIKE = 6
"""In how many of them every file is looked for."""

_SAMPLES = 48
_CHUNK = 1 << 20


class LocalFile:
    """A file of the store: where it is, and which tree it belongs to."""

    __slots__ = ("_reader", "path")

    def __init__(self, reader: LayerReader, path: bytes) -> None:
        self._reader, self.path = reader, path

    def open(self) -> BinaryIO:
        """For reading; the caller closes it. Raises NotFound, OSError."""
        return self._reader.open(self.path)

    def same(self, other: LocalFile | None) -> bool:
        """Whether it is the very same file."""
        return other is not None and (self._reader, self.path) == (other._reader, other.path)


class LocalContent:
    """What of a layer's content is here, piece by piece. `with` it: trees are held open until it ends."""

    def __init__(self, store: Store, files: Sequence[File], but: Digest) -> None:
        """`but` is the layer itself. Raises StoreError."""
        self._readers: list[LayerReader] = []
        self._here: dict[int, tuple[LocalFile, frozenset[int]]] = {}
        try:
            self._choose(store, files, but)
        except BaseException:
            self.close()
            raise

    def _choose(self, store: Store, files: Sequence[File], but: Digest) -> None:
        samples = _samples(files)
        alike: list[tuple[int, LayerReader]] = []
        for diff_id in store.trees.rows.recent(MOST_TREES):
            reader = _opened(store, diff_id) if diff_id != but else None
            if reader is not None:
                self._readers.append(reader)
                alike.append((_likeness(reader, samples), reader))
        alike.sort(key=lambda row: -row[0])
        chosen = [reader for score, reader in alike[:MOST_ALIKE] if score]
        for reader in self._readers:
            if reader not in chosen:
                reader.close()
        self._readers = chosen

    def look(self, file: File) -> None:
        """Look for one file; later `piece` knows."""
        found = self._whole(file) or self._parts(file)
        if found is not None:
            self._here[id(file)] = found

    def _whole(self, file: File) -> tuple[LocalFile, frozenset[int]] | None:
        if not file.path or not file.digest:
            return None
        for finding, size in self._candidates(file.path):
            if size == file.size and _digest(finding, 0, size) == file.digest:
                return finding, frozenset(range(len(file.chunks)))
        return None

    def _parts(self, file: File) -> tuple[LocalFile, frozenset[int]] | None:
        if not file.path or len(file.chunks) < 2:
            return None
        for finding, _ in self._candidates(file.path):
            equal = frozenset(i for i, chunk in enumerate(file.chunks) if _equal(finding, chunk))
            if equal:
                return finding, equal
        return None

    def _candidates(self, path: bytes) -> list[tuple[LocalFile, int]]:
        nodes = [(reader, reader.node(path)) for reader in self._readers]
        return [
            (LocalFile(reader, path), node.size) for reader, node in nodes if node and node.kind == "file"
        ]

    def piece(self, file: File, index: int) -> LocalFile | None:
        """The file that has this piece at its place, if there is one."""
        found = self._here.get(id(file))
        return found[0] if found is not None and index in found[1] else None

    def close(self) -> None:
        """Close the files. Idempotent."""
        for reader in self._readers:
            reader.close()
        self._readers = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _opened(store: Store, diff_id: Digest) -> LayerReader | None:
    try:
        return store.trees.read(diff_id)
    except (NacreError, OSError):  # swept meanwhile, or damaged: then it helps nobody
        return None


def _samples(files: Sequence[File]) -> list[File]:
    """Some of the largest, and some of all."""
    largest = sorted(files, key=lambda file: -file.size)[: _SAMPLES // 2]
    return largest + list(files[:: max(1, 2 * len(files) // _SAMPLES)])


def _likeness(reader: LayerReader, samples: Sequence[File]) -> int:
    """Bytes of the samples that the tree seems to have."""
    nodes = [(file, reader.node(file.path)) for file in samples if file.path]
    return sum(file.size for file, node in nodes if node and node.kind == "file" and _near(node.size, file))


def _near(size: int, file: File) -> bool:
    return size == file.size or (len(file.chunks) > 1 and size > 0)


def _equal(finding: LocalFile, chunk: Chunk) -> bool:
    return bool(chunk.digest) and _digest(finding, chunk.offset, chunk.size) == chunk.digest


def _digest(finding: LocalFile, offset: int, size: int) -> str:
    """SHA-256 in hex of a part of a file, "" when it cannot be read or is too short."""
    hashed = sha256()
    try:
        with finding.open() as file:
            file.seek(offset)
            read_exactly(file.read, size, hashed.update)
    except (NotFound, NacreError, OSError):
        return ""
    return hashed.hexdigest()


def read_exactly(read: Callable[[int], bytes], size: int, take: Callable[[bytes], object]) -> None:
    """Hand `size` bytes on to `take`. Raises OSError when they end before."""
    while size:
        data = read(min(size, _CHUNK))
        if not data:
            raise OSError(5, "a file was truncated")
        take(data)
        size -= len(data)
