"""One compressed piece of known length, in memory: without the stream that longer content needs."""

from __future__ import annotations

from typing import Any

from .frames import MAX_WINDOW


def unpack_piece(packed: bytes | memoryview, codec: str, size: int) -> bytes:
    """The first `size` plain bytes of a member, or all those of a frame that says that it has as many.

    b"" where it is anything else. Takes no more memory than `size` and the largest window.
    """
    found = _zstd(packed, size) if codec == "zstd" else _gzip(packed, size) if codec == "gzip" else b""
    return found if len(found) == size else b""


def _zstd(packed: bytes | memoryview, size: int) -> bytes:
    import zstandard

    try:
        told = zstandard.get_frame_parameters(packed)
        if told.content_size != size or told.window_size > MAX_WINDOW:
            return b""
        return zstandard.ZstdDecompressor().decompress(packed, max_output_size=size)
    except zstandard.ZstdError:
        return b""


def _gzip(packed: bytes | memoryview, size: int) -> bytes:
    from isal import isal_zlib

    damaged: Any = isal_zlib.error
    try:
        return bytes(isal_zlib.decompressobj(31).decompress(packed, size))
    except damaged:
        return b""
