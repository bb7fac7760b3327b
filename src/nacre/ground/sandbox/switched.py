"""Containers whose sockets are switched (`ground.network.switching`): how their processes come into being.

    keeper     forks a helper
    helper     is what all of them are to be: in the network namespace, filtered, without TCP of its own;
               gives the listener to the keeper, forks the zygote and the first process, and ends
    zygote     stays, and forks the parents of later programs (`zygote`); while none is asked for it is a
               program of one page (`monitor.idle`), which the kernel leaves in the domain and filtered

Landlock lets a process look at another only within one domain, and a domain can only be inherited. So later
programs are forked from what the first one was.
"""

from __future__ import annotations

import _socket
import os
import select
from errno import EBUSY

from ...words.errors import SandboxError
from .. import fork, linux
from ..network import landlock, namespaces, notifier
from ..network.descriptors import hand, hand_all, received, received_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Self

    Further = Callable[[int], object]
else:
    import _signal as signal

PLAIN, PUBLISHED = b".", b"p"
"""What comes with the network namespace of a container: whether it has published ports of TCP."""
_PLACE = f"{__package__}.zygote", "resume"
_PID = 4
"""Bytes of its number."""
_SOON, STILL, _LONG = 1.0, 10.0, 1e6
"""Seconds until the zygote is less than an interpreter: at first, after a request, and where it cannot be."""


def entering(channel: int, further: Further, code: Callable[[bool], bytes]) -> Callable[[], None]:
    """What leads a helper (`fork_through`) where the first process of a container belongs.

    `channel` is the keeper's: the namespace comes from there, the listener and what `Zygote` takes go there.
    `further(connection)` is done for each program that is asked for later. `code(accepts)` is the filter.
    """

    def move() -> None:
        keeper = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, channel)
        try:
            accepts = _enter(keeper)
            landlock.forbid_tcp()
            _filter(keeper, code(accepts))
            _leave_zygote(keeper, further)
        finally:
            keeper.detach()

    return move


def _enter(keeper: _socket.socket) -> bool:
    """Whether ports are published."""
    try:
        data, fds = received_all(keeper, 1, 1)
        for fd in fds:
            namespaces.enter(fd)
            os.close(fd)
    except OSError as error:
        raise SandboxError(f"cannot join the network of the container: {error.strerror}") from None
    return data == PUBLISHED


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
    """The keeper's end of one: it is a child of the process that has led others there."""

    def __init__(self, pid: int, requests: int) -> None:
        self._pid = pid
        self._requests = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, requests)

    @classmethod
    def received(cls, channel: _socket.socket) -> Self:
        """The one that `entering` tells of. Raises OSError."""
        data, (fd,) = received_all(channel, _PID, 1)
        return cls(int.from_bytes(data, "big"), fd)

    @property
    def held(self) -> tuple[int, int]:
        """Its pid, and the descriptor by which it is asked."""
        return self._pid, self._requests.fileno()

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
    wait(requests, further, _SOON)


def wait(requests: _socket.socket, further: Further, seconds: float = STILL) -> None:
    """As `serve`, and be less after so many seconds in which nothing was asked."""
    os.set_inheritable(requests.fileno(), False)
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    while True:
        if not poll.poll(seconds * 1000):
            _rest(requests)
            seconds = _LONG
            continue
        fds = received(requests)
        if not fds:
            return
        for fd in fds:
            _begin(fd, further)
            os.close(fd)
        seconds = STILL


def _rest(requests: _socket.socket) -> None:
    """Nothing has been asked for some time: be less until something is, where that is possible.

    Whoever must not look into this process (`hide`) could look into another program of it.
    """
    from ..monitor import handover, idle

    if linux.prctl(linux.PR_GET_DUMPABLE) != 1:
        return
    words = [*handover.command(handover.python(), _PLACE, requests.fileno()), "zygote"]
    try:
        os.set_inheritable(requests.fileno(), True)
        idle.wait(words, (requests.fileno(),), ())
    except (OSError, LookupError):
        os.set_inheritable(requests.fileno(), False)


def _begin(connection: int, further: Further) -> None:
    try:
        fork.start(lambda: further(connection), keep=(connection,), signals=fork.BLOCKED)
    except OSError:  # whoever asked finds the connection closed
        return
