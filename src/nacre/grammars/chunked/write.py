"""Writing zstd:chunked: a tar in frames of its own for every file, with a table of contents behind.

    blob  = *( headers *piece ) end table tar-split footer     each a zstd frame, the last three skippable
    piece = at most a MiB of one file                          so that a reader can fetch it by itself

Any zstd decoder gives the tar. A tar that no table can describe exactly (sparse files, names that are not
UTF-8, a path twice, extensions of other tars) is written in the same frames, without table or annotations.
"""

from __future__ import annotations

import threading
from collections import deque
from hashlib import sha256

from ...words.digest import Digest
from ...words.errors import InvalidArchive
from ...words.quickjson import dumps
from ..codecs.compressor import CHUNKED, check_level
from ..codecs.threads import ordered
from ..tar.read import read_tar
from .crc64 import Crc64
from .header import describe
from .layout import MAX_COMPRESSED, MAX_TABLE
from .tarsplit import TarSplitWriter
from .toc import CHECKSUM, POSITION, TARSPLIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..codecs.threads import Threads
    from ..tar.entry import Entry, Reader
    from .header import Fields

PIECE = 1 << 20
"""Most bytes of a file in one frame, and of headers. Part of the recipe."""

_SKIPPABLE = b"\x50\x2a\x4d\x18"
_MAGIC = b"GNUlInUx"
_CHUNK = 1 << 18


def write_chunked(
    stream: Reader, write: Callable[[bytes], object], threads: Threads | None, level: int | None = None
) -> dict[str, str]:
    """Compress the tar in `stream` into `write`; the annotations that its descriptor must have.

    {} when it could not get a table. The bytes depend on the content, the level and the version of zstd
    alone. Raises UsageError for a level that zstd has not. Holds about 1 KiB a member in memory.
    """
    writer = _Writer(write, threads, check_level(CHUNKED, level) or 0)
    try:
        return _written(writer, _HeaderRecorder(stream))
    finally:
        writer.stop()


def _written(writer: _Writer, source: _HeaderRecorder) -> dict[str, str]:
    try:
        for entry, payload in read_tar(source):
            writer.member(source.upto(entry.offset), entry)
            while size := writer.wanted():
                _pull(payload, size)
                writer.content(source.upto(source.base + size))
    except InvalidArchive:  # not for this function to judge: it is compressed as it is
        writer.give_up()
    writer.literal(source.upto(source.end))
    while source.read(_CHUNK):
        writer.literal(source.upto(source.end))
    return writer.finish()


def _pull(payload: Reader, size: int) -> None:
    while size > 0:
        data = payload.read(size)
        if not data:
            raise InvalidArchive("archive is truncated")
        size -= len(data)


class _HeaderRecorder:
    """A stream that keeps what was read until it is asked for."""

    def __init__(self, stream: Reader) -> None:
        self._stream = stream
        self._kept: deque[bytes] = deque()
        self.base = self.end = 0

    def read(self, count: int) -> bytes:
        data = self._stream.read(count)
        if data:
            self._kept.append(data)
            self.end += len(data)
        return data

    def upto(self, position: int) -> bytes:
        """Everything kept before a position of the stream; it is kept no longer."""
        parts, left = [], position - self.base
        while left > 0:
            part = self._kept.popleft()
            if len(part) > left:
                self._kept.appendleft(part[left:])
                part = part[:left]
            parts.append(part)
            left -= len(part)
        self.base = position
        return b"".join(parts)


class _Frame:
    """Where a frame came to lie, known once it is written."""

    __slots__ = ("digest", "end", "size", "start")

    def __init__(self, size: int) -> None:
        self.size = size
        self.start = self.end = 0
        self.digest = ""


class _Packer:
    """Frames, compressed side by side and written in order. Small ones go to a thread together."""

    def __init__(self, write: Callable[[bytes], object], threads: Threads | None, level: int) -> None:
        self._write, self._level = write, level
        self._local = threading.local()
        self._calls = ordered(threads, self._take)
        self._batch: list[tuple[bytes, _Frame]] = []
        self._size = 0
        self.position = 0

    def frame(self, data: bytes) -> _Frame:
        frame = _Frame(len(data))
        self._batch.append((data, frame))
        self._size += len(data)
        if self._size >= _CHUNK:
            self._send()
        return frame

    def stop(self) -> None:
        """What is under way is not wanted any more. Idempotent."""
        self._calls.stop()

    def finish(self) -> None:
        """Write all frames there are; their places are known then."""
        self._send()
        self._calls.finish()

    def _send(self) -> None:
        batch, self._batch, self._size = self._batch, [], 0
        self._calls.call(self._pack, batch)

    def skippable(self, data: bytes) -> int:
        """Write a frame that decoders pass over, after `finish`; where its content begins."""
        self.put(_SKIPPABLE + len(data).to_bytes(4, "little") + data)
        return self.position - len(data)

    def put(self, data: bytes) -> None:
        self._write(data)
        self.position += len(data)

    def compress(self, data: bytes) -> bytes:
        """As one frame, here and now. An encoder serves one thread."""
        if not hasattr(self._local, "encoder"):
            import zstandard

            self._local.encoder = zstandard.ZstdCompressor(self._level)
        packed: bytes = self._local.encoder.compress(data)
        return packed

    def _pack(self, batch: list[tuple[bytes, _Frame]]) -> list[tuple[bytes, _Frame]]:
        for data, frame in batch:
            frame.digest = sha256(data).hexdigest()
        return [(self.compress(data), frame) for data, frame in batch]

    def _take(self, batch: list[tuple[bytes, _Frame]]) -> None:
        position = self.position
        for data, frame in batch:
            frame.start = position
            position = frame.end = position + len(data)
        self.put(b"".join([data for data, _ in batch]))


class _Writer:
    """Follows a tar: literal bytes, members, their content."""

    def __init__(self, write: Callable[[bytes], object], threads: Threads | None, level: int) -> None:
        self._packer = _Packer(write, threads, level)
        self._rows: list[tuple[Fields, _ContentFrames]] | None = []
        self._seen: set[bytes] = set()
        self._raw: list[bytes] = []
        self._raw_size = self._left = 0
        self._split = _Split(level)
        self._content = _ContentFrames("", 0)
        self._padding = 0

    def member(self, raw: bytes, entry: Entry) -> None:
        """A member begins: `raw` is the padding of the one before, then its headers."""
        padding, head = raw[: self._padding], raw[self._padding :]
        fields = describe(head, entry) if self._rows is not None else None
        if fields is None or entry.path in self._seen:
            self.give_up()
        self._seen.add(entry.path)
        self._literal(padding)
        self._literal(head)
        stored = entry.stored if entry.kind == "file" else 0
        self._left, self._padding = stored, -stored % 512
        self._content = _ContentFrames(str((fields or {}).get("name")), stored)
        if self._rows is not None and fields is not None:
            self._rows.append((fields, self._content))
            if not stored:
                self._split.file(self._content)

    def wanted(self) -> int:
        """Bytes of content that `content` is to be given next; 0 when there are no more."""
        return min(self._left, PIECE)

    def content(self, data: bytes) -> None:
        """The next piece of the member's content."""
        self._flush()
        self._left -= len(data)
        frame = self._packer.frame(data)
        if self._rows is not None:
            self._content.add(data, frame)
            if not self._left:
                self._split.file(self._content)

    def literal(self, data: bytes) -> None:
        """What follows the last member."""
        self._literal(data)

    def _literal(self, data: bytes) -> None:
        if self._rows is not None:
            self._split.literal(data)
        self._raw.append(data)
        self._raw_size += len(data)
        if self._raw_size >= PIECE:
            self._flush()

    def _flush(self) -> None:
        data = b"".join(self._raw)
        self._raw, self._raw_size = [], 0
        for at in range(0, len(data), PIECE):
            self._packer.frame(data[at : at + PIECE])

    def stop(self) -> None:
        """Nothing more is wanted; threads end. Idempotent."""
        self._packer.stop()

    def give_up(self) -> None:
        """There will be no table."""
        self._rows = None

    def finish(self) -> dict[str, str]:
        """Write all that is left; the annotations."""
        self._flush()
        self._packer.finish()
        if not self._packer.position:  # no content at all is one empty frame
            self._packer.put(self._packer.compress(b""))
        tarsplit = self._split.finish()
        if self._rows is None or len(tarsplit) > MAX_COMPRESSED:
            return {}
        return self._table(tarsplit)

    def _table(self, tarsplit: bytes) -> dict[str, str]:
        entries = [entry for fields, content in self._rows or () for entry in content.entries(fields)]
        table = {"version": 1, "entries": entries, "tarSplitDigest": str(Digest.of(tarsplit))}
        plain = dumps(table).encode()
        packed = self._packer.compress(plain)
        if len(plain) > MAX_TABLE or len(packed) > MAX_COMPRESSED:
            return {}
        first = (self._packer.skippable(packed), len(packed), len(plain))
        second = (self._packer.skippable(tarsplit), len(tarsplit), self._split.size)
        numbers = (*first, 1, *second)
        self._packer.skippable(b"".join(n.to_bytes(8, "little") for n in numbers) + _MAGIC)
        return {
            CHECKSUM: str(Digest.of(packed)), POSITION: ":".join(map(str, (*first, 1))),
            TARSPLIT: ":".join(map(str, second)),
        }  # fmt: skip


class _ContentFrames:
    """The content of a member: its digest, its CRC, the frames it went into."""

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, size
        self.frames: list[_Frame] = []
        self._crc = Crc64()
        self._hash = sha256() if size > PIECE else None  # of one piece it is that of its frame

    def add(self, data: bytes, frame: _Frame) -> None:
        self.frames.append(frame)
        self._crc.update(data)
        if self._hash is not None:
            self._hash.update(data)

    def finish(self) -> bytes:
        """The CRC, b"" of nothing."""
        return self._crc.digest() if self.size else b""

    def _digest(self) -> str:
        """Known once the frames are written."""
        return f"sha256:{self._hash.hexdigest() if self._hash else self.frames[0].digest}"

    def entries(self, fields: Fields) -> list[Fields]:
        """The member's entry, with where its content lies, and one more for every further piece."""
        if not self.frames:
            return [fields]
        ends: Fields = {
            "digest": self._digest(),
            "offset": self.frames[0].start,
            "endOffset": self.frames[-1].end,
        }
        if len(self.frames) == 1:
            return [fields | ends]
        rows, at = [fields | ends], 0
        for frame in self.frames:
            piece: Fields = {"offset": frame.start, "chunkSize": frame.size}
            if at:
                rows.append({"type": "chunk", "name": self.name, "chunkOffset": at})
            rows[-1] |= piece | {"chunkDigest": f"sha256:{frame.digest}"}
            at += frame.size
        return rows


class _Split:
    """The tar-split, compressed as it grows."""

    def __init__(self, level: int) -> None:
        import zstandard

        self._encoder = zstandard.ZstdCompressor(level).compressobj()
        self._packed: list[bytes] = []
        self._lines: list[bytes] = []
        self._writer = TarSplitWriter(self._put)
        self.literal = self._writer.literal
        self.size = self._waiting = 0

    def file(self, content: _ContentFrames) -> None:
        self._writer.file(content.name, content.size, content.finish())

    def _put(self, data: bytes) -> None:
        """Lines go to the encoder together: a call of it costs as much as a hundred of them."""
        self.size += len(data)
        self._waiting += len(data)
        self._lines.append(data)
        if self._waiting >= _CHUNK:
            self._compress()

    def _compress(self) -> None:
        self._packed.append(self._encoder.compress(b"".join(self._lines)))
        self._lines, self._waiting = [], 0

    def finish(self) -> bytes:
        self._compress()
        return b"".join((*self._packed, self._encoder.flush()))
