"""Where a container reads from and writes to.

Files and pipes of the caller are handed to the container as they are. A terminal of the caller never
is (a program could push characters into it): it is relayed through pipes, or with `tty` through a
pseudo terminal of the container's own. Output that is logged as well is relayed too.
"""

from __future__ import annotations

import os
import stat

from ...words.errors import SandboxError
from ...words.value import Value
from ..monitor.relay import Flow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..monitor.loop import EventLoop
    from ..monitor.relay import Signals
    from .terminal import Raw


class Stdio(Value):
    """Descriptors of the caller, -1 for nothing; they stay the caller's.

    `tty`: give the container a terminal; the keys `detach`, typed there, leave the container alone (b"" are
    none); signals that come to the user's process go to the program, or with `forward` False end that alone.
    `input` is the other end of the pipe `stdin`, for those who attach later; with `once` the end of the
    first input is that of the container's. `log` is called with the name of the stream ("stdout",
    "stderr") and each piece of output, in the process that called `run`.
    """

    stdin: int = 0
    stdout: int = 1
    stderr: int = 2
    tty: bool = False
    log: Callable[[str, bytes], object] | None = None
    detach: bytes = b""
    input: int = -1
    once: bool = False
    forward: bool = True

    @property
    def is_detachable(self) -> bool:
        """Whether there is a terminal on which the keys can be typed."""
        return self.tty and bool(self.detach) and self.stdin >= 0 and os.isatty(self.stdin)


class Attachment(Value):
    """How the process that runs a container is attached to it.

    `on_start(pid)` is called once the process exists, before its program runs, `on_running()` once that runs
    and signals are forwarded. `signals`: forward SIGTERM and others while waiting (main thread only), or the
    handlers that they have meanwhile. `control`: a FIFO open for reading and writing, whose lines are signal
    numbers to send; the way for other processes, which may not be allowed to signal into this user namespace.
    `timeout`: seconds after which it is killed, 0 for never. `beside(loop)` is called with the event loop of
    the process once the program runs, and what that returns at the end. `on_signal(n)` hears of signals that
    are passed on, `on_detach()` that the user has left the container alone, which is also when there is a
    hang-up at `user`. `leave` as in `Relay`; None where whoever runs the
    container has more to do than the shim can.
    `channel`: a Unix socket, by which the keeper of a container whose sockets are `switched` hears of it; by
    which one more program of such a container is begun. `further(connection)` does that: `zygote.serve`.
    """

    stdio: Stdio = Stdio()
    on_start: Callable[[int], object] | None = None
    on_running: Callable[[], object] | None = None
    signals: Signals = True
    control: int = -1
    timeout: float = 0.0
    beside: Callable[[EventLoop], Callable[[], object]] | None = None
    on_signal: Callable[[int], object] | None = None
    leave: Callable[[dict[str, Any]], object] | None = None
    channel: int = -1
    further: Callable[[int], object] | None = None
    on_detach: Callable[[], object] | None = None
    user: int = -1


class StreamDescriptors(Value):
    """What a child needs of `Streams` that are another process's."""

    child: tuple[int, int, int]
    owned: tuple[int, ...]
    terminal: int = -1
    pts: int = -1
    channel: int = -1
    lowers: tuple[int, ...] = ()

    @property
    def passed(self) -> tuple[int, ...]:
        """All descriptors that the child needs; -1 for none."""
        return (*self.child, self.pts, self.channel)


class Streams:
    """The descriptors 0, 1, 2 of one container (`child`), and the flows that serve them.

    `relayed`: the program does not run as root, so that files of the caller are relayed too, because it
    could not open its own /dev/stdout. `owned` may be given to the program's user: pipes, as runc does.
    `lowers` are mounts beneath the root, which the child needs until that is mounted.
    """

    def __init__(
        self, stdio: Stdio, devpts_options: str = "", *, relayed: bool = False, process: int = 0
    ) -> None:
        """`devpts_options` "": a terminal is one of the container in which `process` runs already."""
        self.stdio, self.relayed = stdio, relayed
        self.child: tuple[int, int, int] = (-1, -1, -1)
        self.pts = self.terminal = self.channel = -1
        self.input = stdio.input
        self.outputs: list[Flow] = []
        self.inputs: list[Flow] = []
        self.owned: tuple[int, ...] = ()
        self.lowers: tuple[int, ...] = ()
        self._given: list[int] = []
        self._kept: list[int] = []
        self._raw: Raw | None = None
        if stdio.tty:
            self._open_terminal(devpts_options, process)
        else:
            self._open_pipes()

    @property
    def passed(self) -> tuple[int, ...]:
        """All descriptors that the child needs; -1 for none."""
        return (*self.child, self.pts, self.channel, *self.lowers)

    def _open_terminal(self, options: str, process: int) -> None:
        from . import terminal

        if options:
            self.pts = terminal.devpts(options)
            self.terminal, theirs = terminal.open_pair(self.pts)
            self._given.append(self.pts)
        else:
            self.terminal, theirs = terminal.open_pair_of(process)
        self._given.append(theirs)
        self._kept.append(self.terminal)
        self.child, self.owned = (theirs, theirs, theirs), (0,)
        self.outputs.append(Flow(self.terminal, self._writer("stdout", self.stdio.stdout), name="stdout"))
        if self.stdio.stdin >= 0 or self.stdio.input >= 0:
            self.input = self.terminal
        if self.stdio.is_detachable:
            from ..monitor.detach import KeyedFlow

            self.inputs.append(KeyedFlow(self.stdio.stdin, self.terminal, self.stdio.detach))
        elif self.stdio.stdin >= 0:
            self.inputs.append(Flow(self.stdio.stdin, target=self.terminal))
        self.resize()

    def _open_pipes(self) -> None:
        stdio = self.stdio
        inward = self._input(stdio.stdin)
        self.child = (
            inward,
            self._output("stdout", 1, stdio.stdout),
            self._output("stderr", 2, stdio.stderr),
        )

    def _input(self, fd: int) -> int:
        if fd < 0:
            return self._null()
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise SandboxError("standard input is a directory, which would let the container leave its root")
        if not os.isatty(fd):
            self._own(0, fd)
            return fd
        theirs, ours = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(ours, False)
        self.inputs.append(Flow(fd, target=ours))
        self._given.append(theirs)
        self._kept.append(ours)
        self.owned, self.input = (0,), ours
        return theirs

    def _output(self, name: str, number: int, fd: int) -> int:
        if not self.stdio.log and (fd < 0 or not self._needs_relay(fd)):
            if fd >= 0:
                self._own(number, fd)
            return fd if fd >= 0 else self._null()
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        self.outputs.append(Flow(ours, self._writer(name, fd), name=name))
        self._given.append(theirs)
        self._kept.append(ours)
        self.owned = (*self.owned, number)
        return theirs

    def _needs_relay(self, fd: int) -> bool:
        mode = os.fstat(fd).st_mode
        return os.isatty(fd) or (self.relayed and stat.S_ISREG(mode))

    def _own(self, number: int, fd: int) -> None:
        """A pipe without a name is handed over; its owner matters to nobody else."""
        info = os.fstat(fd)
        if self.relayed and stat.S_ISFIFO(info.st_mode) and info.st_nlink == 1:
            self.owned = (*self.owned, number)

    def _null(self) -> int:
        fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self._given.append(fd)
        return fd

    def _writer(self, name: str, fd: int) -> Callable[[bytes], object]:
        """Writes to the caller's descriptor and to the log. A reader that went away is no error."""
        log = self.stdio.log

        def write(data: bytes) -> None:
            if log:
                log(name, data)
            if fd >= 0:
                _write_all(fd, data)

        return write

    @property
    def kept(self) -> list[int]:
        """The descriptors of ours that must stay open while the container runs."""
        return list(self._kept)

    def give_channel(self, fd: int) -> None:
        """The child has one more, by which it gives a listener: see `calls`."""
        self.channel = fd
        self._given.append(fd)

    def given(self) -> None:
        """In the parent after the fork: close what the child has."""
        _close_all(self._given)

    def begin(self) -> None:
        """The program runs: from now on the user's terminal passes every byte."""
        if self.stdio.tty and self.stdio.stdin >= 0 and os.isatty(self.stdio.stdin):
            from . import terminal

            self._raw = terminal.Raw(self.stdio.stdin)
            self.resize()

    def resize(self) -> None:
        """Give the container's terminal the size of the user's."""
        from . import terminal

        for fd in (self.stdio.stdin, self.stdio.stdout):
            if fd >= 0 and os.isatty(fd):
                terminal.copy_size(fd, self.terminal)
                return

    def let_go(self) -> None:
        """The user's terminal as it was, and ours no more: whatever is written goes nowhere."""
        self._restore()
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for fd in {self.stdio.stdin, self.stdio.stdout, self.stdio.stderr}:
            if fd >= 0:
                os.dup2(null, fd)
        os.close(null)

    def _restore(self) -> None:
        if self._raw is not None:
            self._raw.restore()
            self._raw = None

    def close(self) -> None:
        """Restore the user's terminal and close everything. Idempotent."""
        self._restore()
        self.given()
        self.inputs.clear()
        _close_all(self._kept)


def _close_all(fds: list[int]) -> None:
    """Each forgotten before it is closed: a signal in between must not have it closed twice."""
    while fds:
        os.close(fds.pop())


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except BrokenPipeError:
        return
