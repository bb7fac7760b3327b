"""What a container's network needs of us while it runs: one thread that waits for many descriptors.

Begun once the program of the container runs, ended before anything else is done: no fork meets it. No signal
comes to it.
"""

from __future__ import annotations

import _socket
import os
import select
from _thread import allocate_lock, stack_size, start_new_thread
from time import monotonic

from ...words.errors import SandboxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Protocol

    class Closable(Protocol):
        """A socket, or what has one."""

        def fileno(self) -> int: ...  # noqa: D102
        def close(self) -> None: ...  # noqa: D102

else:
    import _signal as signal  # `signal` itself imports `enum`: 2 ms

_STACK = 256 << 10
_SECOND, _SELDOM = 1.0, 10.0
"""Seconds between two rounds of what is to be done now and then: while something happens, and otherwise."""


class Serving:
    """Calls `watched[fd]()` when a descriptor is ready, from `begin` to `end`, in one thread."""

    def __init__(self) -> None:
        self._watched: dict[int, Callable[[], object]] = {}
        self._regular: list[Callable[[], object]] = []
        self._round, self.moved = 0.0, False
        self._ended, self._runs, self._goes_on = allocate_lock(), False, True
        self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._wake[0], select.POLLIN)

    def watch(self, fd: int, call: Callable[[], object], *, events: int = select.POLLIN) -> None:
        """From now on; before `begin`, or in the thread. `events` as those of poll(2)."""
        self._watched[fd] = call
        self._poll.register(fd, events)

    def forget(self, fd: int) -> None:
        """Before it is closed."""
        if self._watched.pop(fd, None):
            self._poll.unregister(fd)

    def now_and_then(self, call: Callable[[], object]) -> None:
        """Once a second while something happens or the call answers that it waits, else every ten seconds."""
        self._regular.append(call)

    def begin(self) -> None:
        """Start the thread; everything watched so far counts. Raises SandboxError."""
        self._ended.acquire()
        self._runs = True
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            thread(self._run)
        except RuntimeError as error:
            self._runs = False
            self._ended.release()
            raise SandboxError(f"cannot serve the network of the container: {error}") from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _run(self) -> None:
        try:
            soon = False
            while self._goes_on:
                soon = self._turn(_SECOND if soon else _SELDOM)
        finally:
            self._ended.release()

    def _turn(self, seconds: float) -> bool:
        """Wait once; whether the next wait shall be a short one."""
        ready = self._poll.poll(1000 * seconds if self._regular else None)
        self.moved = self.moved or any(fd in self._watched for fd, _ in ready)
        calls = [(fd, self._watched.get(fd)) for fd, _ in ready]
        for fd, call in calls:
            if call and self._watched.get(fd) is call:  # its number may be that of another by now
                _attempt(call)
        if monotonic() < self._round:
            return True
        self._round = monotonic() + _SECOND
        waiting = [_attempt(call) for call in self._regular]
        return bool(ready) or any(waiting)

    def pause(self) -> None:
        """Wait until the thread has ended; it may begin again. Idempotent."""
        if self._runs:
            self._goes_on = False
            os.write(self._wake[1], b".")
            self._ended.acquire()
            self._ended.release()
            os.read(self._wake[0], 1)
            self._runs, self._goes_on = False, True

    @property
    def descriptors(self) -> list[int]:
        """Those that are watched now."""
        return list(self._watched)

    def end(self) -> None:
        """Wait until the thread has ended. Idempotent."""
        self.pause()
        wake, self._wake = self._wake, (-1, -1)
        for fd in wake:
            if fd >= 0:
                os.close(fd)


def _attempt(call: Callable[[], object]) -> object:
    """One that fails must not end the others: a program of the container may be the reason."""
    try:
        return call()
    except Exception:
        return None


def accepted(listening: _socket.socket) -> _socket.socket:
    """The next connection to a socket of streams. Raises OSError."""
    fd, _ = listening._accept()  # type: ignore[attr-defined]
    return _socket.socket(listening.family, _socket.SOCK_STREAM, 0, fd)


def thread(work: Callable[[], object]) -> None:
    """Begin a thread with a small stack. Raises RuntimeError when there can be no more."""
    before = stack_size(_STACK)
    try:
        start_new_thread(work, ())
    finally:
        stack_size(before)


def abandon(opened: Closable) -> None:
    """Let go of a socket whose end the kernel would have us wait for, 5 to 20 ms: until no processor uses it.

    Sockets that only a message to themselves holds are closed by the kernel, in a thread of its own since
    Linux 6.10. Source: linux net/unix/garbage.c.
    """
    try:
        thread(lambda: _into_a_message(opened))
    except RuntimeError:
        opened.close()


def _into_a_message(opened: Closable) -> None:
    from .descriptors import hand_all

    one, other = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        hand_all(one, b".", (opened.fileno(), other.fileno()))
    finally:
        for each in (one, opened, other):
            each.close()
