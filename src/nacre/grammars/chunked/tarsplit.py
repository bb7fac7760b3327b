"""tar-split: what of a tar is not the content of its files, so that it can be put together again bit for bit.

One JSON object a line: {"type": 2, "payload": base64, "position": n} is literal bytes, {"type": 1, "name",
"size", "payload": base64 of a CRC-64, "position": n} stands for the content of a file; every header has one,
also where the size is 0. Source: vbatts/tar-split, tar/storage/entry.go.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64

from ...words.errors import InvalidDocument
from ...words.quickjson import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..tar.entry import Reader

MAX_LINE = 4 << 20
"""Most bytes of one line: a header with a megabyte of extended records fits."""

_CHUNK = 1 << 17
_FILE, _LITERAL = 1, 2


class TarSplitWriter:
    """Writes lines through `write`."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._position = 0

    def literal(self, data: bytes) -> None:
        """Bytes of the tar; nothing is written for none."""
        if data:
            self._line(b'{"type":2,"payload":"%b"' % b2a_base64(data, newline=False))

    def file(self, name: str, size: int, crc: bytes) -> None:
        """The content of the member `name`, as its header has it; `crc` is b"" for no content."""
        fields = b'{"type":1,"name":%b' % dumps(name).encode()
        if size:
            fields += b',"size":%d' % size
        payload = b'"%b"' % b2a_base64(crc, newline=False) if crc else b"null"
        self._line(fields + b',"payload":' + payload)

    def _line(self, fields: bytes) -> None:
        """Put together by hand: there are three for each member."""
        self._write(b'%b,"position":%d}\n' % (fields, self._position))
        self._position += 1


def read_tarsplit(stream: Reader) -> Iterator[bytes | tuple[str, int]]:
    """Literal bytes, and (name, size) for every file with content, in order. Raises InvalidDocument."""
    for lines in _lines(stream):
        try:
            rows = loads(b"[%b]" % b",".join(lines))  # three lines for each member: one call for many
            if len(rows) != len(lines):
                raise ValueError
            for fields in rows:
                if item := _item(fields):
                    yield item
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InvalidDocument("the tar-split of a layer is damaged") from None


def _item(fields: dict[str, object]) -> bytes | tuple[str, int] | None:
    """None for a file without content."""
    kind = fields["type"]
    if kind == _LITERAL:
        return a2b_base64(str(fields["payload"]), strict_mode=True)
    if kind != _FILE:
        raise ValueError
    size = fields.get("size")
    if not size:
        return None
    name = fields.get("name")
    if not isinstance(name, str) or type(size) is not int:
        raise ValueError
    return name, size


def _lines(stream: Reader) -> Iterator[list[bytes]]:
    """Many at a time."""
    rest = b""
    while data := stream.read(_CHUNK):
        *whole, rest = (rest + data).split(b"\n")
        yield [line for line in whole if line]
        if len(rest) > MAX_LINE:
            raise InvalidDocument("the tar-split of a layer has a line without end")
    if rest.strip():
        yield [rest]
