"""Files whose content comes when somebody reads it: events before a read, which wait for an answer.

A program that reads a marked file, by read(2), by a page fault or through a file system that lies in it,
waits until the event is answered. Whoever fills the file meanwhile must use a descriptor that was opened
before the mark was set: that makes no events. While anybody holds a descriptor of the group nothing is
answered by itself: after the death of the one that answers, the readers wait. When the last one is closed,
every reader goes on, and reads what is there.

The kernel knows an event that was taken by the number of its descriptor in the process that took it. So the
number is written into memory that survives that process, and the one that takes its place answers by it.

Needs root of the first user namespace and Linux 6.14. Sources: fanotify(7), linux
include/uapi/linux/fanotify.h, fs/notify/fanotify/fanotify_user.c (process_access_response).
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from struct import Struct
from struct import error as struct_error

from . import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from .asking import AwaitedRead

_CLOEXEC, _NONBLOCK, _PRE_CONTENT, _UNLIMITED_QUEUE, _UNLIMITED_MARKS = 0x1, 0x2, 0x8, 0x10, 0x20
_FLAGS = _CLOEXEC | _NONBLOCK | _PRE_CONTENT | _UNLIMITED_QUEUE | _UNLIMITED_MARKS
_ADD, _REMOVE = 0x1, 0x2
_PRE_ACCESS = 0x00100000
_ALLOW, _DENY, _EIO = 1, 2, 5
_EVENT, _INFO, _RANGE, _ANSWER = Struct("=IBBHQii"), Struct("=BBH"), Struct("=QQ"), Struct("=iI")
_RANGE_INFO, _RANGE_AT = 6, 8
_VERSION = 3
_SLOT = Struct("=iQQ")
_SLOTS = 512
_BUFFER = 64
"""Bytes that one event takes at most, so that one is taken at a time."""


class ReadEvent:
    """Somebody is about to read `count` bytes at `offset`; `fd` is the number by which it is answered.

    No `Value`: there are tens of thousands, and somebody waits for each.
    """

    __slots__ = ("count", "fd", "offset")

    def __init__(self, fd: int, offset: int, count: int) -> None:
        self.fd, self.offset, self.count = fd, offset, count


class ContentGroup:
    """A group of one file, for the process that makes it and those that it forks."""

    def __init__(self) -> None:
        """Raises OSError where this is not to be had."""
        self.group = linux.fanotify_init(_FLAGS, os.O_RDONLY | os.O_CLOEXEC | os.O_LARGEFILE)
        self._taken = mmap.mmap(-1, _SLOTS * _SLOT.size)
        self._slots: dict[int, int] = {}
        self._free = list(range(_SLOTS))

    @property
    def descriptors(self) -> tuple[int, ...]:
        """See `asking.ReadQueue`, which this is."""
        return (self.group,)

    def close(self) -> None:
        """Nothing but `group`: see `asking.ReadQueue`."""

    def mark(self, fd: int) -> None:
        """From now on reads of the file wait. Raises OSError: EINVAL, EOPNOTSUPP before Linux 6.14."""
        linux.fanotify_mark(self.group, _ADD, _PRE_ACCESS, fd)

    def unmark(self, fd: int) -> None:
        """From now on they do not; those that wait are still to be answered. Idempotent. Raises OSError."""
        with suppress(FileNotFoundError):
            linux.fanotify_mark(self.group, _REMOVE, _PRE_ACCESS, fd)

    def events(self) -> Iterator[ReadEvent]:
        """What has been asked since, as many as may be open at once; to be answered. Raises OSError."""
        while event := self.event():
            yield event

    def event(self) -> ReadEvent | None:
        """The next of them, None where there is none now. Raises OSError."""
        if not self._free:
            return None
        try:
            data = os.read(self.group, _BUFFER)
        except BlockingIOError:
            return None
        event = _event(data)
        slot = self._slots[event.fd] = self._free.pop()
        _SLOT.pack_into(self._taken, slot * _SLOT.size, event.fd, event.offset, event.count)
        return event

    def answer(self, event: AwaitedRead, failure: int = 0) -> None:
        """Let the reader go on, or have its read fail with an errno. Raises OSError where nobody waits."""
        assert isinstance(event, ReadEvent)
        try:
            os.write(self.group, _ANSWER.pack(event.fd, _DENY | failure << 24 if failure else _ALLOW))
        finally:
            slot = self._slots.pop(event.fd)
            _SLOT.pack_into(self._taken, slot * _SLOT.size, 0, 0, 0)
            self._free.append(slot)
            os.close(event.fd)  # last: then another event may get the number

    def left(self) -> list[AwaitedRead]:
        """What another process has taken and not answered; now it is this one's. Before `events`, once.

        One that died before it could write down what it had taken leaves a reader who can only be told that
        his read has failed.
        """
        rows = enumerate(_SLOT.iter_unpack(self._taken[:]))
        taken = {slot: ReadEvent(*row) for slot, row in rows if row[0]}
        self._slots = {event.fd: slot for slot, event in taken.items()}
        self._free = [slot for slot in range(_SLOTS) if slot not in taken]
        numbers = {event.fd for event in taken.values()}
        _fail(self.group, numbers)
        for number in numbers:
            _occupy(number)
        return [*taken.values()]


def fail_all(group: int) -> None:
    """Every read that waits now fails with EIO: for a group whose events nobody answers. Raises OSError."""
    _fail(group)
    while True:
        try:
            event = _event(os.read(group, _BUFFER))
        except BlockingIOError:
            return
        os.close(event.fd)
        _fail(group)


def _fail(group: int, spared: Container[int] = ()) -> None:
    """Whatever was taken by another process, under a number that a process of ours may have given it."""
    for number in range(3, 3 * _SLOTS):
        if number not in spared:
            with suppress(OSError):  # there is no such event
                os.write(group, _ANSWER.pack(number, _DENY | _EIO << 24))


def _occupy(number: int) -> None:
    """No other event may get this number before it is answered."""
    fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    if fd != number:
        os.dup2(fd, number, inheritable=False)
        os.close(fd)


def _event(data: bytes) -> ReadEvent:
    length, version, _, header, _mask, fd, _pid = _EVENT.unpack_from(data)
    if version != _VERSION:
        raise OSError(0, "the kernel speaks another version of fanotify")
    return ReadEvent(fd, *_range(data[header:length]))


def _range(data: bytes) -> tuple[int, int]:
    """Offset and count of an event; (0, 0), the whole file, where the kernel does not say."""
    try:
        while data:
            kind, _, length = _INFO.unpack_from(data)
            if kind == _RANGE_INFO:
                offset, count = _RANGE.unpack_from(data, _RANGE_AT)
                return offset, count
            data = data[max(length, _INFO.size) :]
    except struct_error:
        return 0, 0
    return 0, 0
