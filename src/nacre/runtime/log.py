"""The log that a caller asks for, as text or as JSON, a line for each error. Source: runc(8)."""

from __future__ import annotations

import os
import time

from ..ground.monitor.logfile import stamp
from ..words import quickjson
from ..words.errors import UsageError

FORMATS = ("text", "json")


class RuntimeLog:
    """Writes to a file if there is a path. A file that cannot be written is an error at once."""

    def __init__(self, path: str = "", form: str = "text") -> None:
        self._path, self._form = path, form or "text"
        if self._form not in FORMATS:
            raise UsageError(f"--log-format is {form!r}, not text or json")
        if path:
            self._write(b"")

    def _write(self, data: bytes) -> None:
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UsageError(f"cannot write to --log {self._path}: {error.strerror}") from None
        try:
            os.write(fd, data)
        finally:
            os.close(fd)

    def write(self, level: str, message: str) -> None:
        """Append one line to the file."""
        if not self._path:
            return
        when = stamp(time.time_ns())
        if self._form == "json":
            line = quickjson.dumps({"level": level, "msg": message, "time": when})
        else:
            line = f"time={quickjson.dumps(when)} level={level} msg={quickjson.dumps(message)}"
        self._write(line.encode() + b"\n")
