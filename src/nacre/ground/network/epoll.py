"""Sockets that a program has registered with epoll before they are switched, registered once more.

epoll knows a socket by its file and the number of its descriptor. The new socket is another file, so the
program would hear nothing of it: nginx and Boost register first and connect then. The keeper repeats the
registration, under the same number, in a thread whose descriptors are its own.
Source: epoll(7), proc_pid_fdinfo(5).
"""

from __future__ import annotations

import os

from .. import linux
from . import namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterator

    from .notifier import Notification

_KIND = "anon_inode:[eventpoll]"
_MOST_KNOWN = 256
_LARGEST = 1 << 22
_TARGET = b"tfd:"


class EpollTable:
    """Where the programs of a container have their instances of epoll."""

    def __init__(self) -> None:
        self._made = 0
        self._known: dict[int, tuple[int, list[int]]] = {}

    @property
    def is_any(self) -> bool:
        """Whether there can be some."""
        return self._made > 0

    def made(self) -> None:
        """A program makes one more."""
        self._made += 1

    def repeat(self, note: Notification, old: int, new: _socket.socket) -> None:
        """What is registered of the socket of a call, whose inode is `old`, is registered of `new`.

        What cannot be found or done is left: then the program hears nothing, as without this.
        """
        if not self._made:
            return
        for number, events, data in self._registrations(note, old):
            try:
                _register(note, number, new.fileno(), events, data)
            except OSError:
                continue

    def _registrations(self, note: Notification, old: int) -> Iterator[tuple[int, int, int]]:
        for number in self._instances(note.tid):
            for target, events, data, inode in _targets(note.tid, number):
                if (target, inode) == (note.number, old):
                    yield number, events, data

    def _instances(self, tid: int) -> list[int]:
        """Numbers of descriptors. A number that has become something else has no targets."""
        made, found = self._known.get(tid, (0, []))
        if made != self._made:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            found = list(_scan(tid))
            self._known[tid] = self._made, found
        return found


def _scan(tid: int) -> Iterator[int]:
    folder = f"/proc/{tid}/fd"
    try:
        numbers = os.listdir(folder)
    except OSError:
        return
    for number in numbers:
        try:
            if os.readlink(f"{folder}/{number}") == _KIND:
                yield int(number)
        except OSError:
            continue


def _targets(tid: int, number: int) -> Iterator[tuple[int, int, int, int]]:
    """Descriptor, events, data and inode of each. `tfd: 7 events: 1d data: 7 pos:0 ino:61af sdev:7`."""
    try:
        with open(f"/proc/{tid}/fdinfo/{number}", "rb") as file:
            lines = file.read(_LARGEST).split(b"\n")
    except OSError:
        return
    for line in lines:
        if line.startswith(_TARGET):
            words = line.replace(b":", b" ").split()
            fields = dict(zip(words[::2], words[1::2], strict=False))
            events, value, inode = (int(fields[name], 16) for name in (b"events", b"data", b"ino"))
            yield int(fields[b"tfd"]), events, value, inode


def _register(note: Notification, number: int, fd: int, events: int, data: int) -> None:
    """In a thread with a copy of our descriptors, of which any may have the number that is needed."""

    def work() -> None:
        linux.unshare(linux.CLONE_FILES)
        instance = note.duplicate(number)
        if instance == note.number:
            instance = os.dup(instance)
        if fd != note.number:
            os.dup2(fd, note.number)
        linux.epoll_add(instance, note.number, events, data)

    namespaces.apart(work)
