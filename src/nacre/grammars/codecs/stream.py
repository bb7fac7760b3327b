"""Compression of layers: gzip, zstd, xz, bzip2 and none, as streams with bounded memory.

Everything is decoded in this process by libraries that release the interpreter lock; no program is started
on foreign bytes. All members or frames of a stream count, as with `gzip -dc` and `zstd -dc`. The codecs
themselves are in the modules beside this one.
"""

from __future__ import annotations

from ...words.errors import InvalidArchive, Unsupported
from .compressor import Compressor, check_level

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..tar.entry import Reader

__all__ = ["Compressor", "check_level", "checksummer", "decompress", "media_codec", "sniff"]

_MAGIC = (
    (b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\xfd7zXZ\0", "xz"), (b"BZh", "bzip2"),
)  # fmt: skip
_FOREIGN = (
    (b"\x1f\x9d", "compress (.Z)"), (b"\x04\x22\x4d\x18", "lz4"), (b"LZIP", "lzip"), (b"LRZI", "lrzip"),
    (b"\x89LZO", "lzop"), (b"PK\x03\x04", "zip"), (b"7z\xbc\xaf", "7-Zip"), (b"Rar!", "RAR"),
    (b"\x5d\0\0", "lzma"),
)  # fmt: skip


def sniff(head: bytes) -> str:
    """The codec that the first bytes (6 are enough) show: gzip, zstd, xz, bzip2, or "" for plain."""
    for magic, codec in _MAGIC:
        if head.startswith(magic):
            return codec
    # RFC 8878 3.1.2: a skippable frame may come first
    return "zstd" if len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50 else ""


def media_codec(media_type: str) -> str:
    """The codec that a media type's suffix names: gzip, zstd or ""."""
    for codec in ("gzip", "zstd"):
        if media_type.endswith((f"+{codec}", f".{codec}")):
            return codec
    return ""


def decompress(stream: Reader, codec: str | None = None) -> Reader:
    """The plain content of `stream`, all members or frames of it.

    `codec` None: sniffed, and InvalidArchive if the content is compressed in a way that is not supported;
    "" or "none": as it is. Reading raises InvalidArchive for damaged or truncated data. Raises Unsupported
    for an unknown codec. Reads ahead; does not close `stream`.
    """
    if codec is None:
        head = _head(stream)
        codec = sniff(head) or _refuse_foreign(head)
        stream = PrefixedReader(head, stream)
    if codec in ("", "none"):
        return stream
    if codec == "zstd":
        from .frames import read_zstd

        return read_zstd(stream)
    from .members import MEMBERS, MemberReader

    if codec not in MEMBERS:
        raise Unsupported(f"unknown compression {codec!r}: expected gzip, zstd, xz, bzip2 or none")
    return MemberReader(stream, codec, *MEMBERS[codec]())


def _head(stream: Reader) -> bytes:
    head = b""
    while len(head) < 6 and (more := stream.read(6 - len(head))):
        head += more
    return head


def _refuse_foreign(head: bytes) -> str:
    for magic, name in _FOREIGN:
        if head.startswith(magic):
            raise InvalidArchive(
                f"{name} compression is not supported",
                hint="use a plain tar, gzip, zstd, xz or bzip2",
            )
    return ""


class PrefixedReader:
    """A stream whose first bytes were read already."""

    def __init__(self, head: bytes, stream: Reader) -> None:
        self._head, self._stream = head, stream

    def read(self, count: int, /) -> bytes:
        """The next bytes, first those of `head`."""
        if not self._head:
            return self._stream.read(count)
        if count < 0:
            count = len(self._head)
        data, self._head = self._head[:count], self._head[count:]
        return data


def checksummer() -> Callable[[bytes | memoryview, int], int]:
    """CRC-32 of bytes, going on from a number: ISA-L's, at 17 GB/s where zlib's does 0.9."""
    from isal import isal_zlib

    return isal_zlib.crc32
