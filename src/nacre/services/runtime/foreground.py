"""A caller that stays: signals go to the program, its terminal is shown on ours, its exit code is ours."""

from __future__ import annotations

import _socket
import os
import select

from ...ground.network.descriptors import received
from ...ground.sandbox import terminal
from ...words.errors import SandboxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    from ...ground.fork import Child
else:
    import _signal as signal

_PIECE = 65536
_NOT_PASSED_ON = (
    signal.SIGCHLD, signal.SIGKILL, signal.SIGSTOP, signal.SIGURG, signal.SIGPIPE, signal.SIGWINCH,
    signal.SIGTTIN, signal.SIGTTOU,
)  # fmt: skip


class TerminalSocket:
    """`with TerminalSocket() as console:` a socket that takes the terminal, for a caller that named none."""

    def __init__(self) -> None:
        import tempfile

        self._folder = tempfile.mkdtemp(prefix="nacre-console-")
        self.path = f"{self._folder}/socket"
        self._listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        self._listener.bind(self.path)
        self._listener.listen(1)

    def take(self) -> int:
        """The terminal that was sent. Raises SandboxError."""
        fd, _ = self._listener._accept()  # type: ignore[attr-defined]
        channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd)
        try:
            for found in received(channel):
                return found
        finally:
            channel.close()
        raise SandboxError("the container has sent no terminal")

    def __enter__(self) -> TerminalSocket:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._listener.close()
        os.unlink(self.path)
        os.rmdir(self._folder)


def stay(child: Child, shown: int = -1) -> int:
    """Until the program ends; its exit code, 128+n for signal n. `shown` is its terminal."""

    def pass_on(number: int, _frame: FrameType | None) -> None:
        child.send(number)

    before = _handle(pass_on)
    raw = None
    try:
        if shown >= 0 and os.isatty(0):
            terminal.copy_size(0, shown)
            raw = terminal.Raw(0)
            signal.signal(signal.SIGWINCH, lambda _n, _f: terminal.copy_size(0, shown))
        if shown >= 0:
            _copy(child.pidfd(), shown)
        code = os.waitstatus_to_exitcode(child.wait() or 0)
        return code if code >= 0 else 128 - code
    finally:
        if raw:
            raw.restore()
        for number, handler in before.items():
            signal.signal(number, handler)


def _handle(handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    before: dict[int, Any] = {}
    for number in signal.valid_signals():
        if number not in _NOT_PASSED_ON and signal.getsignal(number) is not None:
            before[number] = signal.signal(number, handler)
    return before


def _copy(pidfd: int, shown: int) -> None:
    """Both ways until the program has ended and all it wrote was shown."""
    poll = select.poll()
    for fd in (shown, pidfd, 0):
        poll.register(fd, select.POLLIN)
    ended = False
    try:
        while True:
            ready = [fd for fd, _ in poll.poll(0 if ended else None)]
            if shown in ready and not _move(shown, 1):
                return
            if 0 in ready and not ended and not _move(0, shown):
                poll.unregister(0)
            if ended and shown not in ready:
                return
            ended = ended or pidfd in ready
    finally:
        os.close(pidfd)


def _move(source: int, target: int) -> bool:
    try:
        view = memoryview(os.read(source, _PIECE))
    except OSError:  # EIO: nobody has the other end
        return False
    if not view:
        return False
    while view:
        view = view[os.write(target, view) :]
    return True
