"""Reading zstd: frames one after the other, with a bounded window, truncation noticed."""

from __future__ import annotations

from collections.abc import Generator
from typing import IO, cast

from ...words.errors import InvalidArchive
from ..tar.entry import Reader

MAX_WINDOW = 1 << 27
"""Most bytes of history a zstd frame may ask for (the limit of zstd itself, `--long=27`)."""

_CHUNK = 1 << 17
_PIECE = 1 << 20


def read_zstd(stream: Reader) -> Reader:
    """The plain content of all frames."""
    import zstandard

    decoder = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    frames = _Frames(stream)
    source = cast("IO[bytes]", frames)  # all that is used is read()
    reader = decoder.stream_reader(source, read_size=_CHUNK, read_across_frames=True, closefd=False)
    return _ZstdReader(frames, reader, zstandard.ZstdError)


class _ZstdReader:
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
                raise InvalidArchive("zstd stream is damaged: frames are not contiguous")
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
