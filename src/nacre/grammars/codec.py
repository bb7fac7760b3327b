"""Compression of layers: gzip, zstd, xz, bzip2 and none, as streams with bounded memory.

Everything is decoded in this process by libraries that release the interpreter lock; no program is started
on foreign bytes. All members or frames of a stream count, as with `gzip -dc` and `zstd -dc`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import IO, Protocol, cast

from ..words.errors import InvalidArchive, Unsupported
from .tarentry import Reader

MAX_WINDOW = 1 << 27
"""Most bytes of history a zstd frame may ask for (the limit of zstd itself, `--long=27`)."""
MAX_XZ_MEMORY = 1 << 27
"""Most memory for xz; its highest level takes 65 MiB."""

_CHUNK = 1 << 17
_PIECE = 1 << 20
BLOCK = _PIECE
"""Bytes that an encoder is given at a time; where it is cut decides on what it writes."""
LEVELS = {"gzip": 2, "zstd": 3}
"""The level at which a codec compresses unless told otherwise."""
_FIRST = 1 << 12
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
        stream = _Rejoined(head, stream)
    if codec in ("", "none"):
        return stream
    if codec == "zstd":
        return _zstd(stream)
    if codec not in _MEMBERS:
        raise Unsupported(f"unknown compression {codec!r}: expected gzip, zstd, xz, bzip2 or none")
    return _Members(stream, codec, *_MEMBERS[codec]())


def _head(stream: Reader) -> bytes:
    head = b""
    while len(head) < 6 and (more := stream.read(6 - len(head))):
        head += more
    return head


def _refuse_foreign(head: bytes) -> str:
    for magic, name in _FOREIGN:
        if head.startswith(magic):
            raise InvalidArchive(
                f"content is in {name} form, which is not supported",
                hint="supported are plain tar, gzip, zstd, xz and bzip2",
            )
    return ""


class _Rejoined:
    """A stream whose first bytes were read already."""

    def __init__(self, head: bytes, stream: Reader) -> None:
        self._head, self._stream = head, stream

    def read(self, count: int) -> bytes:
        if not self._head:
            return self._stream.read(count)
        if count < 0:
            count = len(self._head)
        data, self._head = self._head[:count], self._head[count:]
        return data


class _Decoder(Protocol):
    """What the decompressor objects of isal, lzma and bz2 share."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


_Making = tuple[Callable[[], _Decoder], tuple[type[Exception], ...]]


class _Members:
    """Concatenated members of gzip, xz or bzip2; zeros after the last are padding, all else is damage."""

    def __init__(
        self,
        stream: Reader,
        codec: str,
        make: Callable[[], _Decoder],
        errors: tuple[type[Exception], ...],
    ) -> None:
        self._stream, self._codec, self._make, self._errors = stream, codec, make, errors
        self._decoder: _Decoder | None = make()
        self._pending = b""
        self._slice = _CHUNK

    def read(self, count: int) -> bytes:
        wanted = count if count >= 0 else _PIECE
        while wanted and self._decoder is not None:
            data = self._step(self._decoder, wanted)
            if data:
                return data
        return b""

    def _step(self, decoder: _Decoder, wanted: int) -> bytes:
        if decoder.eof:
            self._next_member(decoder.unused_data)
            return b""
        piece = self._input() if decoder.needs_input else b""
        if decoder.needs_input and not piece:
            raise InvalidArchive(f"{self._codec} stream is truncated")
        try:
            return decoder.decompress(piece, wanted)
        except self._errors as error:
            raise InvalidArchive(f"{self._codec} stream is damaged: {error}") from None

    def _input(self) -> bytes:
        # A member's first slice is small: a flood of tiny members must not copy all that follows each time.
        if not self._pending:
            self._pending = self._stream.read(_CHUNK)
        if len(self._pending) <= self._slice:
            piece, self._pending = self._pending, b""
        else:
            piece, self._pending = self._pending[: self._slice], self._pending[self._slice :]
        self._slice = _CHUNK
        return piece

    def _next_member(self, unused: bytes) -> None:
        self._pending = unused + self._pending
        while not self._pending or not self._pending[0]:
            self._pending = self._pending.lstrip(b"\0") or self._stream.read(_CHUNK)
            if not self._pending:
                self._decoder = None
                return
        self._decoder, self._slice = self._make(), _FIRST


def _gzip() -> _Making:
    from isal import igzip_lib

    def make() -> _Decoder:
        decoder: _Decoder = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        return decoder

    return make, (cast("type[Exception]", igzip_lib.IsalError), EOFError)


def _xz() -> _Making:
    import lzma

    return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_XZ_MEMORY), (lzma.LZMAError, EOFError)


def _bzip2() -> _Making:
    import bz2

    return bz2.BZ2Decompressor, (OSError, ValueError, EOFError)


_MEMBERS: dict[str, Callable[[], _Making]] = {
    "gzip": _gzip, "xz": _xz, "bzip2": _bzip2,
}  # fmt: skip


def _zstd(stream: Reader) -> Reader:
    import zstandard

    decoder = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    frames = _Frames(stream)
    source = cast("IO[bytes]", frames)  # all that is used is read()
    reader = decoder.stream_reader(source, read_size=_CHUNK, read_across_frames=True, closefd=False)
    return _Zstd(frames, reader, zstandard.ZstdError)


class _Zstd:
    """zstandard's reader, with its errors mapped and truncation noticed."""

    def __init__(self, frames: _Frames, reader: Reader, error: type[Exception]) -> None:
        self._frames, self._reader, self._error = frames, reader, error

    def read(self, count: int) -> bytes:
        try:
            data = self._reader.read(count if count >= 0 else _PIECE)
        except self._error as error:
            raise InvalidArchive(f"zstd stream is damaged: {error}") from None
        if not data and count:
            self._frames.check_end()
        return data


class _Frames:
    """Follows the frames of a zstd stream as it passes, because the decoder, at the end of its input, does
    not tell a whole frame from a truncated one. Source: RFC 8878, section 3.1.
    """

    def __init__(self, stream: Reader) -> None:
        self._stream = stream
        self.inside = True
        self._walk = self._frames()
        self._need = next(self._walk)
        self._have = b""
        self._skip = 0

    def read(self, count: int = -1) -> bytes:
        data = self._stream.read(count if count >= 0 else _CHUNK)
        self._follow(data)
        return data

    def check_end(self) -> None:
        """Raises InvalidArchive when the stream ended within a frame."""
        if self.inside or self._have or self._skip:
            raise InvalidArchive("zstd stream is truncated")

    def _follow(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
            else:
                step = min(self._need - len(self._have), len(data) - at)
                self._have += data[at : at + step]
                self._advance()
            at += step

    def _advance(self) -> None:
        if len(self._have) == self._need:
            have, self._have = self._have, b""
            self._need = self._walk.send(have)

    def _frames(self) -> Generator[int, bytes, None]:
        """A coroutine that yields how many bytes it wants next and is sent them."""
        while True:
            magic = int.from_bytes((yield 4), "little")
            self.inside = True
            if magic & 0xFFFFFFF0 == 0x184D2A50:
                self._skip = int.from_bytes((yield 4), "little")
            elif magic == 0xFD2FB528:
                yield from self._frame()
            else:
                raise InvalidArchive("zstd stream is damaged: a frame does not begin where one ends")
            self.inside = False

    def _frame(self) -> Generator[int, bytes, None]:
        descriptor = (yield 1)[0]
        single = descriptor >> 5 & 1
        yield (1 - single) + (0, 1, 2, 4)[descriptor & 3] + (single, 2, 4, 8)[descriptor >> 6]
        last = 0
        while not last:
            block = int.from_bytes((yield 3), "little")
            last = block & 1
            self._skip = 1 if block >> 1 & 3 == 1 else block >> 3
        if descriptor & 4:
            yield 4


class Compressor:
    """Compresses into `write`: the same bytes for the same input, whatever the pieces it comes in."""

    def __init__(
        self, codec: str, write: Callable[[bytes], object], level: int | None = None, *, threads: int = 2
    ) -> None:
        """`codec` gzip (levels 0…3, None: 2), zstd (1…22, None: 3) or none. Raises Unsupported.

        A gzip header carries neither time nor name. The same bytes are promised for the same versions of
        ISA-L and zstd only, and for zstd's `threads` 0 (none but the caller's) or any other number.
        """
        self._write = write
        self._waiting: list[bytes] = []
        self._size = 0
        self._encoder = _encoder(codec, level, threads)

    def write(self, data: bytes) -> None:
        """Take the next bytes."""
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= _PIECE:
            self._encode(_PIECE)

    def close(self) -> None:
        """Write what is left and the trailer. Closes nothing else."""
        self._encode(1)
        self._put(self._encoder.flush())

    def _encode(self, least: int) -> None:
        # The encoders cut their blocks where their input is cut: always feed them the same sizes.
        data = b"".join(self._waiting)
        at = 0
        while len(data) - at >= least:
            self._put(self._encoder.compress(data[at : at + _PIECE]))
            at += _PIECE
        self._waiting = [data[at:]]
        self._size = len(self._waiting[0])

    def _put(self, data: bytes) -> None:
        if data:
            self._write(data)


class _Encoder(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Plain:
    def compress(self, data: bytes) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def _encoder(codec: str, level: int | None, threads: int) -> _Encoder:
    if codec == "gzip":
        from isal import isal_zlib

        encoder: _Encoder = isal_zlib.compressobj(_level(codec, level), isal_zlib.DEFLATED, 31)
        return encoder
    if codec == "zstd":
        import zstandard

        # One worker or more gives other bytes than none, but the same for any number (zstd.h, nbWorkers).
        return zstandard.ZstdCompressor(_level(codec, level), threads=threads).compressobj()
    if codec in ("", "none"):
        return _Plain()
    raise Unsupported(f"cannot compress as {codec!r}: expected gzip, zstd or none")


def _level(codec: str, level: int | None) -> int:
    return LEVELS[codec] if level is None else level
