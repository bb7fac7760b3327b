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
    from typing import Any

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


def read_tarsplit(stream: Reader) -> Iterator[list[bytes | tuple[str, int]]]:
    """Literal bytes, and (name, size) for every file with content, in order, many at a time.

    Raises InvalidDocument.
    """
    for lines in _lines(stream):
        try:
            rows = loads(b"[%b]" % b",".join(lines))  # three lines for each member: one call for many
            if len(rows) != len(lines):
                raise ValueError
            yield _items(rows)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InvalidDocument("the tar-split of a layer is damaged") from None


def _items(rows: list[dict[str, Any]]) -> list[bytes | tuple[str, int]]:
    """Files without content are left out."""
    items: list[bytes | tuple[str, int]] = []
    for fields in rows:
        kind = fields["type"]
        if kind == _LITERAL:
            items.append(a2b_base64(fields["payload"], strict_mode=True))
        elif kind != _FILE:
            raise ValueError
        elif size := fields.get("size"):
            name = fields["name"]
            if type(name) is not str or type(size) is not int:
                raise ValueError
            items.append((name, size))
    return items


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
