"""The files of a log of limited size.

    log           is written
    log.1, log.2  were written before, the highest number last; `.gz` when compressed

A file that is full is renamed to the next number, and the lowest numbers go. Each step is one system call
that leaves nothing half done: after a kill both `log.N` and `log.N.gz` may be there, and the first counts.
"""

from __future__ import annotations

import os
import zlib

from ..files import unlink

_PIECE = 1 << 20
SUFFIX = ".gz"


class Rotation:
    """A log of at most `count` files, which are full at `size` bytes. Nobody else may write to it."""

    def __init__(self, path: str, size: int, count: int, *, compress: bool = False) -> None:
        self._path, self._size, self._count, self._compress = path, size, count, compress
        self._tidy()

    @property
    def limits(self) -> tuple[int, int, bool]:
        """Size, count, and whether full files are compressed."""
        return self._size, self._count, self._compress

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
            if "" in suffixes and SUFFIX in suffixes:
                unlink(plain + SUFFIX)
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
        os.rename(new, plain + SUFFIX)
        os.unlink(plain)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def numbers(path: str) -> dict[int, list[str]]:
    """The full files of a log by number, the oldest first, with the suffixes under which each is there."""
    folder, _, name = path.rpartition("/")
    found: dict[int, list[str]] = {}
    for entry in os.listdir(folder):
        number, dot, suffix = entry.removeprefix(f"{name}.").partition(".")
        if entry.startswith(f"{name}.") and number.isdigit() and dot + suffix in ("", SUFFIX):
            found.setdefault(int(number), []).append(dot + suffix)
    return dict(sorted(found.items()))
