"""Descriptors that go through a Unix socket. Source: unix(7), SCM_RIGHTS."""

from __future__ import annotations

import _socket
import sys

_INT = 4


def hand(channel: _socket.socket, fd: int) -> None:
    """Send a descriptor, for `received`. Raises OSError."""
    rights = _socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd.to_bytes(_INT, sys.byteorder)
    channel.sendmsg([b"."], [rights])


def received(channel: _socket.socket) -> list[int]:
    """The descriptor that comes; none at the end of the stream. Raises OSError."""
    _, ancillary, _, _ = channel.recvmsg(1, _socket.CMSG_SPACE(_INT), _socket.MSG_CMSG_CLOEXEC)
    data = b"".join(data for _, kind, data in ancillary if kind == _socket.SCM_RIGHTS)
    return list(memoryview(data).cast("i"))
