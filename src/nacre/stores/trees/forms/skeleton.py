"""The tar of an unpacked layer, to the bit: a skeleton beside the folder, and a reader that follows it.

    trees/<hex>/skeleton    see grammars.tar.skeleton; absent where entries of the layer replaced files

Source of the idea: tar-split, which docker keeps for the same end.
"""

from __future__ import annotations

import io
import os

from ....grammars.tar.skeleton import FileRange, Recording, SkeletonWriter, read_skeleton
from ....grammars.tar.write import TarWriter
from ....ground.files import os_errors, unlink, write_all
from ....words.errors import InvalidArchive, StoreError, Unsupported
from ..files import SKELETON

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from ....grammars.tar.entry import Entry, Reader
    from ..interfaces import Write
    from ..model import StoredTree
    from ..reading.reader import LayerReader

_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


class _SkeletonFile:
    """A skeleton that is being written into a folder. `with` it; it goes again unless `done` was called."""

    def __init__(self, folder: str) -> None:
        self._path = f"{folder}/{SKELETON}"
        self._fd = os.open(self._path, _NEW, 0o600)
        self._whole = False
        self.skeleton = SkeletonWriter(lambda data: write_all(self._fd, data))

    def __exit__(self, *_exc: object) -> None:
        os.close(self._fd)
        if not self._whole:
            unlink(self._path)


class StreamRecorder(_SkeletonFile):
    """The skeleton of a tar that comes in: read `stream`, tell of each `file`."""

    def __init__(self, stream: Reader, folder: str) -> None:
        super().__init__(folder)
        self.stream = Recording(stream, self.skeleton)
        self.file = self.stream.file

    def __enter__(self) -> StreamRecorder:
        return self

    def done(self, *, replaced: int) -> None:
        """All is read. Where something was replaced, its content is lost, and a skeleton would be wrong."""
        self.stream.drain()
        self._whole = not replaced


class RecordingTarWriter(_SkeletonFile):
    """A Writer of a tar, and its skeleton, for files that stay where they are."""

    def __init__(self, write: Write, folder: str) -> None:
        super().__init__(folder)
        self._write = write
        self._tar = TarWriter(self._put)
        self._content: _FollowedContent | None = None

    def __enter__(self) -> RecordingTarWriter:
        return self

    def add(self, entry: Entry, payload: Reader | None = None) -> None:
        """Write one entry with its content, as TarWriter."""
        if payload is not None and entry.stored:
            payload = self._content = _FollowedContent(entry, payload)
        self._tar.add(entry, payload)
        self._content = None

    def _put(self, data: bytes) -> None:
        content = self._content
        if content is None or not content.given:
            self.skeleton.literal(data)
        elif not content.told:
            content.told = True
            self.skeleton.content(content.entry.path, content.entry)
        if content is not None:
            content.given = 0
        self._write(data)

    def close(self) -> None:
        """The end of the tar and of the skeleton."""
        self._tar.close()
        self.skeleton.close()
        self._whole = True


class _FollowedContent:
    """The content of a file on its way into a tar; `given`: the next bytes that are written are its own."""

    def __init__(self, entry: Entry, payload: Reader) -> None:
        self.entry, self._payload = entry, payload
        self.given, self.told = 0, False

    def read(self, count: int, /) -> bytes:
        data = self._payload.read(count)
        self.given = len(data)
        return data


def open_tar(tree: StoredTree, files: LayerReader) -> BinaryIO:
    """The tar of a tree whose files `files` reads. Raises Unsupported without a skeleton, StoreError."""
    with os_errors(f"read tree {tree.diff_id}"):
        try:
            file = open(f"{tree.folder}/{SKELETON}", "rb", buffering=0)
        except FileNotFoundError:
            files.close()
            raise Unsupported(
                f"layer {tree.diff_id} is kept unpacked, and its tar cannot be reproduced"
            ) from None
    return io.BufferedReader(_SkeletonTar(tree, file, files), 1 << 18)


class _SkeletonTar(io.RawIOBase):
    """Follows a skeleton; closes what it was given."""

    def __init__(self, tree: StoredTree, file: BinaryIO, files: LayerReader) -> None:
        self._tree, self._file, self._files = tree, file, files
        self._items = read_skeleton(file)
        self._literal = memoryview(b"")
        self._content = FileRange(b"", 0, 0)
        self._path, self._open = b"", -1

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """As RawIOBase's. Raises StoreError."""
        try:
            while not (self._literal or self._content.length):
                item = next(self._items, None)
                if item is None:
                    return 0
                self._take(item)
            return self._some(memoryview(buffer))
        except InvalidArchive as error:
            raise StoreError(f"tree {self._tree.diff_id}: {error.message}") from None

    def _take(self, item: bytes | FileRange) -> None:
        if isinstance(item, FileRange):
            self._content = item
        else:
            self._literal = memoryview(item)

    def _some(self, buffer: memoryview) -> int:
        if self._literal:
            count = min(len(buffer), len(self._literal))
            buffer[:count] = self._literal[:count]
            self._literal = self._literal[count:]
            return count
        path, offset, left = self._content
        with os_errors(f"read tree {self._tree.diff_id}"):
            count = os.preadv(self._opened(path), [buffer[: min(len(buffer), left)]], offset)
        if not count:
            raise InvalidArchive("a file is shorter than in the tar")
        self._content = FileRange(path, offset + count, left - count)
        return count

    def _opened(self, path: bytes) -> int:
        if self._open < 0 or path != self._path:
            self._drop()
            with self._files.open(path) as file:
                self._path, self._open = path, os.dup(file.fileno())
        return self._open

    def _drop(self) -> None:
        if self._open >= 0:
            os.close(self._open)
            self._open = -1

    def close(self) -> None:
        """Close the files. Idempotent."""
        if not self.closed:
            self._drop()
            self._file.close()
            self._files.close()
        super().close()
