"""Less than a layer on the wire: of a layer with a table of contents, only what the store has not.

    table ──► files that are here (`findings`) ──► ranges that are missing ──► scratch file
          └─► the tar again, bit for bit: literal bytes, files from here, pieces from the scratch ──► tree

The tree is only kept when the whole tar has the diff id that the config names, as with any other layer. So
a table can lie about everything and gains nothing: the layer is then fetched whole.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from hashlib import sha256
from typing import cast

from ...ground.files import os_errors, write_at
from ...ground.work.pipe import Stopped
from ...ground.work.threads import in_parallel
from ...words.errors import ContentError, DigestMismatch, InvalidArchive, NotFound, RegistryError, Unsupported
from ...words.sizes import human_size
from ...words.value import Value
from .localcontent import LocalContent, read_exactly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from threading import Event

    from ...grammars.chunked.layout import Chunk, File, TableOfContents
    from ...stores.store import Store
    from ...words.oci import Descriptor
    from ..model.source import Ranged
    from .job import LayerJob
    from .localcontent import LocalFile

LEAST = 1 << 18
"""Layers of fewer bytes come whole: one request is quicker than three."""
WORTH = 0.7
"""Most part of a layer that is fetched in pieces; with more, a stream is quicker."""
MOST_REQUESTS = 128
"""Ranges that lie close together become one, so that there are no more than this; long ones are cut again."""

_GAP = 1 << 15
_AT_ONCE = 12
_LONGEST = 1 << 20
_PIECE = 1 << 18

Span = tuple[int, int]


class PartialPull(Value):
    """What became of the try: `done`, the bytes that it fetched, and why it was given up ("": no reason)."""

    done: bool
    moved: int = 0
    reason: str = ""

    def status(self, descriptor: Descriptor) -> str:
        """Docker's words, and ours."""
        if self.done and self.moved < descriptor.size:
            size = human_size(descriptor.size)
            return f"Pull complete, {human_size(self.moved)} of {size} fetched"
        return f"Pull complete (full layer: {self.reason})" if self.reason else "Pull complete"


def try_partial(job: LayerJob) -> PartialPull:
    """Make the tree of a layer out of what is here and what is missing; the blob is not kept.

    Not done where the layer has no table of contents, where it would not pay, or where anything about it is
    wrong: then nothing has changed and the layer is to be fetched whole. Raises Stopped, StoreError.
    """
    keep = job.store.keeping.policy == "keep"  # then the blob itself is wanted
    if keep or not hasattr(job.source, "fetch_range") or job.layer.size < LEAST:
        return PartialPull(False)
    attempt = _Attempt(job, cast("Ranged", job.source))
    try:
        return PartialPull(attempt.run(), attempt.moved)
    except Stopped:
        raise
    except (ContentError, RegistryError, NotFound, Unsupported) as error:
        return PartialPull(False, attempt.moved, error.message)


class _Attempt:
    """One layer, tried once."""

    def __init__(self, job: LayerJob, source: Ranged) -> None:
        self._job, self._store, self._layer, self._task = job, job.store, job.layer, job.task
        self._source = source
        self.moved = 0

    def run(self) -> bool:
        """False: it would not pay."""
        layout = self._layout()
        if layout is None:
            return False
        with LocalContent(self._store, layout.files, self._job.diff_id) as findings:
            self._compare(layout, findings)
            pieces = Pieces(layout, findings)
            spans = coalesced(pieces.missing(), MOST_REQUESTS)
            if self.moved + sum(end - start for start, end in spans) > WORTH * self._layer.size:
                return False
            with _scratch(self._store) as scratch:
                self._download(spans, scratch)
                self._task.phase("Extracting")
                self._rebuild(layout, pieces, scratch)
        return True

    def _rebuild(self, layout: TableOfContents, pieces: Pieces, scratch: int) -> None:
        for variant in range(layout.variants):
            try:
                self._store.trees.ingest(ReassembledTar(layout, pieces, scratch, variant), self._job.diff_id)
                return
            except DigestMismatch:
                if variant == layout.variants - 1:
                    raise

    def _layout(self) -> TableOfContents | None:
        from ...grammars.chunked.forms import open_layout

        return open_layout(self._layer, self._read)

    def _read(self, start: int, end: int) -> bytes:
        """Some bytes of the blob, few enough for memory."""
        self._task.phase("Reading table of contents", end - start)
        parts: list[bytes] = []
        self._receive((start, end), lambda data, _at: parts.append(data))
        return b"".join(parts)

    def _compare(self, layout: TableOfContents, findings: LocalContent) -> None:
        self._task.phase("Comparing", sum(file.size for file in layout.files))
        for file in layout.files:
            self._job.check()
            findings.look(file)
            self._task.advance(file.size)

    def _download(self, spans: Sequence[Span], scratch: int) -> None:
        self._task.phase("Downloading", sum(end - start for start, end in spans))

        def bring(span: Span, stop: Event) -> None:
            def write(data: bytes, at: int) -> None:
                if stop.is_set():
                    raise Stopped("another part of the layer failed")
                with os_errors("write a part of a layer"):
                    write_at(scratch, data, at)

            self._receive(span, write)

        in_parallel(bring, list(cut(spans, _LONGEST)), _AT_ONCE)

    def _receive(self, span: Span, take: Callable[[bytes, int], object]) -> None:
        at, end = span
        with self._source.fetch_range(self._layer, at, end) as reader:
            while data := reader.read(_PIECE):
                self._job.check()
                take(data, at)
                at += len(data)
                self.moved += len(data)
                self._task.advance(len(data))
        if at != end:
            raise RegistryError(f"layer {self._layer.digest.short} came with {at - end:+} bytes in a range")


class Pieces:
    """Where each piece of each file comes from: a file that is here, or a chunk of the blob.

    Chunks of equal digest are fetched once.
    """

    def __init__(self, layout: TableOfContents, findings: LocalContent) -> None:
        self._findings = findings
        self._first: dict[str, Chunk] = {}
        self._needed: list[Span] = []
        for file in layout.files:
            for index, chunk in enumerate(file.chunks):
                if findings.piece(file, index) is None:
                    self._want(chunk)

    def _want(self, chunk: Chunk) -> None:
        if not chunk.digest or self._first.setdefault(chunk.digest, chunk) is chunk:
            self._needed.append((chunk.start, chunk.end))

    def missing(self) -> list[Span]:
        """What must be fetched, in the order of the blob."""
        return sorted(self._needed)

    def origin(self, file: File, index: int) -> LocalFile | Chunk:
        """Where one piece of a file comes from."""
        chunk = file.chunks[index]
        return self._findings.piece(file, index) or self._first.get(chunk.digest, chunk)


def coalesced(spans: Sequence[Span], most: int) -> list[Span]:
    """Sorted spans as at most `most`, or as many as lie far apart, with the gaps between near ones filled."""
    gap = _GAP
    while True:
        merged: list[Span] = []
        for start, end in spans:
            if merged and start - merged[-1][1] <= gap:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        if len(merged) <= most:
            return merged
        gap *= 2


def cut(spans: Iterable[Span], longest: int) -> Iterator[Span]:
    """The same bytes in spans that are no longer than that: one connection may be slow."""
    for start, end in spans:
        yield from ((at, min(at + longest, end)) for at in range(start, end, longest))


@contextmanager
def _scratch(store: Store) -> Iterator[int]:
    """A file without a name, as sparse as what is put into it."""
    with os_errors("write a part of a layer"), store.blobs.temporary() as file:
        yield file.fileno()


class ReassembledTar:
    """The tar of a layer as a stream. Raises ContentError where what it is made of is not as it was said."""

    def __init__(self, layout: TableOfContents, pieces: Pieces, scratch: int, variant: int = 0) -> None:
        self._layout, self._pieces, self._scratch, self._variant = layout, pieces, scratch, variant
        self._stream = self._parts()
        self._rest = memoryview(b"")

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most `size`."""
        while not self._rest:
            part = next(self._stream, None)
            if part is None:
                return b""
            self._rest = memoryview(part)
        count = len(self._rest) if size < 0 else size
        data, self._rest = bytes(self._rest[:count]), self._rest[count:]
        return data

    def _parts(self) -> Iterator[bytes]:
        for segment in self._layout.segments(self._variant):
            if isinstance(segment, bytes):
                yield segment
            else:
                yield from self._content(segment)

    def _content(self, file: File) -> Iterator[bytes]:
        """Runs of pieces that lie in one file here are read with one look at it."""
        index = 0
        while index < len(file.chunks):
            origin = self._pieces.origin(file, index)
            if isinstance(origin, tuple):
                yield from self._unpacked(origin)
                index += 1
                continue
            first = index
            while index < len(file.chunks) and origin.same(_finding(self._pieces.origin(file, index))):
                index += 1
            chunks = file.chunks[first:index]
            yield from _local(origin, chunks[0].offset, sum(chunk.size for chunk in chunks))

    def _unpacked(self, chunk: Chunk) -> Iterator[bytes]:
        from ...grammars.codecs.stream import decompress

        packed = _Packed(self._scratch, chunk.start, chunk.end)
        plain, left, hashed = decompress(packed, self._layout.codec), chunk.size, sha256()
        while left and (data := plain.read(min(left, _PIECE))):
            left -= len(data)
            hashed.update(data)
            yield data
        if left or (chunk.digest and hashed.hexdigest() != chunk.digest):
            raise InvalidArchive("a chunk of the layer does not match its table of contents")


def _finding(origin: LocalFile | Chunk) -> LocalFile | None:
    return None if isinstance(origin, tuple) else origin


def _local(finding: LocalFile, offset: int, size: int) -> Iterator[bytes]:
    parts: list[bytes] = []
    try:
        with finding.open() as file:
            file.seek(offset)
            while size:
                read_exactly(file.read, min(size, _PIECE), parts.append)
                size -= min(size, _PIECE)
                yield from parts
                parts.clear()
    except OSError as error:
        raise InvalidArchive(f"a file of the store can no longer be read: {error.strerror}") from None


class _Packed:
    """Some bytes of the scratch file as a stream."""

    def __init__(self, fd: int, start: int, end: int) -> None:
        self._fd, self._at, self._end = fd, start, end

    def read(self, size: int, /) -> bytes:
        """The next bytes, b"" at the end."""
        data = os.pread(self._fd, min(size, self._end - self._at), self._at)
        self._at += len(data)
        return data
