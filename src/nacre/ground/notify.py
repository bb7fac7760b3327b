"""What happens to files and folders, told by the kernel. Source: inotify(7)."""

from __future__ import annotations

import os
import select

from .libc import function, get_errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

MODIFY, MOVED, CREATE, DELETE_SELF = 0x2, 0xC0, 0x100, 0x400


class FileWatch:
    """`with FileWatch() as watch:` waits until something happens to what was added. Raises OSError."""

    def __init__(self) -> None:
        self.fd = _checked(function("inotify_init1")(os.O_CLOEXEC | os.O_NONBLOCK))

    @classmethod
    def adopt(cls, fd: int) -> Self:
        """One that another program of this process has made."""
        self = cls.__new__(cls)
        self.fd = fd
        return self

    def add(self, path: str, events: int) -> None:
        """Look at a file, or at a folder and what is in it."""
        _checked(function("inotify_add_watch")(self.fd, os.fsencode(path), events))

    def wait(self, seconds: float | None = None) -> bool:
        """Until something has happened since the last time; False when the time is up."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        if not poll.poll(None if seconds is None else max(0.0, seconds * 1000)):
            return False
        os.read(self.fd, 65536)
        return True

    def close(self) -> None:
        """Let go of it, once."""
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(get_errno(), os.strerror(get_errno()))
    return result
