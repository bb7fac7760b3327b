"""Containers whose sockets are switched (`ground.network.switching`): how their processes come into being.

    keeper     forks a helper
    helper     is what all of them are to be: in the network namespace, filtered, without TCP of its own;
               gives the listener to the keeper, forks the zygote and the first process, and ends
    zygote     stays, and forks the parents of later programs (`join`)

Landlock lets a process look at another only within one domain, and a domain can only be inherited. So later
programs are forked from what the first one was.
"""

from __future__ import annotations

import _socket
import os
from errno import EBUSY

from ...words.errors import SandboxError
from .. import fork
from ..network import landlock, namespaces, notifier
from ..network.descriptors import hand, hand_all, received, received_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable

    Further = Callable[[int], object]
else:
    import _signal as signal

_PID = 4
"""Bytes of its number."""


def entering(channel: int, further: Further, code: bytes) -> Callable[[], None]:
    """What leads a helper (`fork_through`) where the first process of a container belongs.

    `channel` is the keeper's: the namespace comes from there, the listener and what `Zygote` takes go there.
    `further(connection)` is done for each program that is asked for later. `code` is the filter.
    """

    def move() -> None:
        keeper = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, channel)
        try:
            _enter(keeper)
            landlock.forbid_tcp()
            _filter(keeper, code)
            _leave_zygote(keeper, further)
        finally:
            keeper.detach()

    return move


def _enter(keeper: _socket.socket) -> None:
    try:
        for fd in received(keeper):
            namespaces.enter(fd)
            os.close(fd)
    except OSError as error:
        raise SandboxError(f"cannot join the network of the container: {error.strerror}") from None


def _filter(keeper: _socket.socket, code: bytes) -> None:
    try:
        fd = notifier.install(code)
    except OSError as error:
        why = "another program answers system calls already" if error.errno == EBUSY else error.strerror
        raise SandboxError(f"cannot switch sockets: {why}", hint="--network host") from None
    hand(keeper, fd)
    os.close(fd)


def _leave_zygote(keeper: _socket.socket, further: Further) -> None:
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        pid = fork.start(lambda: serve(ours, further), keep=(ours.fileno(),), signals=fork.BLOCKED)
        hand_all(keeper, pid.to_bytes(_PID, "big"), (theirs.fileno(),))
    finally:
        ours.close()
        theirs.close()


class Zygote:
    """The keeper's end of one: it is a child of the process that has led others there. Raises OSError."""

    def __init__(self, channel: _socket.socket) -> None:
        data, (fd,) = received_all(channel, _PID, 1)
        self._pid = int.from_bytes(data, "big")
        self._requests = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd)

    def pass_on(self, connection: _socket.socket) -> None:
        """Whoever is at its other end wants one more program."""
        hand(self._requests, connection.fileno())

    def close(self) -> None:
        """The container has ended. Idempotent."""
        self._requests.close()
        fork.Child(self._pid, -1, "").end()
        self._pid = 0


def serve(requests: _socket.socket, further: Further) -> None:
    """Begin a process for each connection that comes, until the keeper is gone."""
    os.setsid()
    os.chdir("/")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    while fds := received(requests):
        for fd in fds:
            _begin(fd, further)
            os.close(fd)


def _begin(connection: int, further: Further) -> None:
    try:
        fork.start(lambda: further(connection), keep=(connection,), signals=fork.BLOCKED)
    except OSError:  # whoever asked finds the connection closed
        return
