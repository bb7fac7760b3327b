"""A whole tar into any form that nacre writes, with what its descriptor must say of it."""

from __future__ import annotations

from collections import deque

from .compressor import CHUNKED, Compressor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..tar.entry import Reader
    from .threads import Threads

_PIECE = 1 << 20


def pack(
    stream: Reader, write: Callable[[bytes], object], codec: str, threads: Threads | None,
    level: int | None = None,
) -> dict[str, str]:  # fmt: skip
    """Compress the tar in `stream` into `write`, zstd:chunked too; the annotations of its descriptor.

    The bytes are those that `recipe` names. Raises UsageError, Unsupported, and what the two ends raise.
    """
    if codec == CHUNKED:
        from ..chunked.write import write_chunked

        return write_chunked(stream, write, threads, level)
    compressor = Compressor(codec, write, threads, level)
    while data := stream.read(_PIECE):
        compressor.write(data)
    compressor.close()
    return {}


class CompressedReader:
    """The same as something to read, but for zstd:chunked: what is read is compressed when it is wanted.

    Raises UsageError, Unsupported; reading raises what `stream` raises. Does not close it.
    """

    def __init__(self, stream: Reader, codec: str, threads: Threads | None, level: int | None = None) -> None:
        self._stream, self._ended = stream, False
        self._ready: deque[bytes] = deque()
        self._compressor = Compressor(codec, self._ready.append, threads, level)

    def read(self, size: int, /) -> bytes:
        """At least one byte and at most `size`; b"" at the end."""
        while not self._ready and not self._ended:
            data = self._stream.read(_PIECE)
            if data:
                self._compressor.write(data)
            else:
                self._ended = True
                self._compressor.close()
        return self._cut(size) if self._ready else b""

    def close(self) -> None:
        """No more is read. Idempotent."""
        self._compressor.stop()

    def _cut(self, size: int) -> bytes:
        data = self._ready.popleft()
        if len(data) > size:
            self._ready.appendleft(data[size:])
        return data[:size]
