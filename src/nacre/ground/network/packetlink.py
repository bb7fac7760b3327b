"""The other end of a container's link: what comes out there is read, and what is written there comes in.

A filter lets in what is passed on at all, so that nothing else wakes the process that keeps the container:
UDP and ICMP of IPv4 and IPv6, without the questions for neighbours and groups that IPv6 asks by itself.
Source: packet(7); socket(7), SO_ATTACH_FILTER; linux/bpf_common.h; RFC 4443.
"""

from __future__ import annotations

import _socket
from struct import Struct

from .. import libc
from .serving import abandon

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

NAME = "gateway"
LARGEST = 65535
"""Bytes of a packet."""

_ALL, _IP, _IP6 = 0x0003, 0x0800, 0x86DD
_SOL_PACKET, _IGNORE_OUTGOING, _ATTACH_FILTER = 263, 23, 26
_BYTE, _MASK, _EQUAL, _AT_LEAST, _RETURN = 0x30, 0x54, 0x15, 0x35, 0x06
_STEP = Struct("=HBBI")
_TAKEN, _DROPPED = 15, 16
_FILTER = (
    (_BYTE, 0, 0, 0), (_MASK, 0, 0, 0xF0), (_EQUAL, 3, 6, 0x40),
    (_BYTE, 0, 0, 9), (_EQUAL, _TAKEN, 5, 17), (_EQUAL, _TAKEN, _DROPPED, 1),
    (_EQUAL, 7, _DROPPED, 0x60), (_BYTE, 0, 0, 24), (_EQUAL, _DROPPED, 9, 0xFF),
    (_BYTE, 0, 0, 6), (_EQUAL, _TAKEN, 11, 17), (_EQUAL, 12, _DROPPED, 58),
    (_BYTE, 0, 0, 40), (_AT_LEAST, 14, _DROPPED, 1), (_AT_LEAST, _DROPPED, _TAKEN, 130),
    (_RETURN, 0, 0, 0xFFFFFFFF), (_RETURN, 0, 0, 0),
)  # fmt: skip
"""What a step leads to, if it tests, is the number of another. Packets of IPv6 to many are dropped."""


def _assembled() -> bytes:
    steps = bytearray()
    for number, (code, yes, no, value) in enumerate(_FILTER):
        if code in (_EQUAL, _AT_LEAST):
            yes, no = yes - number - 1, no - number - 1
        steps += _STEP.pack(code, yes, no, value)
    return bytes(steps)


class PacketLink:
    """Of one container: `mac` is the address of its end. The socket belongs to it."""

    def __init__(self, socket: _socket.socket, mac: bytes = b"") -> None:
        self._socket, self.mac = socket, mac

    @classmethod
    def open(cls) -> Self:
        """In the namespace of the calling thread, where the link is `NAME` already. Raises OSError."""
        kind = _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
        socket = _socket.socket(_socket.AF_PACKET, kind, 0)
        try:
            code = libc.create_string_buffer(_assembled())
            program = Struct("@HP").pack(len(_FILTER), libc.addressof(code))
            socket.setsockopt(_socket.SOL_SOCKET, _ATTACH_FILTER, program)
            socket.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
            socket.bind((NAME, _ALL))
        except BaseException:
            socket.close()
            raise
        return cls(socket)

    @classmethod
    def adopt(cls, fd: int, mac: bytes) -> Self:
        """One that is there already."""
        return cls(_socket.socket(_socket.AF_PACKET, _socket.SOCK_DGRAM, 0, fd), mac)

    def fileno(self) -> int:
        """The descriptor of the socket."""
        return self._socket.fileno()

    def read(self) -> bytes:
        """The next packet that has come out. Raises BlockingIOError for none, OSError."""
        return self._socket.recv(LARGEST)

    def write(self, packet: bytes) -> None:
        """Have a packet of IP come in. Raises OSError, also when the link is gone."""
        kind = _IP if packet[0] >> 4 == 4 else _IP6
        self._socket.sendto(packet, (NAME, kind, 0, 0, self.mac))

    def close(self) -> None:
        """Without waiting for the kernel."""
        abandon(self._socket)
