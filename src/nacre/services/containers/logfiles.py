"""The files of a log of limited size, and reading them.

    log           is written
    log.1, log.2  were written before, the highest number last; `.gz` when compressed

A file that is full is renamed to the next number, and the lowest numbers go. Each step is one system call
that leaves nothing half done: after a kill both `log.N` and `log.N.gz` may be there, and the first counts.
"""

from __future__ import annotations

import os
import zlib

from ...ground.files import unlink
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from gzip import GzipFile
    from typing import IO

_POLL = 0.05
_PIECE = 1 << 20
_SUFFIX = ".gz"


class Rotation:
    """A log of at most `count` files, which are full at `size` bytes. Nobody else may write to it."""

    def __init__(self, path: str, size: int, count: int, *, compress: bool = False) -> None:
        self._path, self._size, self._count, self._compress = path, size, count, compress
        self._tidy()

    def is_due(self, fd: int) -> bool:
        """Whether the file that is written, open at `fd`, is full. As with docker an entry may exceed it."""
        return os.fstat(fd).st_size >= self._size

    def rotate(self) -> None:
        """Put the full file among the old ones. Raises OSError."""
        number = max(numbers(self._path), default=0) + 1
        os.rename(self._path, f"{self._path}.{number}")
        self._drop(number)
        if self._compress and self._count > 1:
            self._pack(f"{self._path}.{number}")

    def _tidy(self) -> None:
        """What a killed writer was about to do."""
        for number, suffixes in numbers(self._path).items():
            plain = f"{self._path}.{number}"
            if "" in suffixes and _SUFFIX in suffixes:
                unlink(plain + _SUFFIX)
            if "" in suffixes and self._compress:
                self._pack(plain)
        unlink(f"{self._path}.new")

    def _drop(self, last: int) -> None:
        for number, suffixes in numbers(self._path).items():
            if number <= last - (self._count - 1):
                for suffix in suffixes:
                    unlink(f"{self._path}.{number}{suffix}")

    def _pack(self, plain: str) -> None:
        new, packer = f"{self._path}.new", zlib.compressobj(1, wbits=31)
        with open(plain, "rb") as source, open(new, "wb", opener=_private) as target:
            while data := source.read(_PIECE):
                target.write(packer.compress(data))
            target.write(packer.flush())
        os.rename(new, plain + _SUFFIX)
        os.unlink(plain)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def numbers(path: str) -> dict[int, list[str]]:
    """The full files of a log by number, the oldest first, with the suffixes under which each is there."""
    folder, _, name = path.rpartition("/")
    found: dict[int, list[str]] = {}
    for entry in os.listdir(folder):
        number, dot, suffix = entry.removeprefix(f"{name}.").partition(".")
        if entry.startswith(f"{name}.") and number.isdigit() and dot + suffix in ("", _SUFFIX):
            found.setdefault(int(number), []).append(dot + suffix)
    return dict(sorted(found.items()))


class Line(Value):
    """One entry of a log: `stream`, `time` as written, `text` with its newline; labels and variables."""

    stream: str
    time: str
    text: str
    attributes: tuple[tuple[str, str], ...] = ()


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

    return open_gzip(f"{path}.{number}{_SUFFIX}")


def _decode(line: bytes) -> Iterator[Line]:
    from json import loads

    try:
        fields = loads(line)
        attributes = tuple(sorted((fields.get("attrs") or {}).items()))
        yield Line(fields["stream"], fields["time"], fields["log"], attributes)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
