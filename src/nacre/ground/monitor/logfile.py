"""The log of a container, as docker's json-file driver keeps it: one JSON object a line.

    {"log": "text with its newline\\n", "stream": "stdout", "time": "2024-05-01T12:00:00.000000000Z"}

A line longer than 16 KiB is kept in pieces, the last of which has the newline. A log of limited size goes on
in a new file (`rotation`).
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from .rotation import Rotation

try:
    from _json import encode_basestring_ascii as _quoted
except ImportError:  # another Python than CPython
    from json.encoder import encode_basestring_ascii as _quoted

MAX_LINE = 16384


class Log:
    """Output in lines, those longer than 16 KiB in pieces. Close it, or the last line may be missing."""

    def __init__(self) -> None:
        self._partial: dict[str, bytes] = {}

    def write(self, stream: str, data: bytes) -> None:
        """Take a piece of output of `stream`."""
        *lines, rest = (self._partial.pop(stream, b"") + data).split(b"\n")
        pieces = [piece for line in lines for piece in _split(line + b"\n")]
        while len(rest) >= MAX_LINE:
            pieces.append(rest[:MAX_LINE])
            rest = rest[MAX_LINE:]
        if rest:
            self._partial[stream] = rest
        if pieces:
            self.append(stream, pieces)

    def append(self, stream: str, pieces: list[bytes]) -> None:
        """Keep some lines or pieces of them."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any] | None:
        """What another program of this process needs to go on with it; None where none can."""
        return None

    def close(self) -> None:
        """Write what had no newline at its end, and close. Idempotent."""
        partial, self._partial = self._partial, {}
        for stream, rest in partial.items():
            self.append(stream, [rest])


class LogWriter(Log):
    """Appends to the log at `path`; made 0600 if absent. `attributes` stand in each entry."""

    _torn = False

    def __init__(
        self, path: str, rotation: Rotation | None = None, attributes: dict[str, str] | None = None
    ) -> None:
        super().__init__()
        self._fd, self._path, self._rotation = _opened(path), path, rotation
        self._more = ""
        if attributes:
            from json import dumps

            self._more = f'"attrs":{dumps(attributes, separators=(",", ":"))},'

    @classmethod
    def adopt(cls, told: dict[str, Any]) -> Self:
        """The one that `describe` told of."""
        self = cls.__new__(cls)
        self._partial = {stream: bytes.fromhex(rest) for stream, rest in told["partial"].items()}
        self._fd, self._path, self._more, self._rotation = told["fd"], told["path"], told["more"], None
        if told["rotation"]:
            from .rotation import Rotation

            size, count, compress = told["rotation"]
            self._rotation = Rotation(self._path, size, count, compress=compress)
        return self

    def describe(self) -> dict[str, Any]:
        """Also the descriptor that must stay open."""
        partial = {stream: rest.hex() for stream, rest in self._partial.items()}
        rotation = self._rotation.limits if self._rotation else None
        more = {"more": self._more, "partial": partial, "rotation": rotation}
        return {"fd": self._fd, "path": self._path, **more}

    def append(self, stream: str, pieces: list[bytes]) -> None:
        """What cannot be written is lost, as with docker: a full disk must not stop the container."""
        try:
            self._append(stream, pieces)
        except OSError:
            self._torn = True

    def _append(self, stream: str, pieces: list[bytes]) -> None:
        moment, tail = stamp(time.time_ns()), f'"stream":"{stream}",{self._more}'
        lines = [
            f'{{"log":{_quoted(piece.decode(errors="replace"))},{tail}"time":"{moment}"}}\n'
            for piece in pieces
        ]
        if self._rotation is None:
            return self._write("".join(lines))
        for line in lines:
            if self._rotation.is_due(self._fd):
                try:
                    self._rotation.rotate()
                finally:
                    self._fd = _opened(self._path, self._fd)
            self._write(line)
        return None

    def _write(self, text: str) -> None:
        """After an entry that was cut off, on a line of its own."""
        torn, self._torn = self._torn, False
        _write(self._fd, (f"\n{text}" if torn else text).encode())

    def close(self) -> None:  # noqa: D102
        if self._fd >= 0:
            super().close()
            os.close(self._fd)
            self._fd = -1


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _opened(path: str, before: int = -1) -> int:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    if before >= 0:
        os.close(before)
    return fd


def _split(line: bytes) -> list[bytes]:
    return [line[at : at + MAX_LINE] for at in range(0, len(line), MAX_LINE)]


def stamp(nanoseconds: int) -> str:
    """RFC 3339 with nanoseconds, UTC."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"
