"""The table of contents of zstd:chunked, as readers need it.

    blob   = *frame  table  tar-split  footer       the last three are skippable frames (RFC 8878, 3.1.2)
    table  = zstd of {"version": 1, "entries": […], "tarSplitDigest": …}
    footer = seven numbers of 64 bits and a magic word

Where the table lies and what it must hash to stands in the annotations of the layer's descriptor: those the
manifest's digest covers, the footer it does not, so the footer is written and never read.
"""

from __future__ import annotations

from io import BytesIO

from ...words.digest import Digest
from ...words.errors import InvalidArchive, InvalidDocument, InvalidName
from ...words.quickjson import loads
from ...words.value import Value
from ..codecs.stream import decompress
from .layout import (
    MAX_CHUNKS,
    MAX_COMPRESSED,
    MAX_SIZE,
    MAX_TABLE,
    MAX_TARSPLIT,
    Chunk,
    File,
    checked,
    hex_digest,
    literal_path,
    natural,
)
from .tarsplit import read_tarsplit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ...words.oci import Descriptor

CHECKSUM = "io.github.containers.zstd-chunked.manifest-checksum"
POSITION = "io.github.containers.zstd-chunked.manifest-position"
TARSPLIT = "io.github.containers.zstd-chunked.tarsplit-position"

_CRFS = 1


class Where(Value):
    """Where table and tar-split lie in a blob: start, compressed and plain length of each."""

    digest: Digest
    table: tuple[int, ...]
    tarsplit: tuple[int, ...]

    @property
    def span(self) -> tuple[int, int]:
        """First byte and end of what must be fetched to read both."""
        ends = [start + length for start, length, _ in (self.table, self.tarsplit)]
        return min(self.table[0], self.tarsplit[0]), max(ends)


def announced(descriptor: Descriptor) -> Where | None:
    """Where a layer has its table; None if it announces none that can be used (no tar-split, too large)."""
    notes = dict(descriptor.annotations)
    table = _numbers(notes.get(POSITION, ""), 4)
    tarsplit = _numbers(notes.get(TARSPLIT, ""), 3)
    if not table or not tarsplit or table[3] != _CRFS:
        return None
    try:
        where = Where(Digest(notes.get(CHECKSUM, "")), table[:3], tarsplit[:3])
    except InvalidName:
        return None
    fits = all(start > 0 and 0 < size <= MAX_COMPRESSED for start, size, _ in (table[:3], tarsplit))
    start, end = where.span
    apart = end - start <= 2 * MAX_COMPRESSED + 64
    bounded = table[2] <= MAX_TABLE and tarsplit[2] <= MAX_TARSPLIT
    return where if fits and apart and bounded and end <= descriptor.size else None


def _numbers(text: str, count: int) -> tuple[int, ...]:
    parts = text.split(":")
    if len(parts) != count or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
        return ()
    return tuple(int(part) for part in parts)


class ChunkedTable:
    """A layer by its table and its tar-split."""

    codec = "zstd"
    variants = 1

    def __init__(self, where: Where, data: bytes) -> None:
        """`data` are the bytes of `where.span`. Raises InvalidDocument, InvalidArchive."""
        base = where.span[0]
        table, tarsplit = (data[start - base :][:size] for start, size, _ in (where.table, where.tarsplit))
        if Digest.of(table, where.digest.algorithm) != where.digest:
            raise InvalidDocument(
                "the table of contents does not match the digest in its layer's annotations"
            )
        fields = _document(_plain(table, where.table[2]))
        if "sha256:" + hex_digest(fields.get("tarSplitDigest")) != Digest.of(tarsplit):
            raise InvalidDocument("the tar-split does not match the digest in the table of contents")
        self._tarsplit, self._plain = tarsplit, where.tarsplit[2]
        self._names = _files(fields.get("entries"), where.span[0])
        self.files = list(self._names.values())

    def segments(self, variant: int = 0) -> Iterator[bytes | File]:
        """The segments of the tar in order, as `Layout` says."""
        limited = _Limited(BytesIO(self._tarsplit), self._plain)
        for items in read_tarsplit(limited):
            for item in items:
                yield item if isinstance(item, bytes) else self._file(*item)

    def _file(self, name: str, size: int) -> File:
        file = self._names.get(name)
        if file is None or file.size != size:
            raise InvalidDocument("tar-split and table of contents of a layer contradict each other")
        return file


class _Limited:
    """The plain bytes of a zstd stream, at most so many."""

    def __init__(self, stream: BytesIO, limit: int) -> None:
        self._stream, self._left = decompress(stream, "zstd"), limit

    def read(self, count: int) -> bytes:
        data = self._stream.read(count)
        self._left -= len(data)
        if self._left < 0:
            raise InvalidDocument("the tar-split of a layer is longer than announced")
        return data


def _plain(data: bytes, size: int) -> bytes:
    stream, parts, left = decompress(BytesIO(data), "zstd"), [], size
    while left >= 0 and (part := stream.read(left + 1)):
        parts.append(part)
        left -= len(part)
    if left:
        raise InvalidArchive("the table of contents does not have the announced length")
    return b"".join(parts)


def _document(data: bytes) -> dict[str, object]:
    try:
        fields = loads(data)
    except (ValueError, RecursionError):
        raise InvalidDocument("the table of contents is not valid JSON") from None
    if not isinstance(fields, dict) or fields.get("version") != 1:
        raise InvalidDocument("the table of contents has an unknown version")
    return fields


def _files(entries: object, limit: int) -> dict[str, File]:
    """Regular files with content by the names that the tar has."""
    found: dict[str, File] = {}
    waiting: list[dict[str, Any]] = []
    for entry in entry_list(entries):
        kind = entry.get("type")
        if kind == "chunk" and waiting and entry["name"] == waiting[0]["name"]:
            waiting.append(entry)
            continue
        if waiting:
            _add(found, waiting, limit)
        waiting = [entry] if kind == "reg" and natural(entry, "size") else []
    if waiting:
        _add(found, waiting, limit)
    return found


def entry_list(entries: object) -> list[dict[str, Any]]:
    """The entries of a table. Raises InvalidDocument."""
    if not isinstance(entries, list) or len(entries) > MAX_CHUNKS:
        raise InvalidDocument("the table of contents has no list of entries, or one that is too long")
    if not set(map(type, entries)) <= {dict} or not {type(entry.get("name")) for entry in entries} <= {str}:
        raise InvalidDocument("the table of contents has an entry without a name")
    return entries


def _add(found: dict[str, File], rows: list[dict[str, Any]], limit: int) -> None:
    first, name = rows[0], rows[0]["name"]
    size, digest = first["size"], hex_digest(first.get("digest"))
    if name in found or size > MAX_SIZE:
        raise InvalidDocument(f"the table of contents names {name[:200]!r} twice")
    path = literal_path(name)
    if len(rows) == 1:  # nearly all are
        start, end = natural(first, "offset"), natural(first, "endOffset")
        found[name] = checked(path, size, digest, (Chunk(start, end, 0, size, digest),), limit)
        return
    ends = [natural(row, "offset") for row in rows[1:]] + [natural(first, "endOffset")]
    chunks = tuple(_chunk(row, end) for row, end in zip(rows, ends, strict=True))
    found[name] = checked(path, size, digest, chunks, limit)


def _chunk(row: dict[str, object], end: int) -> Chunk:
    start, offset = natural(row, "offset"), natural(row, "chunkOffset")
    return Chunk(start, end, offset, natural(row, "chunkSize"), hex_digest(row.get("chunkDigest")))
