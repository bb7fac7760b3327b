"""What a container's network needs of us while it runs: one thread that waits for many descriptors.

Begun after the container's process was forked, ended before anything else is done: no fork meets it. No
signal comes to it.
"""

from __future__ import annotations

import os
import select
from _thread import allocate_lock, stack_size, start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
else:
    import _signal as signal  # `signal` itself imports `enum`: 2 ms

_STACK = 256 << 10
_EVERY = 10_000
"""Milliseconds between two calls of what is to be done now and then."""


class Serving:
    """Calls `watched[fd]()` when a descriptor can be read, from `begin` to `end`, in one thread."""

    def __init__(self) -> None:
        self._watched: dict[int, Callable[[], object]] = {}
        self._regular: list[Callable[[], object]] = []
        self._ended, self._runs, self._goes_on = allocate_lock(), False, True
        self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._wake[0], select.POLLIN)

    def watch(self, fd: int, call: Callable[[], object]) -> None:
        """From now on; before `begin`, or in the thread."""
        self._watched[fd] = call
        self._poll.register(fd, select.POLLIN)

    def forget(self, fd: int) -> None:
        """Before it is closed."""
        if self._watched.pop(fd, None):
            self._poll.unregister(fd)

    def now_and_then(self, call: Callable[[], object]) -> None:
        """Every ten seconds, more or less."""
        self._regular.append(call)

    def begin(self) -> None:
        """Start the thread; everything watched so far counts."""
        self._ended.acquire()
        self._runs = True
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            thread(self._run)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _run(self) -> None:
        try:
            while self._goes_on:
                for fd, _ in self._poll.poll(_EVERY if self._regular else None):
                    if call := self._watched.get(fd):
                        _attempt(call)
                for call in self._regular:
                    _attempt(call)
        finally:
            self._ended.release()

    def end(self) -> None:
        """Wait until the thread has ended. Idempotent."""
        self._goes_on = False
        if self._runs:
            os.write(self._wake[1], b".")
            self._ended.acquire()
            self._runs = False
        wake, self._wake = self._wake, (-1, -1)
        for fd in wake:
            if fd >= 0:
                os.close(fd)


def _attempt(call: Callable[[], object]) -> None:
    """One that fails must not end the others: a program of the container may be the reason."""
    try:
        call()
    except Exception:
        return


def thread(work: Callable[[], object]) -> None:
    """Begin a thread with a small stack. Raises RuntimeError when there can be no more."""
    before = stack_size(_STACK)
    try:
        start_new_thread(work, ())
    finally:
        stack_size(before)
