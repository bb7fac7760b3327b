"""Places in a compressed stream where decompression can begin, found while it is read once.

    gzip    a member (RFC 1952), or a block within one with the 32 KiB before it (RFC 1951, 3.2.3)
    plain   anywhere

Only zlib tells where blocks begin, and Python's does not pass it on, so its library is called: `inflate`
with Z_BLOCK returns at the end of each block, with the bits that it has not used of the last byte. Sources:
zlib.h, and the example zran.c of zlib, whose method this is.
"""

from __future__ import annotations

from ...words.errors import InvalidArchive, Unsupported
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..tar.entry import Reader

WINDOW = 1 << 15
"""Most bytes before a block that it may refer to."""

_LIBRARY = "libz.so.1"
_INPUT, _OUTPUT = 1 << 18, 1 << 18
_Z_BLOCK, _Z_OK, _Z_STREAM_END, _Z_BUF_ERROR = 5, 0, 1, -5
_GZIP = 15 + 16
_AT_BLOCK, _LAST, _UNUSED = 128, 64, 7
_MAGIC = b"\x1f\x8b"


class Checkpoint(Value):
    """Decompression can begin `skip` bits into byte `start` of the stream.

    `window` is what comes before, for a block of a gzip member; b"" where nothing must be known.
    """

    start: int
    skip: int = 0
    window: bytes = b""


def aligned(packed: bytes | memoryview, skip: int) -> bytes:
    """A raw deflate stream that gives what the one from bit `skip` of these bytes on does.

    Bits cannot be shifted away, since stored blocks begin on bytes (RFC 1951, 3.2.4). Blocks without content
    take their place.
    """
    if not skip:
        return bytes(packed)
    filling, bits = (_DYNAMIC, _DYNAMIC_BITS) if skip % 2 else (0, 0)
    while bits % 8 != skip:
        filling |= _FIXED << bits
        bits += _FIXED_BITS
    first = packed[0] >> skip << skip
    filling |= first << bits - skip
    return b"".join((filling.to_bytes(bits // 8 + 1, "little"), packed[1:]))


def _dynamic() -> tuple[int, int]:
    """A block with a code of its own and no content: an odd number of bits. RFC 1951, 3.2.7."""
    fields = [(0, 1), (2, 2), (0, 5), (0, 5), (14, 4)]  # not the last; one code of distances
    fields += [(order in (2, 17), 3) for order in range(18)]  # lengths 18 and 1 have one bit each
    one, zeros = (0, 1), (1, 1)
    fields += [one, zeros, (127, 7), zeros, (106, 7), one, one]  # symbol 0, none of 255, the end; distance 0
    fields.append((1, 1))  # the end
    number = bits = 0
    for value, length in fields:
        number |= int(value) << bits
        bits += length
    return number, bits


_FIXED, _FIXED_BITS = 2, 10
"""A block with the fixed code and no content."""
_DYNAMIC, _DYNAMIC_BITS = _dynamic()


class PlainCheckpoints:
    """A stream that is not compressed."""

    def __init__(self, stream: Reader) -> None:
        self._stream, self._at = stream, 0

    def read(self, count: int, /) -> bytes:
        """The next bytes of the stream."""
        data = self._stream.read(count)
        self._at += len(data)
        return data

    def checkpoint(self) -> Checkpoint | None:
        """The one behind what was read last, if there is one just there."""
        return Checkpoint(self._at)


class GzipCheckpoints:
    """The plain content of all members of a gzip stream. Close it.

    A piece that `read` gives ends where a block does, if there is an end.
    """

    def __init__(self, stream: Reader) -> None:
        """Raises Unsupported where zlib's library is not to be had."""
        self._inflater = _Inflater()
        self._stream = stream
        self._consumed, self._tail = 0, b""
        self._found: tuple[int, int] | None = (0, 0)
        self._is_start, self._is_over = True, False

    def read(self, count: int, /) -> bytes:
        """The next plain bytes. Raises InvalidArchive."""
        while not self._is_over:
            data, state = self._inflater.step(min(count, _OUTPUT))
            if data:
                self._is_start, self._found = False, None
                self._tail = data[-WINDOW:] if len(data) >= WINDOW else (self._tail + data)[-WINDOW:]
            ended = self._note(state)
            while data and not ended and state & _AT_BLOCK and state & _LAST:  # the trailer follows
                ended = self._note(self._inflater.step(1)[1])
            if data:
                return data
        return b""

    def checkpoint(self) -> Checkpoint | None:
        """The one behind what was read last, if there is one just there."""
        if self._found is None:
            return None
        return Checkpoint(*self._found, b"" if self._is_start else self._tail)

    def close(self) -> None:
        """Free what zlib holds. Idempotent."""
        self._inflater.close()

    def _note(self, state: int) -> bool:
        """Where the decoder stands after a step; whether that was the end of a member."""
        if self._inflater.is_over:
            self._next_member()
            return True
        if state & _AT_BLOCK and not state & _LAST and not self._is_start:
            unused = state & _UNUSED
            self._found = (self._position - bool(unused), 8 - unused if unused else 0)
        elif self._inflater.is_hungry:
            self._feed()
        return False

    @property
    def _position(self) -> int:
        return self._consumed - self._inflater.left

    def _feed(self) -> None:
        """Always as much, however the stream comes: where a piece ends decides which places are seen."""
        data = b""
        while len(data) < _INPUT and (more := self._stream.read(_INPUT - len(data))):
            data += more
        if not data:
            raise InvalidArchive("gzip stream is truncated")
        self._consumed += len(data)
        self._inflater.feed(data)

    def _next_member(self) -> None:
        """Zeros between members are padding; what is no member counts for nothing, as for gzip(1)."""
        rest = self._inflater.rest()
        while len(rest := rest.lstrip(b"\0")) < len(_MAGIC) and (more := self._stream.read(_INPUT)):
            self._consumed += len(more)
            rest += more
        if not rest.startswith(_MAGIC):
            self._is_over, self._found = True, None
            while self._stream.read(_INPUT):  # whoever hashes what is read gets all of it
                pass
            return
        self._inflater.restart(rest)
        self._found, self._is_start, self._tail = (self._position, 0), True, b""


class _Inflater:
    """`inflate` of zlib's library over one stream. Nothing is checked here but what it returns."""

    def __init__(self) -> None:
        import ctypes

        try:
            self._zlib = ctypes.CDLL(_LIBRARY)
        except OSError:
            raise Unsupported(f"{_LIBRARY}, which an index of a gzip layer needs, is not here") from None
        self._zlib.zlibVersion.restype = ctypes.c_char_p
        self._stream = _stream_type()()
        self._output = ctypes.create_string_buffer(_OUTPUT)
        self._at, self._input = ctypes.addressof(self._output), b""
        self._copy, self._byref = ctypes.string_at, ctypes.byref(self._stream)
        size, version = ctypes.sizeof(self._stream), self._zlib.zlibVersion()
        if self._zlib.inflateInit2_(self._byref, _GZIP, version, size) != _Z_OK:
            raise Unsupported(f"{_LIBRARY} does not have the form of zlib 1")
        self._is_open, self.is_over = True, False

    @property
    def left(self) -> int:
        """Bytes that were fed and not used."""
        return int(self._stream.avail_in)

    @property
    def is_hungry(self) -> bool:
        """Whether all that was fed is used, and nothing is held back for want of room."""
        return not self._stream.avail_in and bool(self._stream.avail_out)

    def feed(self, data: bytes) -> None:
        """The next input; there must be none left."""
        import ctypes

        self._input = data
        self._stream.next_in = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p)
        self._stream.avail_in = len(data)

    def step(self, most: int) -> tuple[bytes, int]:
        """To the end of a block, or of input or room: what came out, and zlib's `data_type`."""
        stream = self._stream
        stream.next_out, stream.avail_out = self._at, most
        code = self._zlib.inflate(self._byref, _Z_BLOCK)
        if code not in (_Z_OK, _Z_STREAM_END, _Z_BUF_ERROR):
            message = (stream.msg or b"unknown").decode("ascii", "replace")
            raise InvalidArchive(f"gzip stream is damaged: {message}")
        self.is_over = code == _Z_STREAM_END
        return self._copy(self._at, most - stream.avail_out), int(stream.data_type)

    def rest(self) -> bytes:
        """What was fed and not used."""
        return self._input[len(self._input) - self.left :]

    def restart(self, data: bytes) -> None:
        """Another member, which begins with these bytes."""
        self._zlib.inflateReset(self._byref)
        self.is_over = False
        self.feed(data)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._zlib.inflateEnd(self._byref)


def _stream_type() -> Any:
    """`z_stream` of zlib.h, the same in every version 1."""
    import ctypes

    fields = (
        ("next_in", ctypes.c_void_p), ("avail_in", ctypes.c_uint), ("total_in", ctypes.c_ulong),
        ("next_out", ctypes.c_void_p), ("avail_out", ctypes.c_uint), ("total_out", ctypes.c_ulong),
        ("msg", ctypes.c_char_p), ("state", ctypes.c_void_p), ("zalloc", ctypes.c_void_p),
        ("zfree", ctypes.c_void_p), ("opaque", ctypes.c_void_p), ("data_type", ctypes.c_int),
        ("adler", ctypes.c_ulong), ("reserved", ctypes.c_ulong),
    )  # fmt: skip
    return type("z_stream", (ctypes.Structure,), {"_fields_": fields})
