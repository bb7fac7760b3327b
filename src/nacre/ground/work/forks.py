"""Forks of this process that share its work, because an interpreter runs one thread at a time.

    numbers of the items, in a pipe ──► whoever is free takes the next
    fork ──what it sends, a packet each──► parent, which waits for the end of all

A fork has copies of all locks as they are, but not the threads that would let go of them: so it is made only
while there is one thread. What has a connection, to a database or over a network, must be made anew in the
fork. A fork dies with its parent.
"""

from __future__ import annotations

import marshal
import mmap
import os
import select
import signal
import socket
import threading
from contextlib import suppress
from time import monotonic

from ...words.errors import StoreError
from .. import linux
from ..fork import RAISING, Blocked, start
from ..pickled import pack, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from .budget import Budget

    Send = Callable[..., None]
    Work = Callable[[Send], object]

MAX_ITEMS = 1000
"""Most items for a pool: their numbers must find room in a pipe."""

_PACKET = 1 << 16
_SLICE = 250
"""Milliseconds between two looks at whether to stop."""
_PATIENCE = 3.0
_END, _FAILED = "", "!"


def is_single_threaded() -> bool:
    """Has this process one thread only, as far as Python knows?"""
    return threading.active_count() == 1


class ForkPool:
    """This process and its forks; an iterator of the numbers from 0 that fall to this process.

    While it is open, the processors of the budget are shared. `with` it: forks that are there still are
    ended. Safe for threads.
    """

    def __init__(self, count: int, budget: Budget) -> None:
        """For `count` items, at most MAX_ITEMS, in at most `budget.processes`. Raises OSError."""
        self._queue = _queue(count)
        self._slots = mmap.mmap(-1, budget.processes)
        self._slots[0] = 1
        self._mine, self._active, self._ended = 0, 0, False
        self._lock = threading.Lock()
        self._forks: list[Fork] = []
        self._load = budget.load
        self._load.processes = self._at_work

    def _at_work(self) -> int:
        return len(self._slots) - self._slots[:].count(0)

    def fork(self, work: Work) -> Fork:
        """A fork that does `work`, to which it gives what sends to the parent. Raises OSError."""
        with Blocked() as mask:  # a signal between the fork and its entry would leave it to nobody
            return self._fork(work, mask)

    def _fork(self, work: Work, mask: set[int]) -> Fork:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent, number = os.getpid(), len(self._forks) + 1

        def run() -> None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            ours.close()
            self._mine = number
            _run(parent, theirs, work)

        with theirs:
            try:
                self._note(number, 1)
                pid = start(run, signals=RAISING)
            except BaseException:
                self._note(number, 0)
                ours.close()
                raise
        fork = Fork(pid, ours, lambda: self._note(number, 0))
        self._forks.append(fork)
        return fork

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> int:
        data = os.read(self._queue, 2)
        if data:
            return int.from_bytes(data, "little")
        with self._lock:
            self._ended = True
            self._note(self._mine, self._active)
        raise StopIteration

    def __enter__(self) -> Self:
        """Enter `with`; starts nothing."""
        return self

    def __exit__(self, *_exc: object) -> None:
        self._load.processes = None
        for fork in self._forks:
            fork.end()
        os.close(self._queue)

    def working(self, change: int) -> None:
        """One item more (1) or less (-1) is under way in this process."""
        with self._lock:
            self._active += change
            self._note(self._mine, self._active if self._ended else 1)

    def _note(self, number: int, active: int) -> None:
        self._slots[number] = 1 if active else 0


class Fork:
    """One fork, as its parent sees it."""

    def __init__(self, pid: int, channel: socket.socket, ended: Callable[[], None]) -> None:
        self._pid, self._channel, self._ended = pid, channel, ended
        self._lock, self._over = threading.Lock(), False

    def follow(self, stop: threading.Event, receive: Send) -> None:
        """Call `receive` with what it sends until it ends, or is ended because of `stop`.

        Raises what its work has raised, StoreError when it died.
        """
        try:
            while not stop.is_set():
                message = self._receive(_SLICE)
                if message is not None and self._is_last(message):
                    return
                if message:
                    receive(*message)
        finally:
            self.end()

    def _receive(self, timeout: int) -> tuple[Any, ...] | None:
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        if not poll.poll(timeout):
            return None
        data = self._channel.recv(_PACKET)
        if not data:
            raise StoreError("a process that transferred layers was killed", hint=_AGAIN)
        message: tuple[Any, ...] = marshal.loads(data)
        return message

    def _is_last(self, message: tuple[Any, ...]) -> bool:
        if message[0] == _FAILED:
            raise unpack(message[1])
        self._over = message[0] == _END
        return self._over

    def end(self) -> None:
        """Ask it to end, and see that it does. Idempotent."""
        with self._lock:
            if self._pid:
                if not self._over:
                    with suppress(ProcessLookupError):
                        os.kill(self._pid, signal.SIGTERM)
                self._wait()
                self._channel.close()
                self._pid = 0
                self._ended()

    def _wait(self) -> None:
        """Until its end of the channel is closed, which is when it has ended, or it took too long."""
        last = monotonic() + _PATIENCE
        with suppress(OSError, StoreError):
            while monotonic() < last:
                self._receive(_SLICE)
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


_AGAIN = "run the command again; it resumes where it stopped"


def _queue(count: int) -> int:
    """A pipe with the numbers in it, and no end to write."""
    assert count <= MAX_ITEMS
    reader, writer = os.pipe2(os.O_CLOEXEC)
    with open(writer, "wb") as file:
        file.write(b"".join(number.to_bytes(2, "little") for number in range(count)))
    return reader


def _run(parent: int, channel: socket.socket, work: Work) -> None:
    """Runs in the fork."""
    lock = threading.Lock()

    def send(*message: Any) -> None:
        with lock:
            channel.sendall(marshal.dumps(message))

    try:
        linux.die_with_parent()
        if os.getppid() == parent:
            work(send)
            send(_END)
    except Exception as error:
        with suppress(OSError):
            send(_FAILED, pack(error))
