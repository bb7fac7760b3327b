"""Reading the files of a log, which may be limited in size: see `ground.monitor.rotation`."""

from __future__ import annotations

import os
import zlib

from ...ground.monitor.rotation import SUFFIX, numbers
from ...words.errors import Conflict
from ...words.quickjson import loads
from ...words.value import Value
from .keeper import is_kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from gzip import GzipFile
    from typing import IO

    from .listing import ContainerListing

_POLL = 0.05
_UNREADABLE = ("none", "journald")


class Line(Value):
    """One entry of a log: `stream`, `time` as written, `text` with its newline; labels and variables."""

    stream: str
    time: str
    text: str
    attributes: tuple[tuple[str, str], ...] = ()


def logs(containers: ContainerListing, text: str, follow: bool, tail: int) -> Iterator[Line]:
    """What a container wrote; `follow` until it ends, `tail` lines of what there is now, -1 for all.

    Raises NotFound; Conflict for a driver that keeps nothing here.
    """
    row = containers.get(text)
    driver = loads(row.config_json).get("log_driver")
    if driver in _UNREADABLE:
        hint = f"it is {driver}"
        if driver == "journald":
            hint = f"read the journal: journalctl CONTAINER_ID_FULL={row.id}"
        raise Conflict("configured logging driver does not support reading", hint=hint)
    folder, path = containers.folder(row.id), containers.store.containers.file(row.id, "log")
    return read_log(path, follow=(lambda: is_kept(folder)) if follow else None, tail=tail)


def read_log(path: str, *, follow: Callable[[], bool] | None = None, tail: int = -1) -> Iterator[Line]:
    """The entries of a log, oldest first; with `follow`, on and on for as long as that says True.

    `tail`: only that many of those that there are now, -1 for all. A log that does not exist is empty; a
    damaged line is skipped. It may be written and rotated meanwhile: nothing comes twice, and what is still
    there is not missed.
    """
    from time import sleep

    reader = _Reader(path)
    try:
        yield from _last(reader.entries(), tail)
        while follow:
            more = follow()
            yield from reader.entries()
            if not more:
                return
            sleep(_POLL)
    finally:
        reader.close()


def _last(lines: Iterator[Line], count: int) -> Iterator[Line]:
    if count < 0:
        return lines
    from collections import deque

    return iter(deque(lines, count))


class _Reader:
    """A place in the files of a log. `_number` is that of the file open, or the one that it is to get."""

    def __init__(self, path: str) -> None:
        self._path, self._number, self._pending = path, 0, b""
        self._file: IO[bytes] | GzipFile | None = None

    def close(self) -> None:
        if self._file:
            self._file.close()

    def entries(self) -> Iterator[Line]:
        """All up to the end as it is now."""
        yield from self._rest()
        while not self._is_written():
            yield from self._rest()  # written before it was renamed, and after the last look
            if not self._advance():
                return
            yield from self._rest()

    def _rest(self) -> Iterator[Line]:
        try:
            while self._file and (data := self._file.readline()):
                self._pending += data
                if data.endswith(b"\n"):
                    line, self._pending = self._pending, b""
                    yield from _decode(line)
        except (OSError, EOFError, zlib.error):  # what a damaged archive raises
            return

    def _is_written(self) -> bool:
        """Whether the file open is the one that the container's output goes to."""
        try:
            return bool(self._file) and os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno()))  # type: ignore[union-attr]
        except FileNotFoundError:
            return False

    def _advance(self) -> bool:
        """Open the file that follows; False if there is none."""
        while True:
            found = numbers(self._path)
            later = [number for number in found if number > self._number]
            last = max(found, default=0)
            try:
                file = _opened(self._path, later[0], found[later[0]]) if later else open(self._path, "rb")
            except FileNotFoundError:
                if not later:
                    return False
                continue  # dropped or compressed a moment ago
            if later or max(numbers(self._path), default=0) == last:
                self.close()
                self._file, self._number, self._pending = file, later[0] if later else last + 1, b""
                return True
            file.close()  # rotated a moment ago


def _opened(path: str, number: int, suffixes: list[str]) -> IO[bytes] | GzipFile:
    if "" in suffixes:
        return open(f"{path}.{number}", "rb")
    from gzip import open as open_gzip

    return open_gzip(f"{path}.{number}{SUFFIX}")


def _decode(line: bytes) -> Iterator[Line]:
    from json import loads

    try:
        fields = loads(line)
        attributes = tuple(sorted((fields.get("attrs") or {}).items()))
        yield Line(fields["stream"], fields["time"], fields["log"], attributes)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
