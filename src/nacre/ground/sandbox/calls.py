"""System calls about users and owners, which are answered for a program where only one id exists.

The program's set-up installs the filter and gives its listener through a Unix socket, the channel, to the
process that starts the program (`OwnerCalls`). Where sockets are switched there is a listener already, and
the kernel has but one for a program: both kinds of calls come by that (`switched`).
"""

from __future__ import annotations

import _socket
import os

from .. import linux, userns
from ..network import notifier
from ..network.descriptors import hand, received
from ..ownership import calls
from ..ownership.answers import Ownership
from .program import is_root
from .room import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from ..monitor.loop import EventLoop
    from ..network.notifier import Code
    from .room import Room
    from .stdio import Attachment, Streams

_NEEDED = {"CAP_CHOWN": calls.OWN, "CAP_SETUID": (*calls.SET, *calls.GET)}
"""What is answered to those who may do it at all."""


class NotifyCalls(Operation):
    """Let another process answer what the program asks, if it is root."""

    filter: bytes

    def apply(self, room: Room) -> None:  # noqa: D102
        channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, room.channel)
        try:
            if room.user and not (room.user.uid or room.user.gid):
                self._install(room, channel)
        finally:
            os.close(channel.detach())

    def _install(self, room: Room, channel: _socket.socket) -> None:
        try:
            fd = notifier.install(self.filter)
        except OSError:  # an old kernel, or a process further out answers already
            return
        room.granted = True
        hand(channel, fd)
        os.close(fd)

    def __str__(self) -> str:
        return "keep owners beside the files"


class OwnerCalls:
    """This process answers what a program asks of owners, beside whatever else it does."""

    def __init__(self, streams: Streams) -> None:
        """`streams` close what the child gets."""
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        self._channel = ours
        streams.give_channel(theirs.detach())
        self._ownership = Ownership()
        self._notifier: notifier.Notifier | None = None

    def attached(self, attached: Attachment) -> Attachment:
        """The same, and the listener is watched. The shim could not do that."""
        beside = attached.beside

        def begin(loop: EventLoop) -> Callable[[], object]:
            end = beside(loop) if beside else None
            self._begin(loop)

            def ended() -> None:
                self._end(loop)
                if end:
                    end()

            return ended

        return attached.replace(beside=begin, leave=None)

    def _begin(self, loop: EventLoop) -> None:
        """A program that is not root gives no listener."""
        for fd in received(self._channel):
            self._notifier = notifier.Notifier(fd)
            loop.watch(fd, lambda: self._called(loop))
        self._channel.close()

    def _called(self, loop: EventLoop) -> None:
        listener = self._notifier
        note = listener.receive() if listener else None
        if listener and note:
            self._ownership.take(listener, note)
        elif listener and listener.ended:
            self._end(loop)

    def _end(self, loop: EventLoop) -> None:
        if self._notifier:
            loop.forget(self._notifier.fd)
            self._notifier.close()
            self._notifier = None


def attend(config: Mapping[str, Any], attached: Attachment, streams: Streams) -> Attachment:
    """Be ready to answer a program, if it needs that: then the child gets a channel."""
    return OwnerCalls(streams).attached(attached) if _owners(config) else attached


def attend_in(
    config: Mapping[str, Any], attached: Attachment, streams: Streams, process: tuple[int, int]
) -> Attachment:
    """The same for one more program of a container; `process` is a descriptor and the number of its first.

    Files of that container are its root's, so this process becomes that, if it is not: for good.
    """
    pidfd, pid = process
    try:
        if not userns.shares(pid):
            linux.setns(pidfd, linux.CLONE_NEWUSER)
    except OSError:  # it has several threads, or may not; then the kernel answers
        return attached
    return attend(config, attached, streams)


def notified(operations: list[Operation], config: Mapping[str, Any]) -> list[Operation]:
    """What a child does that has a channel; the last two, which take rights away, stay the last."""
    return [*operations[:-2], NotifyCalls(notifier.program_of(_owners(config))), *operations[-2:]]


def switched_program(config: Mapping[str, Any]) -> Callable[[bool], bytes]:
    """The filter of a container whose sockets are switched, by whether it has published ports."""
    owners = _owners(config)
    return lambda accepts: notifier.program(linux.MACHINE, owners, accepts=accepts)


def _owners(config: Mapping[str, Any]) -> dict[int, Code]:
    """The filter of calls that a program cannot make by itself, by architecture."""
    if userns.is_first() or not userns.current().single or not is_root(config):
        return {}
    bounding = config["process"]["capabilities"]["bounding"]
    names = {name for needed, some in _NEEDED.items() if needed in bounding for name in some}
    return calls.filters(linux.MACHINE, names) if names else {}
