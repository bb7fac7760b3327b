"""Compression of layers: gzip, zstd, xz, bzip2 and none, as streams."""

from __future__ import annotations

from collections.abc import Callable

from .tarentry import Reader


def sniff(head: bytes) -> str:
    """The codec that the first bytes (6 are enough) show: gzip, zstd, xz, bzip2, or "" for plain."""
    raise NotImplementedError


def media_codec(media_type: str) -> str:
    """The codec that a media type's suffix names: gzip, zstd or ""."""
    raise NotImplementedError


def decompress(stream: Reader, codec: str | None = None) -> Reader:
    """The plain content of `stream`, all members or frames of it.

    `codec` None: sniffed; "" or "none": as it is. Raises InvalidArchive for damaged or truncated data,
    Unsupported for an unknown codec. Does not close `stream`.
    """
    raise NotImplementedError


class Compressor:
    """Compresses into `write`, the same bytes for the same input whatever the pieces it comes in."""

    def __init__(self, codec: str, write: Callable[[bytes], object], level: int | None = None) -> None:
        """`codec` gzip (level 2 of 0…3), zstd (level 3) or none. Raises Unsupported."""
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        """Take the next bytes."""

    def close(self) -> None:
        """Write what is left and the trailer. Does not close anything else."""
