"""Programs that a zygote forks, because the container has switched sockets (`switched`).

We connect to it, hand over what the program needs, and stay with it as with a child of ours (`connected`). On
the other side the zygote has perhaps waited as less than an interpreter (`resume`), and forks (`serve`).
"""

from __future__ import annotations

import _socket
import os
from errno import ECONNREFUSED

from ...words.errors import SandboxError
from ...words.quickjson import dumps, loads
from ..fork import ChildReport, fork_elsewhere, hold
from ..network.descriptors import hand_all, received_all
from .child import WHAT
from .joining import Joining
from .stdio import StreamDescriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..fork import Child
    from .stdio import Streams

_LENGTH, _HANDED = 4, 6
"""Bytes of a length, and descriptors that come with it: the standard streams, a pidfd, two ends of pipes."""


def connected(
    config: Mapping[str, Any], streams: Streams, pidfd: int, pid: int, channel: int
) -> Child:  # fmt: skip
    """By a zygote, which listens at `channel`."""
    told = {"config": config, "pid": pid, "owned": streams.owned, "terminal": streams.terminal}

    def ask(*ends: int) -> int:
        own = os.dup(channel)
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, own)
        if not connection.recv(1):  # what comes before it is another's
            raise OSError(ECONNREFUSED, os.strerror(ECONNREFUSED))
        data = dumps(told).encode()
        hand_all(connection, len(data).to_bytes(_LENGTH, "big"), (*streams.child, pidfd, *ends))
        connection.sendall(data)
        connection.detach()
        return own

    try:
        return fork_elsewhere(ask, what=WHAT)
    except OSError as error:
        raise SandboxError(f"cannot enter the container: {error.strerror}") from None


def resume(fd: int) -> None:
    """In a zygote once more: begin what is asked for by this descriptor."""
    from . import switched

    switched.wait(_socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd), serve)


def serve(connection: int) -> None:
    """In a process that a zygote has begun: be the parent of the program that is asked for."""
    report = ChildReport(connection)
    try:
        told, (*standard, pidfd, writer, learned) = _received(connection)
        taken = standard[0], standard[1], standard[2]
        streams = StreamDescriptors(taken, tuple(told["owned"]), told["terminal"])
        program = Joining(told["config"], streams, pidfd, told["pid"])
        hold(program.prepare, program.begin, report, (writer, learned), program.kept, program.enter)
    except BaseException as error:
        report.fail(error)


def _received(connection: int) -> tuple[dict[str, Any], list[int]]:
    """What is told and handed over once the other side learns that somebody listens. Raises OSError."""
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, connection)
    socket.setblocking(True)
    socket.send(b".")
    head, descriptors = received_all(socket, _LENGTH, _HANDED)
    length, data = int.from_bytes(head, "big"), bytearray()
    while len(data) < length and (piece := socket.recv(length - len(data))):
        data += piece
    socket.detach()
    told: dict[str, Any] = loads(bytes(data))
    return told, descriptors
