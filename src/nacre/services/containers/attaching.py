"""Attaching to a container that another process keeps: `ground.monitor.attached`."""

from __future__ import annotations

import os
import select

from ...ground.files import os_errors, unlink, write_all
from ...ground.monitor.attached import DROPPED, NOTHING, PREFIX, WITH_INPUT
from ...ground.monitor.detach import KeyedFlow
from ...ground.monitor.relay import ATTACH, RESIZE, Flow, SignalPipe, give_back, take_signals
from ...ground.sandbox.terminal import Raw, size
from ...words.errors import Conflict, NacreError, Unsupported
from ...words.quickjson import loads
from . import keeper
from .pausing import is_paused

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Any

    from ...ground.sandbox import Stdio
    from .service import Containers
else:
    import _signal as signal

_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL


def attach(containers: Containers, text: str, stdio: Stdio) -> int | None:
    """Show what a container writes from now on, and pass `stdio.stdin` to it; its exit code.

    None when the user has typed the keys that leave it alone. Signals go to its program, unless
    `stdio.forward` is False. Raises NotFound; Conflict when it does not run, or is paused; Unsupported.
    """
    row = containers.get(text)
    if row.state != "running":
        raise Conflict("You cannot attach to a stopped container, start it first")
    if is_paused(containers, row):
        raise Conflict("You cannot attach to a paused container, unpause it first")
    tty = bool(loads(row.config_json).get("tty"))
    if tty and stdio.stdin >= 0 and not os.isatty(stdio.stdin):
        raise Conflict("the input device is not a TTY", hint="leave out standard input with --no-stdin")
    with os_errors(f"attach to container {row.name}"):
        session = AttachSession(
            containers.folder(row.id), stdio.replace(tty=tty),
            lambda rows, columns: containers.tell(row, "resize", height=rows, width=columns),
        )  # fmt: skip
        ending = keeper.Ending(containers.folder(row.id))
    with ending:
        try:
            session.open(row.name)
            containers.tell(row, "attach")
            if session.run():
                return ending.code()
            containers.tell(row, "detach")
            return None
        finally:
            session.close()


class AttachSession:
    """One client of a container, whose folder is `folder`; `resized(rows, columns)` hears of sizes."""

    def __init__(self, folder: str, stdio: Stdio, resized: Callable[[int, int], object]) -> None:
        self._folder, self._stdio, self._resized = folder, stdio, resized
        self._path = f"{folder}/{PREFIX}{os.urandom(8).hex()}"
        self._flows: list[Flow] = []
        self._input: Flow | None = None
        self._descriptors: dict[int, int] = {}
        self._raw: Raw | None = None
        self._before: dict[int, Any] = {}
        self._pipe: SignalPipe | None = None
        self._failed: OSError | None = None

    def open(self, name: str) -> None:
        """Become a client. Raises Unsupported when there is nothing to see, SandboxError, OSError."""
        stdio = self._stdio
        for number, target in ((1, stdio.stdout), (2, stdio.stderr))[: 1 if stdio.tty else 2]:
            self._flows.append(Flow(self._fifo(number, os.O_RDONLY), self._writer(target)))
        inward = self._fifo(0, os.O_RDWR) if stdio.stdin >= 0 else -1
        self._take_signals()
        keeper.tell(self._folder, ATTACH + os.path.basename(self._path).encode() + b"\n")
        answer = self._answer()
        if answer == NOTHING:
            raise Unsupported(
                f"the command that runs container {name} has its output for itself",
                hint="attach to containers that were started with -d, or on a terminal",
            )
        if answer == WITH_INPUT and inward >= 0:
            self._begin_input(inward)
        self._resize(redraw=True)

    def _fifo(self, number: int, how: int) -> int:
        path = f"{self._path}.{number}"
        os.mkfifo(path, 0o600)
        fd = os.open(path, how | os.O_NONBLOCK | os.O_CLOEXEC)
        self._descriptors[number] = fd
        return fd

    def _answer(self) -> bytes:
        """What the keeper says first. Raises Conflict when there is none any more, SandboxError."""
        fd = self._flows[0].source
        if keeper.has_answered(self._folder, fd):
            return os.read(fd, 1)
        raise Conflict("You cannot attach to a stopped container, start it first")

    def _begin_input(self, target: int) -> None:
        stdin, keys = self._stdio.stdin, self._stdio.detach
        typed = self._stdio.tty and keys
        self._input = KeyedFlow(stdin, target, keys) if typed else Flow(stdin, target=target)
        if self._stdio.tty:
            self._raw = Raw(stdin)

    def _take_signals(self) -> None:
        self._pipe = SignalPipe.attempt()
        if not self._pipe:
            return
        self._before = take_signals(self._forward) if self._stdio.forward else {}
        if self._stdio.tty:
            self._before[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, lambda *_: self._resize())

    def _forward(self, number: int, _frame: object) -> None:
        keeper.send(self._folder, number)

    def _resize(self, *, redraw: bool = False) -> None:
        """The size of the user's terminal for that of the container.

        `redraw`: a size that it has not first, so that the program shows again what is there; as docker does.
        """
        told = None
        if redraw and (found := self._size()):
            self._tell_size(found[0] + 1, found[1] + 1)
        while (found := self._size()) and found != told:  # SIGWINCH may come in between, and tell another
            self._tell_size(*found)
            told = found

    def _size(self) -> tuple[int, int] | None:
        """Rows and columns of the user's terminal."""
        for fd in (self._stdio.stdin, self._stdio.stdout) if self._stdio.tty else ():
            if fd >= 0 and (found := size(fd)):
                return found
        return None

    def _tell_size(self, rows: int, columns: int) -> None:
        keeper.tell(self._folder, RESIZE + f"{rows}:{columns}\n".encode())
        self._resized(rows, columns)

    def _writer(self, fd: int) -> Callable[[bytes], object]:
        def write(data: bytes) -> None:
            try:
                if fd >= 0:
                    write_all(fd, data)
            except OSError as error:
                self._failed = error
                raise

        return write

    def run(self) -> bool:
        """Until the container has ended; False when the user has left it alone.

        Raises NacreError when it took nothing for long, OSError when our own output cannot be written.
        """
        while self._flows:
            if not self._turn():
                return False
            if self._failed:
                raise self._failed
        if unlink(self._path + DROPPED):
            raise NacreError(
                "this terminal took nothing for too long while the container was writing",
                hint="attach again; nacre logs shows what came meanwhile",
            )
        return True

    def _turn(self) -> bool:
        """Wait once and pass on what there is; False when the keys were typed."""
        flows = [*self._flows, *([self._input] if self._input else [])]
        poll = select.poll()
        if self._pipe:
            poll.register(self._pipe.fd, select.POLLIN)
        wanted = [(flow, *flow.wants()) for flow in flows]
        for _, fd, events in wanted:
            poll.register(fd, events)
        ready = dict(poll.poll())
        if self._pipe and self._pipe.fd in ready:
            self._pipe.take()
        for flow, fd, events in wanted:
            if ready.get(fd, 0) & (events | _GONE) and not flow.step():
                if flow is self._input:
                    self._end_input()
                    if getattr(flow, "detached", False):
                        return False
                else:
                    self._flows.remove(flow)
        return True

    def _end_input(self) -> None:
        """The keeper is told by the end of the FIFO."""
        self._input = None
        self._close(0)

    def _close(self, number: int) -> None:
        fd = self._descriptors.pop(number, -1)
        if fd >= 0:
            os.close(fd)

    def close(self) -> None:
        """The user's terminal and signals as they were. Idempotent."""
        if self._raw:
            self._raw.restore()
        give_back(self._before)
        self._before.clear()
        if self._pipe:
            self._pipe.close()
            self._pipe = None
        for number in list(self._descriptors):
            self._close(number)
            unlink(f"{self._path}.{number}")
