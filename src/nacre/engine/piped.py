"""What a child writes comes to the caller's own function, in the process that the function belongs to."""

from __future__ import annotations

import os

from ..ground.files import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")
    Write = Callable[[bytes], object]

_CHUNK = 1 << 16


def piped(write: Write, begin: Callable[[Write, Callable[[], object]], T]) -> T:
    """`begin(write, meanwhile)`, whose work may be done in a child; its result.

    The function that it gets for `write` may be called there. `meanwhile()` is to be called here while the
    child works: it returns when that has written all.
    """
    parent, (reader, writer) = os.getpid(), os.pipe2(os.O_CLOEXEC)
    opened = [reader, writer]

    def pass_on(data: bytes) -> object:
        if os.getpid() == parent:
            return write(data)
        write_all(writer, data)
        return len(data)

    def meanwhile() -> None:
        opened.remove(writer)
        os.close(writer)
        while data := os.read(reader, _CHUNK):
            write(data)

    try:
        return begin(pass_on, meanwhile)
    finally:
        for fd in opened:
            os.close(fd)
