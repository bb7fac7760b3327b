"""Compressed pieces of known length, in memory: without the stream that longer content needs."""

from __future__ import annotations

from typing import Any

from .frames import MAX_WINDOW


class PieceDecoder:
    """Of pieces of one codec. Safe for threads: what decompresses is used again, and by one at a time."""

    def __init__(self, codec: str) -> None:
        self._codec = codec
        self._spare: list[Any] = []

    def unpack(self, packed: bytes | memoryview, size: int) -> bytes:
        """The first `size` plain bytes of a member, or all those of a frame that says that it has as many.

        b"" where it is anything else. Takes no more memory than `size` and the largest window.
        """
        found = b""
        if self._codec == "zstd":
            found = self._zstd(packed, size)
        elif self._codec == "gzip":
            found = _gzip(packed, size)
        return found if len(found) == size else b""

    def _zstd(self, packed: bytes | memoryview, size: int) -> bytes:
        import zstandard

        try:
            told = zstandard.get_frame_parameters(packed)
            if told.content_size != size or told.window_size > MAX_WINDOW:
                return b""
            decoder = self._spare.pop() if self._spare else zstandard.ZstdDecompressor()
            plain: bytes = decoder.decompress(packed, max_output_size=size)
        except (zstandard.ZstdError, IndexError):  # another thread has taken the last one
            return b""
        self._spare.append(decoder)
        return plain


def _gzip(packed: bytes | memoryview, size: int) -> bytes:
    from isal import isal_zlib

    damaged: Any = isal_zlib.error
    try:
        return bytes(isal_zlib.decompressobj(31).decompress(packed, size))
    except damaged:
        return b""
