"""A blob that is streamed from a source to a sink and stored nowhere in between."""

from __future__ import annotations

from io import BytesIO

from ...ground.work.pipe import CHUNK
from ...words.digest import Verifier

SMALL = 1 << 20
"""Bytes of a blob that is held in memory while it is sent: registries often want it twice."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Self

    from ...grammars.tar.entry import Reader
    from ...words.oci import Descriptor
    from ..model.source import Content, Source


class StreamedBlob:
    """One blob, opened as often as the sink wants it (an upload that broke off goes on where it stood).

    Every byte is hashed when it comes for the first time, and the last of them are handed on only when all
    were right: no sink is told that it has everything before. Only what an earlier process has sent is not
    seen here; the far side verifies the whole of it.
    """

    def __init__(self, source: Source, blob: Descriptor) -> None:
        self.source, self.blob = source, blob
        self._held: bytes | None = None
        self._verifier = Verifier(blob.digest, blob.size, f"blob {blob.digest.short} of {source.where}")

    def open(self) -> Content:
        """From the beginning; whoever opens closes. A small blob is fetched once, whole."""
        if self.blob.size > SMALL:
            return Stretch(self)
        if self._held is None:
            with Stretch(self) as stretch:
                self._held = b"".join(iter(lambda: stretch.read(SMALL), b""))
        return BytesIO(self._held)

    def saw(self, at: int, data: bytes) -> None:
        """`data` has come for the place `at`. Raises DigestMismatch, TooLarge."""
        verifier = self._verifier
        known = verifier.count - at
        if 0 <= known < len(data):
            verifier.update(data[known:])
        if verifier.count == self.blob.size and at + len(data) >= self.blob.size:
            verifier.verify()


class Stretch:
    """A `Content` of a `StreamedBlob`; for one thread."""

    def __init__(self, passing: StreamedBlob) -> None:
        self._passing, self._at = passing, 0
        self._reader: Reader | None = None
        self._opened: AbstractContextManager[Reader] | None = None

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes. Raises RegistryError, ContentError."""
        if self._reader is None:
            self._opened = self._passing.source.fetch(self._passing.blob, self._at)
            self._reader = self._opened.__enter__()
        data = self._reader.read(CHUNK if size < 0 else size)
        self._passing.saw(self._at, data)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to `offset`; nothing is fetched before it is read."""
        if whence == 1:
            return self._at
        if offset != self._at:
            self.close()
            self._at = offset
        return self._at

    def tell(self) -> int:
        """The position of the next byte."""
        return self._at

    def close(self) -> None:
        """Close the source's blob. Idempotent."""
        opened, self._opened, self._reader = self._opened, None, None
        if opened is not None:
            opened.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
