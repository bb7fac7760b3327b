"""Netlink: messages to the kernel, its answers and its own words when it refuses.

A message is a header of 16 bytes, a fixed part and attributes, each of these padded to four bytes. Everything
is in the byte order of the machine but what a family says otherwise. Source: netlink(7), rtnetlink(7);
linux Documentation/userspace-api/netlink/intro.rst.
"""

from __future__ import annotations

import _socket
import os
from struct import Struct

from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROUTE, NETFILTER = 0, 12
"""Protocols of netlink."""

REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
EXCL, CREATE, APPEND = 0x200, 0x400, 0x800
NESTED = 0x8000

_AF_NETLINK, _SOL_NETLINK, _CAP_ACK, _EXT_ACK = 16, 270, 10, 11
_ERROR, _DONE = 2, 3
_HEADER, _ATTRIBUTE, _CODE = Struct("=IHHII"), Struct("=HH"), Struct("=i")
_WORDS, _ACK_WORDS = 1, 0x200
_ROOM = 1 << 20
_LONGEST = 0xFFFF - 4


class Message(Value):
    """One message: its type, its flags beside REQUEST, and what follows the header.

    `answered`: it is acknowledged. `what` is what it does, for the error when the kernel refuses.
    """

    kind: int
    flags: int
    body: bytes
    what: str = ""
    answered: bool = True


def attribute(kind: int, data: bytes) -> bytes:
    """One attribute. Raises ValueError for data that is too long for one."""
    if len(data) > _LONGEST:
        raise ValueError(f"{len(data)} bytes do not fit into an attribute")
    return _ATTRIBUTE.pack(len(data) + 4, kind) + data + bytes(-len(data) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute made of attributes."""
    return attribute(kind | NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """A string attribute, which ends with NUL. Raises ValueError when it has one inside."""
    data = os.fsencode(value)
    if b"\0" in data:
        raise ValueError("embedded null byte")
    return attribute(kind, data + b"\0")


def attributes(data: bytes) -> dict[int, bytes]:
    """What a message carries, by type without the flag of nesting; of equal types the last."""
    found, place = {}, 0
    while place + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, place)
        if length < 4:
            break
        found[kind & ~NESTED] = data[place + 4 : place + length]
        place += length + (-length % 4)
    return found


class NetlinkError(OSError):
    """The kernel refused a message; `number` is its place among those sent, -1 for none of them."""

    def __init__(self, code: int, text: str, number: int) -> None:
        super().__init__(code, text)
        self.number = number


class Netlink:
    """A socket of one protocol in the network namespace of the calling thread. `with` or `close`."""

    def __init__(self, protocol: int, fd: int = -1) -> None:
        """`protocol` is ROUTE or NETFILTER, `fd` such a socket that is there already. Raises OSError."""
        kind, self._sequence = _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, 0
        if fd >= 0:
            self._socket = _socket.socket(_AF_NETLINK, kind, protocol, fd)
            return
        self._socket = _socket.socket(_AF_NETLINK, kind, protocol)
        self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._socket.bind((0, 0))

    def fileno(self) -> int:
        """The descriptor of the socket."""
        return self._socket.fileno()

    def send(self, messages: Sequence[Message]) -> None:
        """All in one call, and wait for all answers. Raises NetlinkError for the first that was refused.

        Of messages that are no batch of their family those before it, and those after it, have been obeyed.
        """
        first = self._send(messages)
        waiting = {first + n for n, message in enumerate(messages) if message.answered}
        refused: NetlinkError | None = None
        while waiting:
            for kind, flags, sequence, payload in self._receive():
                if kind != _ERROR or sequence < first:
                    continue
                waiting.discard(sequence)
                code = -_CODE.unpack_from(payload)[0]
                number = sequence - first
                if code and not messages[number].answered:
                    waiting.clear()
                if code and (refused is None or number < refused.number):
                    refused = _refused(code, flags, payload, messages[number].what, number)
        if refused:
            raise refused

    def ask(self, message: Message) -> Iterator[tuple[int, bytes]]:
        """The answers to a question or dump: types, and what follows the header. Raises NetlinkError."""
        first = self._send([message])
        while True:
            for kind, flags, sequence, payload in self._receive():
                if sequence != first:
                    continue
                if kind == _ERROR:
                    code = -_CODE.unpack_from(payload)[0]
                    if code:
                        raise _refused(code, flags, payload, message.what, 0)
                    return
                if kind == _DONE:
                    return
                yield kind, payload

    def _send(self, messages: Sequence[Message]) -> int:
        first = self._sequence + 1
        self._sequence += len(messages)
        data = bytearray()
        for number, message in enumerate(messages):
            flags = REQUEST | message.flags | (ACK if message.answered else 0)
            length = _HEADER.size + len(message.body)
            data += _HEADER.pack(length, message.kind, flags, first + number, 0) + message.body
            data += bytes(-length % 4)
        if len(data) > _ROOM // 8:
            self._socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, 2 * len(data))
        self._socket.send(data)
        return first

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        data, place = self._socket.recv(_ROOM), 0
        while place + _HEADER.size <= len(data):
            length, kind, flags, sequence, _ = _HEADER.unpack_from(data, place)
            yield kind, flags, sequence, data[place + _HEADER.size : place + length]
            place += length + (-length % 4)

    def close(self) -> None:
        """Close the socket; what it owns goes. Idempotent."""
        self._socket.close()

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _refused(code: int, flags: int, payload: bytes, what: str, number: int) -> NetlinkError:
    said = attributes(payload[_CODE.size + _HEADER.size :]) if flags & _ACK_WORDS else {}
    words = said.get(_WORDS, b"").rstrip(b"\0").decode(errors="replace")
    why = os.strerror(code) + (f" ({words})" if words else "")
    return NetlinkError(code, f"{what}: {why}" if what else why, number)
