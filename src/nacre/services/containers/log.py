"""What a container wrote, kept as docker's json-file driver keeps it: one JSON object a line.

    {"log": "text with its newline\\n", "stream": "stdout", "time": "2024-05-01T12:00:00.000000000Z"}

A line longer than 16 KiB is kept in pieces, the last of which has the newline.
"""

from __future__ import annotations

import os
import time

from ...ground.files import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_LINE = 16384
_POLL = 0.05


class LogWriter:
    """Appends to the log at `path`; made 0600 if absent. Close it, or the last line may be missing."""

    def __init__(self, path: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600)
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
            self._append(stream, pieces)

    def _append(self, stream: str, pieces: list[bytes]) -> None:
        from json import dumps

        moment, tail = stamp(time.time_ns()), f'"stream":"{stream}"'
        lines = [
            f'{{"log":{dumps(piece.decode(errors="replace"))},{tail},"time":"{moment}"}}\n'
            for piece in pieces
        ]
        write_all(self._fd, "".join(lines).encode())

    def close(self) -> None:
        """Write what had no newline at its end, and close. Idempotent."""
        if self._fd < 0:
            return
        for stream, rest in self._partial.items():
            self._append(stream, [rest])
        os.close(self._fd)
        self._fd = -1


def _split(line: bytes) -> list[bytes]:
    return [line[at : at + MAX_LINE] for at in range(0, len(line), MAX_LINE)]


def stamp(nanoseconds: int) -> str:
    """RFC 3339 with nanoseconds, UTC."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


class Line:
    """One entry of a log: `stream`, `time` as written, `text` with its newline."""

    def __init__(self, stream: str, moment: str, text: str) -> None:
        self.stream, self.time, self.text = stream, moment, text


def read_log(path: str, *, follow: Callable[[], bool] | None = None) -> Iterator[Line]:
    """The entries of a log, oldest first; with `follow`, on and on for as long as that says True.

    A log that does not exist is empty; a damaged line is skipped.
    """
    try:
        stream = open(path, "rb")
    except FileNotFoundError:
        return
    with stream:
        pending = b""
        more = True
        while True:
            data = stream.readline()
            if not data:
                if not more:
                    return
                more = bool(follow and follow())
                time.sleep(_POLL if more else 0)
                continue
            pending += data
            if pending.endswith(b"\n"):
                yield from _decode(pending)
                pending = b""


def _decode(line: bytes) -> Iterator[Line]:
    from json import loads

    try:
        fields = loads(line)
        yield Line(fields["stream"], fields["time"], fields["log"])
    except (ValueError, KeyError, TypeError):
        return
