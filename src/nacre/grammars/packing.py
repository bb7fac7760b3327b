"""A whole tar into any form that nacre writes, with what its descriptor must say of it."""

from __future__ import annotations

from .codecs.compressor import CHUNKED, Compressor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .tarentry import Reader

_PIECE = 1 << 20


def pack(
    stream: Reader, write: Callable[[bytes], object], codec: str, level: int | None = None
) -> dict[str, str]:
    """Compress the tar in `stream` into `write`, zstd:chunked too; the annotations of its descriptor.

    The bytes are those that `recipe` names. Raises UsageError, Unsupported, and what the two ends raise.
    """
    if codec == CHUNKED:
        from .chunked.write import write_chunked

        return write_chunked(stream, write, level)
    compressor = Compressor(codec, write, level)
    while data := stream.read(_PIECE):
        compressor.write(data)
    compressor.close()
    return {}
