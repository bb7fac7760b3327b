"""The parent's part while a container runs: pass bytes and signals, wait for the end.

One `poll` over the container's pidfd, the ends of its pipes or terminal, and a wake-up pipe for
signals. Writing to the container never blocks (what does not fit waits, and its source with it), so
that the two directions cannot wait for each other.
"""

from __future__ import annotations

import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol, Self

    from .attached import Clients
    from .loop import EventLoop
    from .pause import Pauses

    Signals = bool | Mapping[int, Any]

    class ChildProcess(Protocol):
        """A child of this process."""

        pid: int

        def wait(self) -> int | None:
            """Its status once it has ended, None if somebody else took it."""

        def pidfd(self) -> int:
            """A descriptor of it, to be closed."""
else:
    import _signal as signal  # `signal` itself imports `enum`: 2 ms

_CHUNK = 65536
FORWARDED = tuple(
    getattr(signal, f"SIG{name}") for name in ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "CONT", "ALRM")
)
"""Signals that are passed on to the program."""
PAUSE = b"pause:"
"""A line of the control that is no number: see `pause`."""
FREEZE, THAW = b"freeze:", b"thaw:"
"""Others: see `freezer`."""
ATTACH, RESIZE = b"attach:", b"resize:"
"""And these: see `attached`."""
_DEMANDS = 3
_SETTLED = 1.0
"""Seconds until a supervisor leaves: a program that ends soon is not worth another process image."""
_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL


class Flow:
    """Bytes from one descriptor to another place. `write` blocks; `target` is written as it can take it.

    `name` is that of the stream in the log. `copy(name, data)` gets what is written too. `on_end()` is called
    when it is over, instead of what `Relay` does then.
    """

    def __init__(
        self, source: int, write: Callable[[bytes], object] | None = None, target: int = -1, name: str = ""
    ) -> None:
        self.source, self.write, self.target, self.name = source, write, target, name
        self.waiting = b""
        self.copy: Callable[[str, bytes], object] | None = None
        self.on_end: Callable[[], object] | None = None

    def wants(self) -> tuple[int, int]:
        """The descriptor to wait for, and the events."""
        return (self.target, select.POLLOUT) if self.waiting else (self.source, select.POLLIN)

    def step(self) -> bool:
        """Move what can be moved now; False at the end of either side."""
        try:
            data = self.waiting or os.read(self.source, _CHUNK)
        except BlockingIOError:
            return True
        except OSError:  # EIO: nobody has the other end of the terminal open
            return False
        return bool(data) and self._pass(data)

    def _pass(self, data: bytes) -> bool:
        try:
            if self.write:
                self.write(data)
                if self.copy:
                    self.copy(self.name, data)
            else:
                self.waiting = data[os.write(self.target, data) :]
        except BlockingIOError:
            self.waiting = data
        except OSError:
            return False
        return True


class Relay:
    """Passes bytes and signals until the process ends; `control` as in `process.run`.

    `deadly` is sent instead of SIGKILL. `on_signal(n)` hears of signals that are passed on. `leave(told)` has
    another program of this process go on with what it is told; it returns only if that has failed.
    That comes after `settled` seconds; with `still`, if anything has happened, once nothing has for so long.
    `input` is where those write to who attach later, -1 for nowhere; with `once` its end is that of the first
    of them. `attachable`: what the container writes comes by here.
    """

    def __init__(
        self, child: ChildProcess, outputs: list[Flow], inputs: list[Flow], control: int = -1
    ) -> None:
        self.child, self.control = child, control
        self.outputs, self.inputs = outputs, inputs
        self.on_resize: Callable[[], None] | None = None
        self.on_ready: Callable[[], object] | None = None
        self.on_signal: Callable[[int], object] | None = None
        self.leave: Callable[[dict[str, Any]], object] | None = None
        self.settled, self.still, self._moved = _SETTLED, 0.0, False
        self.deadly: int = signal.SIGKILL
        self.input, self.once, self.attachable = -1, False, bool(outputs)
        self._clients: Clients | None = None
        self._demands = 0
        self._raised: BaseException | None = None
        self._pauses: Pauses | None = None
        self._pidfd = -1
        self._loop: EventLoop | None = None

    @property
    def loop(self) -> EventLoop:
        """For what else is to be done while the process runs."""
        if self._loop is None:
            from .loop import EventLoop

            self._loop = EventLoop()
        return self._loop

    def run(self, *, signals: Signals) -> int:
        """Returns the exit code, 128+n for signal n. Signals are taken only in the main thread.

        Raises what one of their handlers raises, also where that comes in the middle of a step that expects
        errors of its own: TimeoutError is an OSError.
        """
        pidfd = self._pidfd = self.child.pidfd()
        before = {} if signals is False else self._take_signals(signals)
        try:
            if self.on_ready:
                self.on_ready()
            self.plan_to_leave()
            while not self._turn(pidfd):
                pass
            return _exit_code(self.child.wait())
        finally:
            self._drain()
            if self._clients:
                self._clients.close()
            give_back(before)
            if self._pauses:
                self._pauses.close()
            if self._pipe:
                self._pipe.close()
                self._pipe = None
            os.close(pidfd)

    def _turn(self, pidfd: int) -> bool:
        """Wait once; True when the process has ended."""
        outputs = [] if self._clients and self._clients.is_behind else self.outputs
        flows = [(flow, *flow.wants()) for flow in outputs + self.inputs]
        interest = self._interest(pidfd)
        for _, fd, events in flows:  # both directions may wait for one terminal
            interest[fd] = interest.get(fd, 0) | events
        ready = self._loop.wait(interest) if self._loop else _poll(interest)
        others = self._loop.others if self._loop else ()
        self._moved = self._moved or any(fd in ready for fd in (*interest, *others))
        self._hear(ready)
        for flow, fd, events in flows:
            if ready.get(fd, 0) & (events | _GONE) and not flow.step():
                self._end(flow)
        if self._raised:
            raise self._raised
        return pidfd in ready

    def _interest(self, pidfd: int) -> dict[int, int]:
        """What to wait for besides the flows."""
        interest = {pidfd: select.POLLIN}
        for fd in (self._pipe.fd if self._pipe else -1, self.control):
            if fd >= 0:
                interest[fd] = select.POLLIN
        for fd in self._pauses.holders if self._pauses else ():
            interest[fd] = 0  # POLLHUP
        return interest

    def _hear(self, ready: Mapping[int, int]) -> None:
        """Signals, the ends of pauses and demands, in this order."""
        if self._pipe and self._pipe.fd in ready:
            self._pipe.take()
        if pauses := self._pauses:
            for fd in [fd for fd in pauses.holders if fd in ready]:
                pauses.end(fd)
        if self.control in ready:
            self._obey(os.read(self.control, _CHUNK))

    def plan_to_leave(self) -> None:
        """Leave once there is nothing else to do."""
        if self.leave:
            seconds = self.still if self._moved and self.still else self.settled
            self._moved = False
            self.loop.call_later(seconds, self._leave)

    def _leave(self) -> None:
        """Unless there is more to do than the other program can. One that failed is not tried again."""
        if self.leave and self._is_quiet and not (self.still and self._moved):
            leave, self.leave = self.leave, None
            leave(self.describe())
            self.leave = leave
        self.plan_to_leave()

    @property
    def _is_quiet(self) -> bool:
        paused = self._pauses and self._pauses.holders
        waiting = any(flow.waiting or flow.target >= 0 for flow in self.outputs)
        return self.loop.is_idle and not (self.inputs or waiting or paused)

    def describe(self) -> dict[str, Any]:
        """What is left to do, as plain values."""
        outputs = [[flow.source, flow.name] for flow in self.outputs]
        watched = [self._pidfd, self.control, *self.loop.others, *(flow.source for flow in self.outputs)]
        return {
            "pid": self.child.pid, "control": self.control, "outputs": outputs, "deadly": self.deadly,
            "pidfd": self._pidfd, "watched": [fd for fd in watched if fd >= 0], "due": self.loop.due,
            "input": self.input, "once": self.once,
        }  # fmt: skip

    def _obey(self, lines: bytes) -> None:
        for line in lines.split():
            try:
                self._do(line)
            except OSError:  # who asks may be gone, or the disk full: that does not end the container
                continue

    def _do(self, line: bytes) -> None:
        """What a line of the control says. Raises OSError."""
        name = os.fsdecode(line.partition(b":")[2])
        if line.isdigit() and 0 < int(line) < signal.NSIG:
            self._send(int(line))
        elif line.startswith(PAUSE):
            self._pause(name)
        elif line.startswith((FREEZE, THAW)):
            from . import freezer

            freezer.obey(self.child.pid, self.control, name, freeze=line.startswith(FREEZE))
        elif line.startswith((ATTACH, RESIZE)):
            self._attach(line)

    def _attach(self, line: bytes) -> None:
        from . import attached

        if line.startswith(ATTACH):
            self._clients = self._clients or attached.Clients(self)
            self._clients.begin(os.fsdecode(line[len(ATTACH) :]))
        else:
            for terminal in [flow.source for flow in self.outputs if os.isatty(flow.source)]:
                attached.resize(terminal, line)

    def add_input(self, fd: int) -> None:
        """What comes from `fd` goes to the container, until it ends; it is closed then."""
        flow = Flow(fd, target=self.input)

        def over() -> None:
            os.close(fd)
            if self.once:
                self.close_input()

        flow.on_end = over
        self.inputs.append(flow)

    def close_input(self) -> None:
        """Nobody will write to the container any more. The number of its input stays taken until the end."""
        fd, self.input = self.input, -1
        for flow in [flow for flow in self.inputs if flow.target == fd and flow.on_end]:
            self.inputs.remove(flow)
            os.close(flow.source)
        _replace_by_null(fd)

    def _pause(self, name: str) -> None:
        if self._pauses is None:
            from .pause import Pauses

            self._pauses = Pauses(self.child.pid)
        self._pauses.begin(self.control, name)

    def kill(self) -> None:
        """End the process, and those that it has not sent out of its group."""
        self._send(signal.SIGKILL)
        if self.deadly == signal.SIGKILL:
            os.killpg(self.child.pid, signal.SIGKILL)

    def _send(self, number: int) -> None:
        try:
            number = self.deadly if number == signal.SIGKILL else number
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:  # it has ended
            return

    def _end(self, flow: Flow) -> None:
        """A flow is over. The end of the user's input is the end of the container's too."""
        if flow in self.outputs:
            self.outputs.remove(flow)
            return
        if flow not in self.inputs:  # hung up a moment ago
            return
        self.inputs.remove(flow)
        if flow.on_end:
            flow.on_end()
        elif os.isatty(flow.target):
            self.hang_up(flow.target)
        elif flow.target == self.input:
            self.close_input()
        else:
            os.close(flow.target)

    def hang_up(self, terminal: int) -> None:
        """The user's terminal is gone: so is the container's. Its number stays taken until the end."""
        self.outputs = [flow for flow in self.outputs if flow.source != terminal]
        _replace_by_null(terminal)

    def _drain(self) -> None:
        """What the container wrote before its end; nothing of it can still be writing."""
        for flow in self.outputs:
            while _readable(flow.source) and flow.step():
                pass

    _pipe: SignalPipe | None = None

    def _take_signals(self, signals: Signals) -> dict[int, Any]:
        """From now on forward, or let those handlers deal with them; what was before."""
        self._pipe = SignalPipe.attempt()
        if not self._pipe:
            return {}
        if isinstance(signals, bool):
            before = take_signals(self._forward)
        else:
            before = {number: signal.signal(number, self._noted(each)) for number, each in signals.items()}
        if self.on_resize:
            before[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, lambda *_: self._resize())
        return before

    def _noted(self, handler: Callable[[int, Any], object]) -> Callable[[int, Any], None]:
        """As `handler`, at once: it may have to end a step that blocks. What it raises is kept as well."""

        def handle(number: int, frame: Any) -> None:
            try:
                handler(number, frame)
            except BaseException as error:
                self._raised = error
                raise

        return handle

    def _resize(self) -> None:
        if self.on_resize:
            self.on_resize()

    def _forward(self, number: int, _frame: object) -> None:
        """Pass the signal on; the third demand to end kills, as docker's client does."""
        if number in (signal.SIGINT, signal.SIGTERM):
            self._demands += 1
        if self.on_signal:
            self.on_signal(number)
        self._send(signal.SIGKILL if self._demands >= _DEMANDS else number)


class SignalPipe:
    """A pipe that signals write to, so that one that comes just before a `poll` ends it."""

    def __init__(self) -> None:
        """Raises ValueError outside the main thread, where no signals come."""
        self.fd, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        except ValueError:
            self._close()
            raise

    @classmethod
    def attempt(cls) -> Self | None:
        """None outside the main thread."""
        try:
            return cls()
        except ValueError:
            return None

    def take(self) -> None:
        """Signals came. An event loop of the caller's, which was woken until now, learns of them."""
        numbers = os.read(self.fd, _CHUNK)
        if self._before >= 0:
            try:
                os.write(self._before, numbers)
            except OSError:  # full: it wakes anyway
                return

    def close(self) -> None:
        """Once, in the main thread: signals wake whom they woke before."""
        signal.set_wakeup_fd(self._before)
        self._close()

    def _close(self) -> None:
        os.close(self.fd)
        os.close(self._writer)


def take_signals(handler: Callable[[int, Any], object]) -> dict[int, Any]:
    """Have `handler` get those of FORWARDED that are not ignored here; what is to be given back.

    {} outside the main thread, where no signals come.
    """
    try:
        return {
            number: signal.signal(number, handler)
            for number in FORWARDED
            if signal.getsignal(number) not in (signal.SIG_IGN, None)
        }
    except ValueError:
        return {}


def give_back(before: Mapping[int, Any]) -> None:
    """Handlers as they were."""
    for number, handler in before.items():
        signal.signal(number, handler)


def _replace_by_null(fd: int) -> None:
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, fd, inheritable=False)
    os.close(null)


def _poll(interest: Mapping[int, int]) -> dict[int, int]:
    poll = select.poll()
    for fd, events in interest.items():
        poll.register(fd, events)
    return dict(poll.poll())


def _readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return any(events & select.POLLIN for _, events in poll.poll(0))


def _exit_code(status: int | None) -> int:
    if status is None:
        from ...words.errors import SandboxError

        raise SandboxError("the exit code of the program is lost: another part of this process collected it")
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
