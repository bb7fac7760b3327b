"""As much of D-Bus as it takes to call a method and to wait for a signal.

Source: D-Bus Specification, "Message Protocol" and "Authentication Protocol".
"""

from __future__ import annotations

import _socket
from struct import Struct, pack, unpack_from
from struct import error as StructError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CALL, _ERROR, _SIGNAL = 1, 3, 4
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _DESTINATION, _SIGNATURE = 1, 2, 3, 4, 5, 6, 8
_FIELDS = {
    _PATH: "o", _INTERFACE: "s", _MEMBER: "s", _ERROR_NAME: "s", _REPLY_SERIAL: "u", _DESTINATION: "s",
    _SIGNATURE: "g",
}  # fmt: skip
_NUMBERS = {
    "y": "B",
    "b": "I",
    "n": "h",
    "q": "H",
    "i": "i",
    "u": "I",
    "x": "q",
    "t": "Q",
    "d": "d",
    "h": "I",
}
_SIZES = {"y": 1, "n": 2, "q": 2, "x": 8, "t": 8, "d": 8, "(": 8, "{": 8, "g": 1, "v": 1}
_HEADER = Struct("<4cIII")
_LONGEST = 1 << 20
_DEEPEST = 32
_SECONDS = 10.0
BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")


class BusError(OSError):
    """A method has answered with an error, or the bus does not speak D-Bus."""


class BusMessage:
    """What came: `kind`, `serial`, header `fields` by number, `values`."""

    def __init__(self, kind: int, serial: int, fields: dict[int, Any], values: tuple[Any, ...]) -> None:
        self.kind, self.serial, self.fields, self.values = kind, serial, fields, values


class Bus:
    """A connection to the bus at a socket; `with Bus(path, uid) as bus`. All raises OSError.

    `uid` is ours as the bus sees it, outside of a user namespace.
    """

    def __init__(self, path: str, uid: int) -> None:
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        self._buffer, self._serial = b"", 0
        self._late: list[BusMessage] = []
        try:
            self._socket.settimeout(_SECONDS)
            self._socket.connect(path)
            self._authenticate(uid)
            self.call(*BUS, "Hello")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Bus:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the bus, which forgets this connection."""
        self._socket.close()

    def _authenticate(self, uid: int) -> None:
        self._socket.sendall(b"\0AUTH EXTERNAL " + str(uid).encode().hex().encode() + b"\r\n")
        while b"\r\n" not in self._buffer:
            self._receive()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        if not line.startswith(b"OK "):
            raise BusError(f"the bus refuses user {uid}")
        self._socket.sendall(b"BEGIN\r\n")

    def call(
        self, destination: str, path: str, interface: str, member: str, signature: str = "", *values: Any
    ) -> tuple[Any, ...]:
        """The answer of a method."""
        self._serial += 1
        fields = {_PATH: path, _INTERFACE: interface, _MEMBER: member, _DESTINATION: destination}
        if signature:
            fields[_SIGNATURE] = signature
        self._socket.sendall(encode(_CALL, self._serial, fields, signature, values))
        while True:
            message = self._read()
            if message.fields.get(_REPLY_SERIAL) != self._serial:
                self._late.append(message)
            elif message.kind == _ERROR:
                raise BusError(str((*message.values, message.fields.get(_ERROR_NAME))[0]))
            else:
                return message.values

    def wait(self, member: str) -> tuple[Any, ...]:
        """The values of the next signal of that name; of those that came during a call the first."""
        while True:
            message = self._late.pop(0) if self._late else self._read()
            if message.kind == _SIGNAL and message.fields.get(_MEMBER) == member:
                return message.values

    def _read(self) -> BusMessage:
        self._fill(16)
        length = message_length(self._buffer)
        self._fill(length)
        data, self._buffer = self._buffer[:length], self._buffer[length:]
        return decode(data)

    def _fill(self, count: int) -> None:
        while len(self._buffer) < count:
            self._receive()

    def _receive(self) -> None:
        data = self._socket.recv(1 << 16)
        if not data or len(self._buffer) > _LONGEST:
            raise BusError("the bus has closed the connection")
        self._buffer += data


def encode(kind: int, serial: int, fields: dict[int, Any], signature: str, values: tuple[Any, ...]) -> bytes:
    """A message as the bus reads it."""
    body = bytearray()
    for each, value in zip(types_of(signature), values, strict=True):
        _write(body, each, value)
    head = bytearray(_HEADER.pack(b"l", bytes((kind,)), b"\0", b"\1", len(body), serial, 0)[:12])
    _write(head, "a(yv)", [(number, (_FIELDS[number], value)) for number, value in fields.items()])
    return bytes(head + b"\0" * (-len(head) % 8) + body)


def message_length(data: bytes) -> int:
    """Of the message that begins with these 16 bytes. Raises BusError."""
    if data[:1] != b"l" or data[3] != 1:
        raise BusError("the bus does not speak D-Bus")
    _, _, _, _, body, _, fields = _HEADER.unpack_from(data)
    length = 16 + fields + -fields % 8 + body
    if length > _LONGEST:
        raise BusError("the bus sends too much")
    return int(length)


def decode(data: bytes) -> BusMessage:
    """Raises BusError for what is no message."""
    try:
        pairs, at = _read(data, 12, "a(yv)")
        fields = {number: value for number, (_, value) in pairs}
        at += -at % 8
        values = []
        for each in types_of(fields.get(_SIGNATURE, "")):
            value, at = _read(data, at, each)
            values.append(value)
    except (StructError, ValueError, IndexError, TypeError, AttributeError) as error:
        raise BusError(f"the bus sends nonsense: {error}") from None
    return BusMessage(data[1], unpack_from("<I", data, 8)[0], fields, tuple(values))


def types_of(signature: str) -> list[str]:
    """The complete types of a signature. Raises ValueError."""
    found, at = [], 0
    while at < len(signature):
        end = _end(signature, at)
        found.append(signature[at:end])
        at = end
    return found


def _end(signature: str, at: int, depth: int = 0) -> int:
    if at >= len(signature) or depth > _DEEPEST:
        raise ValueError(f"bad signature {signature!r}")
    if signature[at] == "a":
        return _end(signature, at + 1, depth + 1)
    if signature[at] not in "({":
        return at + 1
    close, at = {"(": ")", "{": "}"}[signature[at]], at + 1
    while signature[at : at + 1] != close:
        at = _end(signature, at, depth + 1)
    return at + 1


def _pad(data: bytearray, kind: str) -> None:
    data += b"\0" * (-len(data) % _SIZES.get(kind[0], 4))


def _write(data: bytearray, kind: str, value: Any) -> None:
    _pad(data, kind)
    if kind in _NUMBERS:
        data += pack(f"<{_NUMBERS[kind]}", value)
    elif kind in "sog":
        text = value.encode()
        data += pack("<B" if kind == "g" else "<I", len(text)) + text + b"\0"
    elif kind == "v":
        _write(data, "g", value[0])
        _write(data, value[0], value[1])
    elif kind[0] == "a":
        _write_array(data, kind[1:], value)
    else:
        for each, one in zip(types_of(kind[1:-1]), value, strict=True):
            _write(data, each, one)


def _write_array(data: bytearray, kind: str, values: Any) -> None:
    """The length does not count the padding before the first element."""
    start = len(data)
    data += bytes(4)
    _pad(data, kind)
    begin = len(data)
    for value in values:
        _write(data, kind, value)
    data[start : start + 4] = pack("<I", len(data) - begin)


def _read(data: bytes, at: int, kind: str, depth: int = 0) -> tuple[Any, int]:
    if depth > _DEEPEST:
        raise ValueError("it is too deep")
    at += -at % _SIZES.get(kind[0], 4)
    if kind in _NUMBERS:
        number = Struct(f"<{_NUMBERS[kind]}")
        return number.unpack_from(data, at)[0], at + number.size
    if kind in ("s", "o", "g"):
        return _read_text(data, at, kind)
    if kind == "v":
        inner, at = _read_text(data, at, "g")
        (inner,) = types_of(inner)
        value, at = _read(data, at, inner, depth + 1)
        return (inner, value), at
    if kind[0] == "a":
        return _read_array(data, at, kind[1:], depth)
    values = []
    for each in types_of(kind[1:-1]):
        value, at = _read(data, at, each, depth + 1)
        values.append(value)
    return tuple(values), at


def _read_text(data: bytes, at: int, kind: str) -> tuple[str, int]:
    (length,) = unpack_from("<B" if kind == "g" else "<I", data, at)
    at += 1 if kind == "g" else 4
    if at + length >= len(data):
        raise ValueError("a text is cut short")
    return data[at : at + length].decode(), at + length + 1


def _read_array(data: bytes, at: int, kind: str, depth: int) -> tuple[list[Any], int]:
    (length,) = unpack_from("<I", data, at)
    at += 4
    at += -at % _SIZES.get(kind[0], 4)
    end, values = at + length, []
    if end > len(data):
        raise ValueError("an array is cut short")
    while at < end:
        before = at
        value, at = _read(data, at, kind, depth + 1)
        if at <= before:
            raise ValueError("an element is empty")
        values.append(value)
    return values, at
