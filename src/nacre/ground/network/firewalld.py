"""Learning that firewalld has changed its rules: a reload takes away those that let containers pass.

The kernel tells all who listen of each change of rules, and with it the name of the program that made it. A
filter on the socket lets in what firewalld has done alone: rules of docker, of other containers and of
whoever else wake nobody. Source: socket(7), SO_ATTACH_FILTER; linux net/netfilter/nf_tables_api.c, NEWGEN.
"""

from __future__ import annotations

import _socket
import os
import sys
from struct import Struct

from .. import libc
from . import forwarding
from .netlink import NETFILTER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from .nftables import Firewall

_NETLINK, _SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP, _ATTACH_FILTER = 16, 270, 1, 7, 26
_NEWGEN = 10 << 8 | 15
_TYPE, _NAME = 4, 40
"""Where a message has its type, and, behind the number and the process, the name."""
_LOAD, _LOAD_HALF, _EQUAL, _RETURN = 0x20, 0x28, 0x15, 0x06
_STEP = Struct("=HBBI")
_ALL = 0xFFFFFFFF
_ROOM = 1 << 12


def _filter() -> bytes:
    """Loads are big endian, whatever the machine is."""
    wanted = int.from_bytes(_NEWGEN.to_bytes(2, sys.byteorder), "big")
    first, second = (int.from_bytes(part, "big") for part in (b"fire", b"wall"))
    steps = (
        (_LOAD_HALF, 0, 0, _TYPE), (_EQUAL, 0, 5, wanted), (_LOAD, 0, 0, _NAME), (_EQUAL, 0, 3, first),
        (_LOAD, 0, 0, _NAME + 4), (_EQUAL, 0, 1, second), (_RETURN, 0, 0, _ALL), (_RETURN, 0, 0, 0),
    )  # fmt: skip
    return b"".join([_STEP.pack(*step) for step in steps])


class FirewalldWatch:
    """A socket of this network namespace that is ready when firewalld has changed something."""

    def __init__(self) -> None:
        """Listen from now on. Raises OSError."""
        kind = _socket.SOCK_RAW | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
        self._socket = _socket.socket(_NETLINK, kind, NETFILTER)
        try:
            code = libc.create_string_buffer(_filter())
            program = Struct("@HP").pack(len(_filter()) // _STEP.size, libc.addressof(code))
            self._socket.setsockopt(_socket.SOL_SOCKET, _ATTACH_FILTER, program)
            self._socket.bind((0, 0))
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP)
        except BaseException:
            self._socket.close()
            raise

    @classmethod
    def adopt(cls, fd: int) -> Self:
        """One that is there already, as a descriptor."""
        self = cls.__new__(cls)
        self._socket = _socket.socket(_NETLINK, _socket.SOCK_RAW, NETFILTER, fd)
        os.set_blocking(fd, False)
        return self

    def fileno(self) -> int:
        """The descriptor of the socket."""
        return self._socket.fileno()

    def let_pass(self, firewall: Firewall) -> None:
        """Hear what was said, and put the rules back that are missing. Raises OSError."""
        try:
            while self._socket.recv(_ROOM):
                continue
        except OSError:  # that was all, or there was no room for all
            pass
        forwarding.let_pass(firewall)

    def close(self) -> None:
        """Listen no more after that."""
        self._socket.close()
