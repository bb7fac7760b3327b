"""One gzip member out of blocks that are deflated side by side.

    member   = header *block last trailer         RFC 1952
    block    = deflate data of 256 KiB, ended on a byte by an empty stored block (RFC 1951, 3.2.4)
    last     = an empty final block               two bytes
    trailer  = crc32 length                       of all blocks together

Every block begins with the 32 KiB before it as its dictionary, so nothing is lost at the cuts: measured on
200 MB of libraries the member is 0.3 % smaller than ISA-L's own stream. Any gunzip reads it.
"""

from __future__ import annotations

from .threads import ordered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .threads import Threads

BLOCK = 1 << 18
"""Bytes of input in a block. Part of the recipe: another number makes other bytes."""

_WINDOW = 1 << 15
_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no name, no time, unknown system
_LAST = b"\x03\0"
_MEMORY = 8
_FASTEST_ZLIB = 4

Block = tuple[bytes, int, int]
"""Deflated bytes, CRC-32 and length of what is in them."""


def library(level: int) -> str:
    """Who deflates at a level, with its version: ISA-L up to 3, zlib from 4 on."""
    if level < _FASTEST_ZLIB:
        from isal import ISAL_VERSION

        return f"isa-l-{ISAL_VERSION}"
    import zlib

    return f"zlib-{zlib.ZLIB_RUNTIME_VERSION}"


class GzipEncoder:
    """Takes blocks of exactly BLOCK bytes, the last one may be shorter."""

    block = BLOCK

    def __init__(self, level: int, write: Callable[[bytes], object], threads: Threads | None) -> None:
        from isal import isal_zlib

        self._combine = isal_zlib.crc32_combine
        self._deflate = _deflater(level)
        self._write, self._calls = write, ordered(threads, self._take)
        self._before = b""
        self._crc = self._size = 0
        write(_HEADER)

    def encode(self, data: bytes) -> None:
        """Compress the next block in a worker."""
        self._calls.call(self._deflate, data, self._before)
        self._before = data[-_WINDOW:]

    def finish(self) -> None:
        """Write what is under way, and the end."""
        self._calls.finish()
        size = self._size & 0xFFFFFFFF
        self._write(_LAST + self._crc.to_bytes(4, "little") + size.to_bytes(4, "little"))

    def stop(self) -> None:
        """What is under way is not wanted any more."""
        self._calls.stop()

    def _take(self, block: Block) -> None:
        data, crc, size = block
        self._write(data)
        self._crc = self._combine(self._crc, crc, size)
        self._size += size


def _deflater(level: int) -> Callable[[bytes, bytes], Block]:
    from isal import isal_zlib

    if level < _FASTEST_ZLIB:
        new, flush = isal_zlib.compressobj, isal_zlib.Z_SYNC_FLUSH
    else:
        import zlib

        new, flush = zlib.compressobj, zlib.Z_SYNC_FLUSH  # type: ignore[assignment]

    def deflate(data: bytes, before: bytes) -> Block:
        common = (level, isal_zlib.DEFLATED, -15, _MEMORY)
        encoder = new(*common, zdict=before) if before else new(*common)
        return encoder.compress(data) + encoder.flush(flush), isal_zlib.crc32(data), len(data)

    return deflate
