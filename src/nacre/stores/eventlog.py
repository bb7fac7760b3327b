"""Reading the journal of events: see `events`."""

from __future__ import annotations

import os
import time

from ..ground.files import os_errors
from ..ground.notify import CREATE, MODIFY, MOVED, FileWatch
from ..words.value import Value
from .events import BEFORE, FOLDER, JOURNAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 1 << 16


class StoreEvent(Value):
    """One event. `time` is nanoseconds since 1970, `kind` container, image, volume or network."""

    time: int
    kind: str
    action: str
    id: str
    attributes: tuple[tuple[str, str], ...]


def read_events(root: str, since: float | None = None, until: float | None = None) -> Iterator[StoreEvent]:
    """Events from `since` to `until`, seconds since 1970, the oldest first.

    Without `since` those from now on; without `until`, or with one to come, it waits for more. Raises
    StoreError. A damaged line is skipped.
    """
    first = time.time_ns() if since is None else int(since * 1e9)
    last = None if until is None else int(until * 1e9)
    with os_errors("read the journal of events"), FileWatch() as watch:
        os.makedirs(f"{root}/{FOLDER}", 0o700, exist_ok=True)
        watch.add(f"{root}/{FOLDER}", MODIFY | CREATE | MOVED)
        for line in _lines(root, watch, until):
            event = _decode(line)
            if event and last is not None and event.time > last:
                continue
            if event and event.time >= first:
                yield event


def _lines(root: str, watch: FileWatch, until: float | None) -> Iterator[bytes]:
    """Of the journal before, then of the journal, on and on, also when that is replaced."""
    yield from _whole(f"{root}/{BEFORE}")
    fd = -1
    try:
        while True:
            fd = _opened(f"{root}/{JOURNAL}") if fd < 0 else fd
            yield from _rest(fd)
            if fd >= 0 and not _is_there(f"{root}/{JOURNAL}", fd):
                yield from _rest(fd)  # what came before it was renamed
                os.close(fd)
                fd = -1
                continue
            left = None if until is None else until - time.time()
            if left is not None and left <= 0:
                return
            watch.wait(left)
    finally:
        if fd >= 0:
            os.close(fd)


def _whole(path: str) -> Iterator[bytes]:
    fd = _opened(path)
    if fd >= 0:
        try:
            yield from _rest(fd)
        finally:
            os.close(fd)


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return -1


def _rest(fd: int) -> Iterator[bytes]:
    """Whole lines from where the descriptor is; each is written at once."""
    pending = b""
    while fd >= 0 and (data := os.read(fd, _CHUNK)):
        *lines, pending = (pending + data).split(b"\n")
        yield from lines
    if pending:  # half a line, of a full disk: the next event begins in it
        yield pending


def _is_there(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


def _decode(line: bytes) -> StoreEvent | None:
    from json import loads

    try:
        known = loads(line)
        attributes = tuple(sorted((str(name), str(value)) for name, value in known["v"].items()))
        return StoreEvent(int(known["t"]), str(known["y"]), str(known["a"]), str(known["i"]), attributes)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
