"""Descriptors that go through a Unix socket. Source: unix(7), SCM_RIGHTS."""

from __future__ import annotations

import _socket
import sys

_INT = 4


def hand(channel: _socket.socket, fd: int) -> None:
    """Send a descriptor, for `received`. Raises OSError."""
    hand_all(channel, b".", (fd,))


def hand_all(channel: _socket.socket, data: bytes, fds: tuple[int, ...]) -> None:
    """Send descriptors with some bytes, for `received_all`. Raises OSError."""
    packed = b"".join([fd.to_bytes(_INT, sys.byteorder) for fd in fds])
    channel.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)])


def received(channel: _socket.socket) -> list[int]:
    """The descriptor that comes; none at the end of the stream. Raises OSError."""
    return received_all(channel, 1, 1)[1]


def received_all(channel: _socket.socket, length: int, count: int) -> tuple[bytes, list[int]]:
    """That many bytes and descriptors at most, nothing at the end of the stream. Raises OSError."""
    data, ancillary, _, _ = channel.recvmsg(
        length, _socket.CMSG_SPACE(count * _INT), _socket.MSG_CMSG_CLOEXEC
    )
    packed = b"".join(data for _, kind, data in ancillary if kind == _socket.SCM_RIGHTS)
    return data, list(memoryview(packed).cast("i"))
