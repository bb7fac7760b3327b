"""The process that becomes the program of a container: set up, held, started.

    create                              the container's process
    forks it through the namespaces ─►  mounts, devices, names
    hears "mounted", runs the hooks ─►  its own hooks; leaves the host's root; is the user
    hears "created", ends               waits at a Unix socket in the folder of the container
    start
    connects                        ─►  the hooks startContainer; execve(2)
    hears nothing: it runs         ◄─   or why not

Who has made it may end: it belongs to the nearest subreaper then, which is the monitor of whoever uses us.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import sys

from ...words import quickjson
from ...words.errors import (
    CommandNotExecutable,
    CommandNotFound,
    ExecFormatError,
    NacreError,
    SandboxError,
)
from .. import linux
from ..fork import BLOCKED, fork_through
from ..sandbox.identity import Execute
from ..sandbox.room import Operation
from .hooks import run_hooks
from .place import BundleRoom

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ..fork import Child, ChildReport
    from ..sandbox.room import Room
else:
    import _signal as signal

WHAT = "the process of the container"
MOUNTED, CREATED = "mounted", "created"
_STREAMS = 3
_LONGEST = 32
_ENDING = (
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM,
    signal.SIGALRM,
)  # fmt: skip


class Descriptors:
    """Descriptors that go with the process: those of the caller from 3 on, and our own after them.

    `gate` is read until hooks were run, `listener` is where it waits to be started, `channel` takes a
    terminal; -1 for none.
    """

    def __init__(self, preserved: int, gate: int = -1, listener: int = -1, channel: int = -1) -> None:
        self.preserved, self.gate, self.listener, self.channel = preserved, gate, listener, channel

    @property
    def kept(self) -> tuple[int, ...]:
        """What stays open in the child."""
        own = [fd for fd in (self.gate, self.listener, self.channel) if fd >= 0]
        return (*range(_STREAMS + self.preserved), *own)

    def arrange(self, report: ChildReport) -> None:
        """Put the descriptors where they belong in the child, and close all others."""
        first = _STREAMS + self.preserved
        own = [report.fd, *self.kept[first:]]
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, first + len(own)) for fd in own]
        for number, fd in enumerate(high, first):
            os.dup2(fd, number, inheritable=False)
        linux.close_range(first + len(own))
        report.fd, free = first, iter(range(first + 1, first + len(own)))
        self.gate, self.listener, self.channel = (
            next(free) if fd >= 0 else -1 for fd in (self.gate, self.listener, self.channel)
        )
        for fd in range(_STREAMS, first):
            os.set_inheritable(fd, True)


def begin(
    enter: Callable[[], None], operations: Sequence[Operation], ends: Descriptors, state: Mapping[str, Any]
) -> Child:
    """Fork the process into the namespaces that `enter` leads to. Raises OSError, SandboxError."""

    def work(report: ChildReport) -> None:
        room = BundleRoom()
        room.state, room.report = dict(state), report
        try:
            _arrange(room, ends, report)
            for operation in operations:
                operation.apply(room)
        except BaseException as error:
            problem = _sandbox_error(error)
            if room.starter is None:
                raise problem from None
            room.starter.sendall(_told(problem))

    return fork_through(enter, work, what=WHAT, keep=ends.kept, signals=BLOCKED)


def _arrange(room: BundleRoom, ends: Descriptors, report: ChildReport) -> None:
    """From here on nothing can be imported, and nobody may look into us.

    docker CVE-2019-14271, runc CVE-2016-9962.
    """
    sys.meta_path.clear()
    ends.arrange(report)
    room.gate, room.listener, room.channel = ends.gate, ends.listener, ends.channel
    os.umask(0)


def _sandbox_error(error: BaseException) -> BaseException:
    if isinstance(error, NacreError):
        return error if isinstance(error, SandboxError) else SandboxError(error.message, hint=error.hint)
    text = str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
    return SandboxError(f"cannot set up the container: {text}")


def _told(error: BaseException) -> bytes:
    """For `heard`. Not as a record: the hooks of the image have run beside us."""
    return quickjson.dumps([type(error).__name__, str(error), getattr(error, "hint", "")]).encode()


def heard(data: bytes) -> SandboxError:
    """The error that a start has told. Raises ValueError."""
    name, message, hint = quickjson.loads(data)
    kinds = {kind.__name__: kind for kind in (CommandNotFound, CommandNotExecutable, ExecFormatError)}
    return kinds.get(name, SandboxError)(str(message), hint=str(hint))


class RunContainerHooks(Operation):
    """Say that all is mounted, wait until the hooks outside were run, and run those in the container."""

    hooks: Sequence[Mapping[str, Any]]

    def apply(self, room: Room) -> None:  # noqa: D102
        assert isinstance(room, BundleRoom)
        assert room.report
        room.report.tell(MOUNTED)
        number = os.read(room.gate, _LONGEST)
        if not number:
            raise SandboxError("who made the container has ended")
        room.state |= {"pid": int(number), "status": "creating"}
        os.close(room.gate)
        run_hooks(self.hooks, "createContainer", room.state)

    def __str__(self) -> str:
        return f"{len(self.hooks)} hooks in the container"


class NewKeyring(Operation):
    """The keys of who started us stay behind."""

    def apply(self, room: Room) -> None:  # noqa: D102
        linux.keyctl_join_session()

    def __str__(self) -> str:
        return "new session keyring"


class DomainName(Operation):
    """The NIS domain of the container."""

    name: str

    def apply(self, room: Room) -> None:  # noqa: D102
        try:
            linux.setdomainname(self.name)
        except OSError as error:
            raise SandboxError(f"cannot set domainname to {self.name!r}: {error.strerror}") from None

    def __str__(self) -> str:
        return f"domain name {self.name}"


class ChangeMask(Operation):
    """What files of the program are made without."""

    mask: int

    def apply(self, room: Room) -> None:  # noqa: D102
        os.umask(self.mask)

    def __str__(self) -> str:
        return f"umask {self.mask:o}"


class LookProgram(Execute):
    """Look for the program while there is somebody to tell that it is not there."""

    def apply(self, room: Room) -> None:  # noqa: D102
        path = self.find(room)
        if not os.path.exists(path):
            raise CommandNotFound(f'exec: "{path}": stat {path}: no such file or directory')
        if os.path.isdir(path) or not os.access(path, os.X_OK):
            reason = "is a directory" if os.path.isdir(path) else "permission denied"
            raise CommandNotExecutable(f'exec: "{path}": {reason}')

    def __str__(self) -> str:
        return f"look for {self.arguments[0]}"


class WaitForStart(Operation):
    """Say that the container is created, and wait for `start`; then run the last hooks.

    SIGTERM and the like end it, also as the first process of a pid namespace, which only handlers allow.
    """

    hooks: Sequence[Mapping[str, Any]]

    def apply(self, room: Room) -> None:  # noqa: D102
        assert isinstance(room, BundleRoom)
        assert room.report
        _forget_signals()
        for number in _ENDING:
            signal.signal(number, _end)
        room.report.tell(CREATED)
        room.report.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, room.listener)
        fd, _ = listener._accept()  # type: ignore[attr-defined]
        room.starter = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd)
        os.close(listener.detach())
        run_hooks(self.hooks, "startContainer", {**room.state, "status": "created"})
        _forget_signals()

    def __str__(self) -> str:
        return "wait for start"


class ReportReady(Operation):
    """Say that the next thing is the program, whose success is the end of the report."""

    def apply(self, room: Room) -> None:  # noqa: D102
        assert isinstance(room, BundleRoom)
        assert room.report
        _forget_signals()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        room.report.tell(CREATED)

    def __str__(self) -> str:
        return "ready"


def _end(number: int, _frame: object) -> None:
    os._exit(128 + number)


def _forget_signals() -> None:
    """All have their default meaning; what was ignored or is pending was not meant for the program."""
    for number in signal.valid_signals():
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
