"""Reading gzip, xz and bzip2: members one after the other, decoded in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

from ...words.errors import InvalidArchive
from ..tar.entry import Reader

MAX_XZ_MEMORY = 1 << 27
"""Most memory for xz; its highest level takes 65 MiB."""

_CHUNK = 1 << 18
_PIECE = 1 << 20
_FIRST = 1 << 12


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


_MAGIC = {"gzip": b"\x1f\x8b", "bzip2": b"BZh"}
"""How another member begins, where anything else behind one counts for nothing: gzip(1) and bzip2(1) ignore
it, with a warning. xz(1) does not.
"""


class MemberReader:
    """Concatenated members of gzip, xz or bzip2; zeros after the last are padding, and what is no member is
    passed over as the programs of these names do.
    """

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
        """The next plain bytes, at most `count`; b"" at the end. Raises InvalidArchive."""
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
        self._pending = (unused + self._pending).lstrip(b"\0")
        while not self._pending and (more := self._stream.read(_CHUNK)):
            self._pending = more.lstrip(b"\0")
        if self._is_member():
            self._decoder, self._slice = self._make(), _FIRST
            return
        self._decoder, self._pending = None, b""
        while self._stream.read(_CHUNK):  # whoever counts or hashes what is read gets all of it
            pass

    def _is_member(self) -> bool:
        """Does another member come next?"""
        magic = _MAGIC.get(self._codec)
        if magic is None:
            return bool(self._pending)
        while len(self._pending) < len(magic) and (more := self._stream.read(_CHUNK)):
            self._pending += more
        return self._pending.startswith(magic)


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


MEMBERS: dict[str, Callable[[], _Making]] = {
    "gzip": _gzip, "xz": _xz, "bzip2": _bzip2,
}  # fmt: skip
