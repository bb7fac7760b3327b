"""Compressing a stream: the same bytes for the same input, however it is cut and however many threads run."""

from __future__ import annotations

from ...words.errors import Unsupported, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from .threads import Threads

    class Encoder(Protocol):
        """What turns blocks into compressed bytes."""

        block: int

        def encode(self, data: bytes, /) -> None:
            """Take the next `block` bytes; fewer only at the end."""

        def finish(self) -> None:
            """Write the end of the stream and flush the encoder."""

        def stop(self) -> None:
            """Nothing is wanted any more. Idempotent."""


CHUNKED = "zstd:chunked"
DEFAULT_LEVELS = {"gzip": 2, "zstd": 3, CHUNKED: 3}
LEVELS = {"gzip": (0, 9), "zstd": (1, 22), CHUNKED: (1, 22)}
"""Levels of each codec. gzip 0…3 are ISA-L's, 4…9 are zlib's: smaller, and five to fifty times slower."""

_PIECE = 1 << 20
_MAX_THREADS = 16


def check_level(codec: str, level: int | None) -> int | None:
    """The level that counts, None where the codec has none. Raises UsageError, Unsupported."""
    if codec in ("", "none"):
        return None
    if codec not in LEVELS:
        raise Unsupported(f"cannot compress as {codec!r}: expected gzip, zstd, zstd:chunked or none")
    low, high = LEVELS[codec]
    if level is not None and not low <= level <= high:
        raise UsageError(f"{codec} has no compression level {level}: expected {low} to {high}")
    return DEFAULT_LEVELS[codec] if level is None else level


def block_size(codec: str) -> int:
    """Bytes of input that are compressed together; where it is cut decides on what is written."""
    from .gzip import BLOCK

    return BLOCK if codec == "gzip" else _PIECE


class Compressor:
    """Compresses a stream and passes the result to `write`."""

    def __init__(
        self, codec: str, write: Callable[[bytes], object], threads: Threads | None, level: int | None = None
    ) -> None:
        """`codec` gzip (levels 0…9, None: 2), zstd (1…22, None: 3) or none. Raises UsageError, Unsupported.

        A gzip header carries neither time nor name. The same bytes are promised for the same `recipe`, with
        any `threads`. None: all is done in the caller's thread, where zstd gives other bytes than its recipe.
        """
        if codec == CHUNKED:
            raise Unsupported("zstd:chunked is made of a whole tar only: `packing.pack`")
        self._encoder = _encoder(codec, check_level(codec, level), write, threads)
        self._waiting: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """Take the next bytes."""
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= self._encoder.block:
            self._encode(self._encoder.block)

    def close(self) -> None:
        """Write what is left and the trailer. Closes nothing else."""
        self._encode(1)
        self._encoder.finish()

    def stop(self) -> None:
        """Write nothing more; threads end. Idempotent."""
        self._encoder.stop()

    def _encode(self, least: int) -> None:
        # The encoders cut their blocks where their input is cut: always feed them the same sizes.
        data, block, at = b"".join(self._waiting), self._encoder.block, 0
        while len(data) - at >= least:
            self._encoder.encode(data[at : at + block])
            at += block
        self._waiting = [data[at:]]
        self._size = len(self._waiting[0])


class _Plain:
    block = _PIECE

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def encode(self, data: bytes) -> None:
        self._write(data)

    def finish(self) -> None:
        pass

    def stop(self) -> None:
        pass


class _ZstdEncoder:
    block = _PIECE

    def __init__(self, level: int, write: Callable[[bytes], object], threads: int) -> None:
        import zstandard

        # One worker or more gives other bytes than none, but the same for any number (zstd.h, nbWorkers).
        self._encoder = zstandard.ZstdCompressor(level, threads=threads).compressobj()
        self._write = write

    def encode(self, data: bytes) -> None:
        self._put(self._encoder.compress(data))

    def finish(self) -> None:
        self._put(self._encoder.flush())

    def stop(self) -> None:
        pass

    def _put(self, data: bytes) -> None:
        if data:
            self._write(data)


def _encoder(
    codec: str, level: int | None, write: Callable[[bytes], object], threads: Threads | None
) -> Encoder:
    if level is None:
        return _Plain(write)
    if codec == "gzip":
        from .gzip import GzipEncoder

        return GzipEncoder(level, write, threads)
    return _ZstdEncoder(level, write, 0 if threads is None else min(_MAX_THREADS, threads.processors))
