"""A container whose sockets are switched: it gets its network namespace, and gives its listener.

Both go through one Unix socket, the channel, whose other end the keeper has (`ground.network.switching`).
"""

from __future__ import annotations

import _socket
import os
from errno import EBUSY

from ...words.errors import SandboxError
from .. import linux
from ..network import landlock, namespaces, notifier
from ..network.descriptors import hand, received
from .operations import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .room import Room


class ReceiveNetwork(Operation):
    """Enter the network namespace that comes through the channel."""

    def apply(self, room: Room) -> None:  # noqa: D102
        channel = _channel(room)
        try:
            for fd in received(channel):
                namespaces.enter(fd)
                os.close(fd)
        except OSError as error:
            raise SandboxError(f"cannot join the network of the container: {error.strerror}") from None
        finally:
            channel.detach()  # it is needed once more

    def __str__(self) -> str:
        return "join the network of the container"


class SwitchSockets(Operation):
    """Let the keeper answer what the program asks of sockets, and forbid it to connect any by itself."""

    filter: bytes

    def apply(self, room: Room) -> None:  # noqa: D102
        landlock.forbid_tcp()
        try:
            fd = notifier.install(self.filter)
        except OSError as error:
            why = "another program answers system calls already" if error.errno == EBUSY else error.strerror
            raise SandboxError(f"cannot switch sockets: {why}", hint="--network host") from None
        channel = _channel(room)
        hand(channel, fd)
        os.close(fd)
        os.close(channel.detach())

    def __str__(self) -> str:
        return "switch the sockets of TCP when they connect"


def _channel(room: Room) -> _socket.socket:
    return _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, room.channel)


def switched(operations: list[Operation]) -> list[Operation]:
    """With what a new container needs; the last two, which take rights away, stay the last."""
    return [ReceiveNetwork(), *within(operations)]


def within(operations: list[Operation]) -> list[Operation]:
    """The same for one more program, in a namespace that it has joined already."""
    return [*operations[:-2], SwitchSockets(notifier.program(linux.MACHINE)), *operations[-2:]]
