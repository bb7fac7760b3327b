"""Reading zstd: frames one after the other, with a bounded window, truncation noticed."""

from __future__ import annotations

from typing import IO, cast

from ...words.errors import InvalidArchive
from ..tar.entry import Reader

MAX_WINDOW = 1 << 27
"""Most bytes of history a zstd frame may ask for (the limit of zstd itself, `--long=27`)."""

_FRAME, _SKIPPED = b"\x28\xb5\x2f\xfd", b"\x2a\x4d\x18"
_MAGIC, _SKIPPABLE, _DESCRIPTOR, _BLOCK = range(4)
"""What comes next of a stream."""
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
        self._state, self._need = _MAGIC, 4
        self._have, self._is_empty = b"", True
        self._skip = self._trailer = 0

    def read(self, count: int = -1) -> bytes:
        data = self._stream.read(count if count >= 0 else _CHUNK)
        self._follow(data)
        return data

    def check_end(self) -> None:
        """Raises InvalidArchive when the stream ended within a frame."""
        if self._is_empty or self._state != _MAGIC or self._have or self._skip:
            raise InvalidArchive("zstd stream is truncated")

    def _follow(self, data: bytes) -> None:
        """All headers in it. A stream of small files has tens of thousands: each step counts."""
        self._is_empty = self._is_empty and not data
        if self._have:
            data = self._have + data
        at, end, state, need = self._skip, len(data), self._state, self._need
        while end - at >= need:
            if state == _BLOCK:
                head = data[at] | data[at + 1] << 8 | data[at + 2] << 16
                at += 4 if head >> 1 & 3 == 1 else 3 + (head >> 3)
                if head & 1:
                    at += self._trailer
                    state, need = _MAGIC, 4
            else:
                at, state, need = self._begin(data, at, state)
        self._skip, self._have = max(0, at - end), data[at:]
        self._state, self._need = state, need

    def _begin(self, data: bytes, at: int, state: int) -> tuple[int, int, int]:
        """Of a frame: where to go on, what comes there, and how many bytes that takes."""
        if state == _DESCRIPTOR:
            descriptor = data[at]
            single = descriptor >> 5 & 1
            self._trailer = descriptor & 4
            return (
                at + 2 - single + (0, 1, 2, 4)[descriptor & 3] + (single, 2, 4, 8)[descriptor >> 6],
                _BLOCK,
                3,
            )
        if state == _SKIPPABLE:
            return at + 4 + int.from_bytes(data[at : at + 4], "little"), _MAGIC, 4
        magic = data[at : at + 4]
        if magic == _FRAME:
            return at + 4, _DESCRIPTOR, 1
        if magic[1:] != _SKIPPED or magic[0] & 0xF0 != 0x50:
            raise InvalidArchive("zstd stream is damaged: frames are not contiguous")
        return at + 4, _SKIPPABLE, 4
