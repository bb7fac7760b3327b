"""Hearing of it when a control group runs out of memory, in the moment when it does.

version 1   the kernel counts in an eventfd, before it kills; once more when the group is removed, and later
            than that in one for a threshold that is never reached: it waits for all processors first
version 2   inotify tells that memory.events has changed

Source: Linux Documentation/admin-guide/cgroup-v1/memory.rst, cgroup-v2.rst; mm/memcontrol-v1.c.
"""

from __future__ import annotations

import os
import select

from ..notify import MODIFY, FileWatch
from .hierarchies import numbers, write

_NEVER = str(1 << 62)
_PATIENCE = 1000
"""Milliseconds for the kernel to tell that a group was removed."""


class MemoryWatch:
    """One control group. `fd` is readable when there may be news. Raises OSError where that cannot be had."""

    def __init__(self, folder: str, version: int = 1) -> None:
        self._folder, self._count, self._told = folder, 0, 0
        self._held: list[int] = []
        self._files: FileWatch | None = None
        try:
            self._begin() if version == 1 else self._begin_second()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        self._held = [_counter(), _counter()]
        _register(self._folder, self._held[1], "memory.usage_in_bytes", _NEVER)
        _register(self._folder, self._held[0], "memory.oom_control")

    def _begin_second(self) -> None:
        self._files = FileWatch()
        self._files.add(f"{self._folder}/memory.events", MODIFY)

    @classmethod
    def adopt(cls, folder: str, held: list[int], told: int) -> MemoryWatch:
        """One that another program of this process has made."""
        self = cls.__new__(cls)
        self._folder, self._held, self._count, self._told = folder, held[:2], told, told
        self._files = None
        if len(held) == 1:
            self._files = FileWatch.adopt(self._held.pop())
        return self

    def describe(self) -> tuple[str, list[int], int]:
        """What `adopt` takes; of the descriptors the first is `fd`."""
        return self._folder, [self.fd, *self._held[1:]], self._told

    @property
    def fd(self) -> int:
        """The descriptor to wait for."""
        return self._files.fd if self._files else self._held[0]

    def heard(self) -> bool:
        """Whether memory has run out since the last call; False if the group is gone."""
        self._look()
        before = self._told
        if os.path.exists(self._folder):
            self._told = self._count
        return self._told > before

    def heard_at_last(self) -> bool:
        """The same once the group is removed, of version 1. Waits until the kernel has told of that."""
        removed = not os.path.exists(self._folder) and _is_readable(self._held[1])
        self._look()
        return self._count - removed > self._told

    def _look(self) -> None:
        if self._files:
            self._files.wait(0)
            self._count = numbers(self._folder, "memory.events").get("oom_kill", self._count)
        else:
            self._count += _taken(self._held[0])

    def close(self) -> None:
        """Let go of it. Idempotent."""
        while self._held:
            os.close(self._held.pop())
        files, self._files = self._files, None
        if files:
            files.close()


def _counter() -> int:
    return os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)


def _register(folder: str, counter: int, name: str, argument: str = "") -> None:
    fd = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        write(folder, "cgroup.event_control", f"{counter} {fd} {argument}".rstrip())
    finally:
        os.close(fd)


def _taken(counter: int) -> int:
    try:
        return os.eventfd_read(counter)
    except BlockingIOError:
        return 0


def _is_readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(_PATIENCE))
