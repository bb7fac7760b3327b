"""The index of a layer that has no table of contents of its own, as it is attached to an image.

    index    = "nacre layer index 1\\n" length:u32 head spans skeleton windows
    head     = JSON: layer {digest size} diffId codec tar spans skeleton
    span     = size:u32 start:u64 end:u64 skip:u8 window:u32 sha256:32      one for each piece of the tar
    skeleton = all of the tar but contents, as grammars.tar.skeleton, without paths
    window   = zstd of at most 32 KiB; no bytes where a span needs none

Numbers are little endian. The spans follow each other in the tar and cover it: decompressing bytes `start` to
`end` of the blob, from bit `skip` on and with the window before them, gives the next `size` bytes of the tar,
which have that SHA-256. Two spans share the byte that the second begins in.

Whoever wrote an index may have lied about everything: see docs/lazy.md.
"""

from __future__ import annotations

from io import BytesIO
from itertools import accumulate
from struct import Struct
from struct import error as struct_error

from ..words.digest import Digest
from ..words.errors import InvalidDocument, InvalidName, Unsupported
from ..words.quickjson import dumps, loads
from ..words.value import Value
from .codecs.stream import Compressor, decompress
from .tar.skeleton import read_skeleton

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..words.oci import Descriptor
    from .codecs.checkpoints import Checkpoint

ARTIFACT = "application/vnd.nacre.image.lazy.v1"
"""The artifact type of a manifest whose subject is an image's; its layers are of the two types below."""
INDEX = "application/vnd.nacre.layer.index.v1"
"""The index of one layer."""
PROFILE = "application/vnd.nacre.image.profile.v1+json"
"""What a program reads of an image."""
LAYER = "dev.nacre.layer.digest"
"""The annotation of an index that names its layer by digest."""
MAX_BLOB = 64 << 20
"""Most bytes of an index or a profile."""
MAX_SPAN = 64 << 20
"""Most bytes of a span, plain or compressed."""
MAX_SKELETON = 1 << 30
"""Most bytes of what is no content, decompressed as it is read."""
CODECS = ("gzip", "none")

_MAGIC = b"nacre layer index 1\n"
_LENGTH, _SPAN = Struct("<I"), Struct("<IQQBI32s")
_MAX_HEAD = 4096
_MAX_TAR = 1 << 44
_WINDOW = 1 << 15


class TarSpan(Value):
    """A piece of the tar and where it lies in the blob; `window` as in the index, compressed."""

    size: int
    start: int
    end: int
    skip: int
    window: bytes
    sha256: bytes


class LayerIndex(Value):
    """An index: of which layer, and what it says."""

    layer: Digest
    size: int
    diff_id: Digest
    codec: str
    tar: int
    spans: tuple[TarSpan, ...]
    skeleton: bytes

    def is_of(self, layer: Descriptor, diff_id: Digest) -> bool:
        """Whether it says that it is the index of this layer."""
        return (self.layer, self.size, self.diff_id) == (layer.digest, layer.size, diff_id)

    def pieces(self) -> Iterator[bytes | int]:
        """The tar in order: its literal bytes, and how many bytes of content come between them.

        Raises InvalidDocument, InvalidArchive.
        """
        left, literal = self.tar, MAX_SKELETON
        for item in read_skeleton(BytesIO(self.skeleton)):
            piece = item if isinstance(item, bytes) else item.length
            left -= len(piece) if isinstance(piece, bytes) else piece
            literal -= len(piece) if isinstance(piece, bytes) else 0
            if left < 0 or literal < 0:
                raise InvalidDocument("the index of the layer has a skeleton that is too long")
            if piece:
                yield piece
        if left:
            raise InvalidDocument("the index of the layer has a skeleton that is too short")

    def encode(self) -> bytes:
        """The bytes of the index: the same for the same layer. Raises Unsupported if it is too large."""
        head = dumps({
            "layer": {"digest": str(self.layer), "size": self.size}, "diffId": str(self.diff_id),
            "codec": self.codec, "tar": self.tar, "spans": len(self.spans), "skeleton": len(self.skeleton),
        }).encode()  # fmt: skip
        rows = [_packed(span) for span in self.spans]
        windows = [span.window for span in self.spans]
        data = b"".join([_MAGIC, _LENGTH.pack(len(head)), head, *rows, self.skeleton, *windows])
        if len(data) > MAX_BLOB:
            raise Unsupported(f"the index of layer {self.layer.short} has more than {MAX_BLOB} bytes")
        return data

    @classmethod
    def decode(cls, data: bytes) -> LayerIndex:
        """Read one, as far as it makes sense by itself. Raises InvalidDocument."""
        try:
            return _decoded(memoryview(data))
        except (struct_error, ValueError, KeyError, TypeError, RecursionError, InvalidName):
            raise InvalidDocument("the index of the layer is damaged") from None


def _packed(span: TarSpan) -> bytes:
    return _SPAN.pack(span.size, span.start, span.end, span.skip, len(span.window), span.sha256)


def _decoded(data: memoryview) -> LayerIndex:
    at = len(_MAGIC) + _LENGTH.size
    (length,) = _LENGTH.unpack(data[len(_MAGIC) : at])
    if data[: len(_MAGIC)] != _MAGIC or length > _MAX_HEAD:
        raise InvalidDocument("the index of the layer has an unknown format")
    head = loads(bytes(data[at : at + length]))
    layer, size = Digest(str(head["layer"]["digest"])), _count(head["layer"]["size"])
    tar, spans, skeleton = (_count(head[key]) for key in ("tar", "spans", "skeleton"))
    middle = at + length + spans * _SPAN.size
    rows = list(_SPAN.iter_unpack(data[at + length : middle]))
    windows = _windows(data[middle + skeleton :], [row[4] for row in rows])
    made = tuple(
        TarSpan(count, start, end, skip, window, sha256)
        for (count, start, end, skip, _, sha256), window in zip(rows, windows, strict=True)
    )
    codec = head["codec"]
    if codec not in CODECS or len(rows) != spans or len(data) < middle + skeleton:
        raise ValueError
    _check(made, codec, size, tar)
    return LayerIndex(
        layer, size, Digest(str(head["diffId"])), codec, tar, made, bytes(data[middle : middle + skeleton])
    )


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_TAR:
        raise ValueError
    return value


def _windows(data: memoryview, lengths: Sequence[int]) -> Iterator[bytes]:
    ends = list(accumulate(lengths))
    if (ends[-1] if ends else 0) != len(data):
        raise ValueError
    return (bytes(data[end - length : end]) for end, length in zip(ends, lengths, strict=True))


def _check(spans: Sequence[TarSpan], codec: str, size: int, tar: int) -> None:
    """They cover the tar, lie within the blob in order, and are small enough for memory."""
    before = 0
    for span in spans:
        fits = before <= span.start < span.end <= size and 0 < span.size <= MAX_SPAN
        packed = codec == "gzip" and span.skip < 8 and (span.window or not span.skip)
        plain = span.end - span.start == span.size and not span.skip and not span.window
        if not (fits and span.end - span.start <= MAX_SPAN and (packed or plain)):
            raise InvalidDocument("the index of the layer contradicts itself")
        before = span.start
    if sum(span.size for span in spans) != tar:
        raise InvalidDocument("the spans of the index do not cover the layer")


def span_of(size: int, checkpoint: Checkpoint, end: int, sha256: bytes) -> TarSpan:
    """A piece of the tar that begins at a checkpoint."""
    window = _compressed(checkpoint.window) if checkpoint.window else b""
    return TarSpan(size, checkpoint.start, end, checkpoint.skip, window, sha256)


def _compressed(data: bytes) -> bytes:
    parts: list[bytes] = []
    compressor = Compressor("zstd", parts.append, None)
    compressor.write(data)
    compressor.close()
    return b"".join(parts)


def window_of(span: TarSpan) -> bytes:
    """The bytes before it, as far as it needs them. Raises InvalidArchive."""
    if not span.window:
        return b""
    stream, parts, left = decompress(BytesIO(span.window), "zstd"), [], _WINDOW
    while left and (part := stream.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
