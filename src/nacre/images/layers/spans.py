"""The content of a layer whose index is attached to its image: spans of the tar, each from a checkpoint on.

What a span holds is written only between the headers, which come from the index alone. So the tree that was
shown is that of the tar whose diff id is proven in the end.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from contextlib import suppress
from io import BytesIO
from typing import cast

from ...grammars.codecs.checkpoints import aligned
from ...grammars.codecs.stream import decompress
from ...grammars.sideindex import INDEX, LAYER, LayerIndex, window_of
from ...ground.files import write_at
from ...words.errors import ContentError, InvalidArchive, NotFound
from .extents import Extents, first_bytes
from .receive import fetch_small

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...grammars.sideindex import TarSpan
    from ...words.oci import Descriptor
    from .job import LayerJob

_TRIES = 3
_TRAILER = 8


def candidates(layer: Descriptor, attached: Sequence[Descriptor]) -> list[Descriptor]:
    """Of what is attached to an image the indexes of a layer, by their descriptors; a few at most."""
    named = (LAYER, str(layer.digest))
    return [one for one in attached if one.media_type == INDEX and named in one.annotations][:_TRIES]


def open_index(job: LayerJob, found: Sequence[Descriptor]) -> LayerIndex | None:
    """The first of some indexes that says itself that it is of the layer. Raises RegistryError."""
    for candidate in found:
        job.task.phase("Reading index", candidate.size)
        with suppress(ContentError, NotFound):
            index = LayerIndex.decode(fetch_small(job.source, candidate, "layer index"))
            if index.is_of(job.layer, job.diff_id):
                return index
    return None


class IndexedExtents(Extents):
    """The spans of an index; only the bytes that are content are written."""

    has_borders = False

    def __init__(self, index: LayerIndex) -> None:
        super().__init__(index.codec)
        self._spans = index.spans
        self._content, self._length = array("Q"), array("Q")
        at = 0
        for span in index.spans:
            self.add(at, span.size, (span.start, span.end), span.sha256.hex())
            at += span.size

    def following(self, pieces: Iterator[bytes | int]) -> Iterator[bytes | int]:
        """The same pieces of the tar; where contents are is noted."""
        at = 0
        for piece in pieces:
            if isinstance(piece, int):
                self._content.append(at)
                self._length.append(piece)
            at += piece if isinstance(piece, int) else len(piece)
            yield piece

    def unpack(self, number: int, packed: memoryview) -> bytes:
        """As `Extents.unpack`, from a checkpoint on."""
        return self.verified(number, _unpacked(self._spans[number], packed, self.codec))

    def write(self, tar: int, number: int, plain: bytes) -> None:
        """As `Extents.write`, but what is no content stays as it is."""
        begin, view = self.at[number], memoryview(plain)
        for start, stop in self._contents(begin, begin + len(plain)):
            write_at(tar, view[start - begin : stop - begin], start)

    def run(self, _number: int, _here: bytearray, _near: int) -> tuple[int, int]:
        """As `Extents.run`: all of it."""
        return 0, len(self) - 1

    def holes(self, start: int, stop: int, here: bytearray) -> list[tuple[int, int]]:
        """As `Extents.holes`: of a span only what is content."""
        spans = super().holes(start, stop, here)
        return [each for begin, end in spans for each in self._contents(max(start, begin), min(stop, end))]

    def _contents(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Where content lies in these bytes of the tar."""
        for each in range(max(0, bisect_right(self._content, begin) - 1), len(self._content)):
            start = max(begin, self._content[each])
            if start >= end:
                break
            stop = min(end, self._content[each] + self._length[each])
            if start < stop:
                yield start, stop


def _unpacked(span: TarSpan, packed: memoryview, codec: str) -> bytes:
    if codec == "none":
        return bytes(packed)
    if not span.window:
        return first_bytes(decompress(BytesIO(packed), codec), span.size)
    return _inflated(span, packed)


def _inflated(span: TarSpan, packed: memoryview) -> bytes:
    """From a block within a member on, and what follows in other members. Raises InvalidArchive."""
    from isal import isal_zlib

    inflater = isal_zlib.decompressobj(-15, zdict=window_of(span))
    try:
        plain = inflater.decompress(aligned(packed, span.skip), span.size)
    except cast("type[Exception]", isal_zlib.error) as error:
        raise InvalidArchive(f"a piece of a layer cannot be inflated: {error}") from None
    if len(plain) == span.size or not inflater.eof:
        return plain
    rest = inflater.unused_data[_TRAILER:].lstrip(b"\0")
    return plain + first_bytes(decompress(BytesIO(rest), "gzip"), span.size - len(plain))
