"""Sockets of programs, looked at and remade elsewhere. Source: socket(7), tcp(7), ip(7), ipv6(7)."""

from __future__ import annotations

import _socket
import fcntl
import os
import sys
from errno import ENOTSOCK
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

INET, INET6 = _socket.AF_INET, _socket.AF_INET6
TCP, MPTCP = 6, 262
SYN_SENT, CLOSED, LISTEN = 2, 7, 10
"""States of TCP. Source: linux/net/tcp_states.h."""

_SO_COOKIE, _SIOCGSKNS = 57, 0x894C
_TIMES, _LINGER = Struct("@ll"), Struct("@ii")
_MAPPED = bytes(10) + b"\xff\xff"

_BUFFERS = ((_socket.SOL_SOCKET, _socket.SO_SNDBUF), (_socket.SOL_SOCKET, _socket.SO_RCVBUF))
_NUMBERS = (
    *((_socket.SOL_SOCKET, option) for option in (
        _socket.SO_KEEPALIVE, _socket.SO_OOBINLINE, _socket.SO_REUSEADDR, _socket.SO_RCVLOWAT, 12, 29, 35,
    )),  # priority, two kinds of time stamps
    *((TCP, option) for option in (
        _socket.TCP_NODELAY, _socket.TCP_CORK, _socket.TCP_KEEPIDLE, _socket.TCP_KEEPINTVL,
        _socket.TCP_KEEPCNT, _socket.TCP_SYNCNT, _socket.TCP_LINGER2, _socket.TCP_USER_TIMEOUT,
        _socket.TCP_MAXSEG, 25, 19,
    )),  # unsent low water, thin streams
)  # fmt: skip
_IPV4 = ((0, _socket.IP_TOS), (0, _socket.IP_TTL), (0, 11))  # errors as messages
_IPV6 = ((41, _socket.IPV6_V6ONLY), (41, _socket.IPV6_TCLASS), (41, _socket.IPV6_UNICAST_HOPS), (41, 25))
_STRUCTURES = (
    (_socket.SOL_SOCKET, _socket.SO_LINGER, _LINGER.size),
    (_socket.SOL_SOCKET, _socket.SO_RCVTIMEO, _TIMES.size),
    (_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, _TIMES.size),
    (TCP, _socket.TCP_CONGESTION, 16),
)


_OPTIONS = {
    family: (*((level, option, 0) for level, option in (*_NUMBERS, *own, *_BUFFERS)), *_STRUCTURES)
    for family, own in ((INET, _IPV4), (INET6, _IPV6))
}
"""Level, option and bytes, 0 for a number."""


def adopted(fd: int) -> _socket.socket:
    """The socket that a descriptor is, which belongs to it then. Raises OSError; then it is closed."""
    try:
        return _socket.socket(-1, -1, -1, fd)
    except OSError as error:
        os.close(fd)
        raise OSError(ENOTSOCK, os.strerror(ENOTSOCK)) from error


def is_tcp(socket: _socket.socket) -> bool:
    """Whether a socket of IPv4 or IPv6 is one of TCP."""
    return socket.type == _socket.SOCK_STREAM and socket.proto in (TCP, MPTCP)


def is_blocking(socket: _socket.socket) -> bool:
    """Whether calls wait, of whoever shares it."""
    return not fcntl.fcntl(socket.fileno(), fcntl.F_GETFL) & os.O_NONBLOCK


def has_timeout(socket: _socket.socket) -> bool:
    """Whether the kernel ends a `connect` that waits too long."""
    return any(socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, _TIMES.size))


def cookie(socket: _socket.socket) -> bytes:
    """What tells a socket from every other one of this machine, for ever."""
    return socket.getsockopt(_socket.SOL_SOCKET, _SO_COOKIE, 8)


def state(socket: _socket.socket) -> int:
    """The state of TCP that it is in."""
    return socket.getsockopt(TCP, _socket.TCP_INFO, 1)[0]


def error(socket: _socket.socket) -> int:
    """What has gone wrong since it was asked last; an errno, 0 for nothing."""
    return socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)


def namespace(socket: _socket.socket) -> tuple[int, int]:
    """Device and inode of the network namespace that a socket belongs to.

    Raises PermissionError for one of another user namespace that is none of ours and no child of it.
    """
    fd = fcntl.ioctl(socket.fileno(), _SIOCGSKNS)
    try:
        return identity(fd)
    finally:
        os.close(fd)


def identity(fd: int) -> tuple[int, int]:
    """Device and inode of what a descriptor is."""
    info = os.fstat(fd)
    return info.st_dev, info.st_ino


def new(family: int) -> _socket.socket:
    """A socket of TCP, which waits for nothing, in the namespace of this thread."""
    return _socket.socket(family, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)


def let_have_any_address(socket: _socket.socket) -> None:
    """It can be bound to addresses that only TCP knows here. Needs CAP_NET_ADMIN; raises OSError.

    IP_TRANSPARENT, IPV6_TRANSPARENT.
    """
    socket.setsockopt(*((41, 75) if socket.family == INET6 else (0, 19)), 1)


def is_unspecified(data: bytes) -> bool:
    """Whether a socket address of the kernel's asks to be connected to nothing any more."""
    return _family(data) == _socket.AF_UNSPEC


def _family(data: bytes) -> int:
    return int.from_bytes(data[:2], sys.byteorder)


def destination(data: bytes) -> bytes | None:
    """The packed address in a socket address of the kernel's; None if it is no whole one.

    IPv4 in IPv6 is IPv4.
    """
    if _family(data) == INET and len(data) >= 16:
        return data[4:8]
    if _family(data) == INET6 and len(data) >= 24:
        address = data[8:24]
        return address[12:] if address.startswith(_MAPPED) else address
    return None


class InitialOptions:
    """What new sockets have before anybody changes it, by family: asked once."""

    def __init__(self) -> None:
        self._known: dict[int, list[int | bytes | None]] = {}

    def of(self, socket: _socket.socket) -> list[int | bytes | None]:
        """Of a new socket, in the order of `copy_options`."""
        if socket.family not in self._known:
            self._known[socket.family] = _values(socket, _OPTIONS[socket.family])
        return self._known[socket.family]


def copy_options(old: _socket.socket, new: _socket.socket, initial: InitialOptions | None = None) -> None:
    """What a program has set on one socket is set on another; `initial` if that is new and of its family."""
    options = _OPTIONS[old.family]
    before = initial.of(new) if initial else _values(new, options)
    after = _values(old, options)
    if after == before:
        return
    for (level, option, _), value, other in zip(options, after, before, strict=True):
        if value is not None and value != other:
            half = (level, option) in _BUFFERS  # the kernel tells twice what was set
            _set(new, level, option, value // 2 if half and isinstance(value, int) else value)


def _values(socket: _socket.socket, options: Iterable[tuple[int, int, int]]) -> list[int | bytes | None]:
    """None for what is not in this kernel, or not of this family."""
    found: list[int | bytes | None] = []
    ask = socket.getsockopt
    for level, option, length in options:
        try:
            found.append(ask(level, option, length) if length else ask(level, option))
        except OSError:
            found.append(None)
    return found


def _set(socket: _socket.socket, level: int, option: int, value: int | bytes) -> None:
    """Some can only be set in certain ways, or by root."""
    try:
        socket.setsockopt(level, option, value)
    except OSError:
        return
