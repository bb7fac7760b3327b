"""Reads that ask for content by a socket, where the kernel has nobody wait (`precontent`).

    who shows a tree ──ask: number offset count──► who fills it
                     ◄──answer: number errno──────

The socket lies in the folder of the tree. Whoever fills the tree listens, and so does the process that
replaces it when it dies: who has asked is told by the end of the connection, and asks once more. Where nobody
listens any more connecting fails, so nobody ever takes what is missing for what is there.

Messages are those of our own processes of one user, in a folder that is that user's alone.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from contextlib import suppress
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object

SOCKET = "ask"
"""Its name in the folder of a tree."""
_ASK, _ANSWER = Struct("=QQQ"), Struct("=QI")
_KIND = socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
_BACKLOG = 128


class AwaitedRead(Protocol):
    """Somebody waits for `count` bytes at `offset` of a tar; for all of it where `count` is 0."""

    offset: int
    count: int


class ReadQueue(Protocol):
    """Who waits for the content of one file: what a filler hears and answers.

    `group` is a descriptor that can be read when `event` has something.
    """

    group: int

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All that it holds, `group` among them: to be kept in a process that goes on with it."""

    def mark(self, fd: int) -> None:
        """From now on reads of the file wait. Raises OSError."""

    def unmark(self, fd: int) -> None:
        """From now on they need not; those that wait are still to be answered. Raises OSError."""

    def event(self) -> AwaitedRead | None:
        """The next one, None where there is none now. Raises OSError."""

    def answer(self, event: AwaitedRead, failure: int = 0) -> None:
        """Let it go on, or fail with an errno; once. Raises OSError where nobody waits any more."""

    def left(self) -> list[AwaitedRead]:
        """What a process before this one has taken and not answered. Before `event`, once."""

    def close(self) -> None:
        """Close all descriptors but `group`, once."""


class _AskedRead:
    """One of a connection; see AwaitedRead."""

    __slots__ = ("connection", "count", "number", "offset")

    def __init__(self, connection: socket.socket, number: int, offset: int, count: int) -> None:
        self.connection, self.number, self.offset, self.count = connection, number, offset, count


class AskedReads:
    """The ReadQueue of a folder, for the process that makes it and those that it forks."""

    def __init__(self, folder: str) -> None:
        """Listen there. Raises OSError."""
        self._listener = socket.socket(socket.AF_UNIX, _KIND)
        try:
            with _Short(folder) as path:
                self._listener.bind(path)
            self._listener.listen(_BACKLOG)
            self._poll = select.epoll()
            self._poll.register(self._listener, select.EPOLLIN)
            self.group = os.dup(self._poll.fileno())
        except BaseException:
            self._listener.close()
            raise
        self._connections: dict[int, socket.socket] = {}

    @property
    def descriptors(self) -> tuple[int, ...]:
        """See ReadQueue, which this is."""
        return self.group, self._poll.fileno(), self._listener.fileno()

    def mark(self, fd: int) -> None:
        """Nothing to be done: whoever reads asks."""

    def unmark(self, fd: int) -> None:
        """Nothing to be done: who asks is answered at once."""

    def event(self) -> AwaitedRead | None:
        """See ReadQueue; connections are made and ended on the way."""
        while ready := self._poll.poll(0, 1):
            found = self._from(ready[0][0])
            if found is not None:
                return found
        return None

    def _from(self, fd: int) -> AwaitedRead | None:
        if fd == self._listener.fileno():
            self._accept()
            return None
        connection = self._connections[fd]
        try:
            data = connection.recv(_ASK.size)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if len(data) == _ASK.size:
            return _AskedRead(connection, *_ASK.unpack(data))
        del self._connections[fd]
        self._poll.unregister(fd)
        connection.close()
        return None

    def _accept(self) -> None:
        with suppress(OSError):
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            self._connections[connection.fileno()] = connection
            self._poll.register(connection, select.EPOLLIN)

    def answer(self, event: AwaitedRead, failure: int = 0) -> None:
        """See ReadQueue. Who takes no answers loses the connection."""
        assert isinstance(event, _AskedRead)
        try:
            event.connection.send(_ANSWER.pack(event.number, failure))
        except BlockingIOError:
            event.connection.shutdown(socket.SHUT_RDWR)

    def left(self) -> list[AwaitedRead]:
        """Nothing: whoever has asked another process sees its end, and asks again."""
        return []

    def close(self) -> None:
        """See ReadQueue, which this is."""
        for connection in (self._listener, *self._connections.values()):
            connection.close()
        self._poll.close()


class Asking:
    """The other end: asks who fills the tree in `folder`, and once more when that has been replaced."""

    def __init__(self, folder: str) -> None:
        """Nothing is done yet but to open the folder, which may be removed then. Raises OSError."""
        self.folder = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._socket: socket.socket | None = None
        self._waiting: dict[int, tuple[int, int]] = {}

    def fileno(self) -> int:
        """What can be read when there are answers; -1 while nothing is connected."""
        return self._socket.fileno() if self._socket else -1

    def ask(self, number: int, offset: int, count: int) -> None:
        """Want these bytes; the answer has the same number. Waits only for a socket that is full."""
        self._waiting[number] = offset, count
        try:
            if self._socket is None:
                self._begin()
            else:
                self._send(self._socket, number)
        except OSError:
            self._begin()

    def _begin(self) -> None:
        """All that is not answered, to whoever is there now; connected to nobody if there is none."""
        self._drop()
        made = socket.socket(socket.AF_UNIX, _KIND & ~socket.SOCK_NONBLOCK)
        try:
            made.connect(f"/proc/self/fd/{self.folder}/{SOCKET}")
            for number in self._waiting:
                self._send(made, number)
        except OSError:
            made.close()
        else:
            self._socket = made

    def _send(self, to: socket.socket, number: int) -> None:
        to.send(_ASK.pack(number, *self._waiting[number]))

    def _drop(self) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None

    def answers(self) -> list[tuple[int, int]]:
        """Numbers that were asked, each with 0 or an errno, EIO where nobody is left; waits for one.

        None where another process has taken the place of the one that was asked: it was told all.
        """
        if self._socket is not None:
            try:
                data = self._socket.recv(_ANSWER.size)
            except ConnectionResetError:
                data = b""
            if len(data) == _ANSWER.size:
                number, failure = _ANSWER.unpack(data)
                return [(number, failure)] if self._waiting.pop(number, None) else []
            self._begin()
            if self._socket is not None:
                return []
        lost, self._waiting = self._waiting, {}
        return [(number, errno.EIO) for number in lost]

    def wait(self, offset: int, count: int) -> None:
        """Until these bytes are here. Raises OSError."""
        self.ask(0, offset, count)
        while not (answers := self.answers()):
            pass
        failure = answers[0][1]
        if failure:
            raise OSError(failure, os.strerror(failure))

    def close(self) -> None:
        """Close the connection and the folder. Idempotent."""
        self._drop()
        if self.folder >= 0:
            os.close(self.folder)
            self.folder = -1


class _Short:
    """The path of the socket in a folder, by a descriptor: those of sockets have 107 bytes."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __enter__(self) -> str:
        self._fd = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._fd}/{SOCKET}"

    def __exit__(self, *_exc: object) -> None:
        os.close(self._fd)
