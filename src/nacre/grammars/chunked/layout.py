"""What a table of contents says of a layer, whatever its form."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from ...words.errors import InvalidDocument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_TABLE = 64 << 20
"""Most bytes of a table of contents, uncompressed. Bigger ones are not worth their memory."""
MAX_COMPRESSED = 16 << 20
"""Most bytes of a table, or of a tar-split, as they lie in the blob."""
MAX_TARSPLIT = 8 * MAX_TABLE
"""Most bytes of a tar-split, uncompressed: it is read as a stream, so this bounds the work alone."""
MAX_CHUNKS = 1_000_000
MAX_SIZE = 1 << 40


class Chunk(NamedTuple):
    """A piece of a file: bytes `start` to `end` of the blob, compressed by themselves, are `size` bytes at
    `offset` of the file. `digest` is the SHA-256 of the piece in hex; "" when the table does not say it.
    """

    start: int
    end: int
    offset: int
    size: int
    digest: str


class File(NamedTuple):
    """A regular file with content. `path` as in `Entry`; `digest` as that of a chunk."""

    path: bytes
    size: int
    digest: str
    chunks: tuple[Chunk, ...]


class TableOfContents(Protocol):
    """A table of contents: its files, and the tar as it is put together.

    `codec` is that of its chunks. Where the table does not say everything there are several `variants`, of
    which the digest of the tar tells the right one.
    """

    codec: str
    files: list[File]
    variants: int

    def segments(self, variant: int = 0) -> Iterator[bytes | File]:
        """The uncompressed tar, in order: literal bytes, and files whose content comes in between.

        Raises InvalidDocument.
        """


def checked(path: bytes, size: int, digest: str, chunks: Sequence[Chunk], limit: int) -> File:
    """A file whose chunks follow each other and lie before byte `limit`. Raises InvalidDocument."""
    at = 0
    for start, end, offset, length, _ in chunks:
        if offset != at or length <= 0 or not 0 <= start < end <= limit:
            raise InvalidDocument(f"the table of contents contradicts itself at {path[:200]!r}")
        at += length
    if at != size or not 0 < size <= MAX_SIZE:
        raise InvalidDocument(f"the table of contents does not cover {path[:200]!r}")
    return File(path, size, digest, tuple(chunks))


def literal_path(name: str) -> bytes:
    """A name as trees have it: relative, no `.` and empty parts; b"" for one that climbs."""
    path = name.encode("utf-8", "surrogatepass")
    if b"/." not in path and b"//" not in path and b"\0" not in path and path[:1] not in (b"", b".", b"/"):
        return path.removesuffix(b"/")  # nearly all are so
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    return b"" if b".." in parts or b"\0" in path else b"/".join(parts)


def hex_digest(value: object) -> str:
    """The hex of `sha256:…`, "" for nothing. Raises InvalidDocument for anything else."""
    if value in (None, ""):
        return ""
    if isinstance(value, str) and value.startswith("sha256:") and len(value) == 71:
        text = value[7:]
        if not text.strip("0123456789abcdef"):
            return text
    raise InvalidDocument(f"the table of contents has the impossible digest {str(value)[:100]!r}")


def natural(fields: dict[str, object], key: str) -> int:
    """A count. Raises InvalidDocument."""
    value = fields.get(key, 0)
    if type(value) is not int or not 0 <= value <= MAX_SIZE:
        raise InvalidDocument(f"the table of contents has an impossible {key}: {str(value)[:100]!r}")
    return value
