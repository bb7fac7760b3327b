"""eStargz: a gzip layer with a member for every piece of a file, and its table in the last member but one.

    blob   = headers *( piece … ) table footer   an entry's `offset` is where the member of its piece begins
    piece  = content, padding, headers up to the next content
    table  = a tar with the one file stargz.index.json
    footer = 51 bytes: an empty member whose extra field says where the table begins

The digest of the JSON is an annotation of the layer. The whole blob decompressed, table included, is the
tar with the layer's diff id.
"""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise

from ...words.digest import Digest
from ...words.errors import InvalidArchive, InvalidDocument, InvalidName
from ...words.quickjson import loads
from ..codecs.stream import decompress
from ..tar.read import read_tar
from .goheader import STYLES, Names, header
from .layout import MAX_COMPRESSED, MAX_TABLE, Chunk, File, checked, hex_digest, literal_path, natural
from .toc import entry_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...words.oci import Descriptor
    from .forms import Read
    from .header import Fields

DIGEST = "containerd.io/snapshot/stargz/toc.digest"
FOOTER = 51

_NAME = b"stargz.index.json"
_HEAD = 1 << 22
"""Most bytes of headers before the first content."""


def announced(descriptor: Descriptor) -> Digest | None:
    """The digest of the table that a layer says to have."""
    text = dict(descriptor.annotations).get(DIGEST, "")
    try:
        return Digest(text) if text and descriptor.size > FOOTER else None
    except InvalidName:
        return None


def table_start(footer: bytes, size: int) -> int:
    """Where the table begins in a blob of `size` bytes, by its last 51. Raises InvalidDocument."""
    field = footer[16:38]
    digits = field[:16].lower()
    if footer[:2] != b"\x1f\x8b" or footer[12:14] != b"SG" or field[16:] != b"STARGZ":
        raise InvalidDocument("the layer has no eStargz footer")
    if digits.strip(b"0123456789abcdef") or not 0 < int(digits, 16) < size - FOOTER:
        raise InvalidDocument("the footer of the layer points outside it")
    return int(digits, 16)


class StargzTable:
    """A layer by its table, with the headers written again."""

    codec = "gzip"

    def __init__(self, digest: Digest, size: int, read: Read) -> None:
        """`size` is that of the blob, `read` gives parts of it. Raises InvalidDocument, InvalidArchive."""
        start = table_start(read(size - FOOTER, size), size)
        if size - FOOTER - start > MAX_COMPRESSED:
            raise InvalidDocument("the table of contents is too large")
        self._last = _plain(read(start, size - FOOTER), MAX_TABLE)
        entries = entry_list(_table(self._last, digest).get("entries"))
        self._entries = [entry for entry in entries if entry.get("type") != "chunk"]
        found = _files(entries, start)
        self._files: dict[int, File] = {id(entry): file for entry, file in found}
        self.files = [file for _, file in found]
        self._head = self._sample(start, read)
        self._styles = [style for style in STYLES if self._fits(style)]
        if not self._styles:
            raise InvalidDocument("the layer has headers that its table of contents does not describe")
        self.variants = len(self._styles)

    def _sample(self, end: int, read: Read) -> bytes:
        """The tar up to the second content, else the first: it shows of what style the headers are."""
        starts = sorted(file.chunks[0].start for file in self.files)[:2] or [end]
        fitting = [start for start in starts if 0 < start <= _HEAD]
        if not fitting:
            raise InvalidDocument("the layer has no headers before its first content, or too many")
        return _plain(read(0, fitting[-1]), 2 * _HEAD)

    def _fits(self, style: str) -> bool:
        """Are headers of this style what the sample has?"""
        at = 0
        for segment in self._written(style):
            if at >= len(self._head):
                break
            if isinstance(segment, bytes) and self._head[at : at + len(segment)] != segment:
                return False
            at += len(segment) if isinstance(segment, bytes) else segment.size
        return at == len(self._head)

    def segments(self, variant: int = 0) -> Iterator[bytes | File]:
        """The segments of the tar in order, as `Layout` says."""
        yield from self._written(self._styles[variant])
        yield self._last

    def _written(self, style: str) -> Iterator[bytes | File]:
        names = Names()
        for entry in self._entries:
            try:
                yield header(entry, style, names.of(entry))
            except (ValueError, KeyError, TypeError, OverflowError):
                raise InvalidDocument("the table of contents has an entry without a valid header") from None
            file = self._files.get(id(entry))
            if file is not None:
                yield file
                yield bytes(-file.size % 512)


def _plain(data: bytes, limit: int) -> bytes:
    stream, parts, left = decompress(BytesIO(data), "gzip"), [], limit
    while part := stream.read(left + 1):
        left -= len(part)
        if left < 0:
            raise InvalidArchive("a chunk of the layer is too long")
        parts.append(part)
    return b"".join(parts)


def _table(tar: bytes, digest: Digest) -> Fields:
    """The JSON in the last tar, verified."""
    for entry, payload in read_tar(BytesIO(tar), 1):
        data = b"".join(iter(lambda payload=payload: payload.read(1 << 20), b""))  # type: ignore[misc]
        if entry.path != _NAME or Digest.of(data, digest.algorithm) != digest:
            break
        try:
            fields = loads(data)
        except (ValueError, RecursionError):
            raise InvalidDocument("the table of contents is not valid JSON") from None
        if isinstance(fields, dict) and fields.get("version") == 1:
            return fields
        raise InvalidDocument("the table of contents has an unknown version")
    raise InvalidDocument("the table of contents does not match the digest in its layer's annotations")


def _files(entries: Sequence[Fields], limit: int) -> list[tuple[Fields, File]]:
    """Files with content, each with the entry that it begins with."""
    rows: list[list[Fields]] = []
    for entry in entries:
        if natural(entry, "innerOffset"):
            raise InvalidDocument("the table of contents has several chunks in one member")
        if entry.get("type") == "chunk" and rows and entry["name"] == rows[-1][0]["name"]:
            rows[-1].append(entry)
        elif entry.get("type") == "reg" and natural(entry, "size"):
            rows.append([entry])
    starts = sorted({natural(row, "offset") for file in rows for row in file} | {limit})
    after = dict(pairwise(starts))
    return [(file[0], _file(file, after, limit)) for file in rows]


def _file(rows: list[Fields], after: dict[int, int], limit: int) -> File:
    size, whole = natural(rows[0], "size"), hex_digest(rows[0].get("digest"))
    chunks = []
    for row in rows:
        start, offset = natural(row, "offset"), natural(row, "chunkOffset")
        length = natural(row, "chunkSize") or size - offset
        chunks.append(Chunk(start, after.get(start, 0), offset, length, hex_digest(row.get("chunkDigest"))))
    return checked(literal_path(str(rows[0]["name"])), size, whole, chunks, limit)
