"""Records of builds: what was asked for, what was told, and how it ended.

    ROOT/build/records/<ref>     lines of JSON, the file locked by whoever builds
        {"version": 1, "started": seconds, …}      what was asked for
        [kind, seconds since the start, …]         what was told, and what was said of the images
        {"completed": seconds, "status": …, …}     how it ended

A file that is neither locked nor ended is of a build that was killed. Names sort by the time of the start.
With each build the oldest beyond MOST go. Nothing depends on a record: what cannot be written is left out.
"""

from __future__ import annotations

import fcntl
import os
from _thread import allocate_lock
from time import time

from ..ground.files import private_dir
from ..words.quickjson import dumps, loads
from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

MOST = 100
"""Records that are kept, as long as a build that is at work has one."""
_FOLDER = "build/records"
_VERSION = 1
_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
_LENGTH, _MOMENT = 25, 9
_MAX_TOLD, _MAX_SAID = 1 << 20, 8 << 20
"""Bytes of events, and of what is said of images, in one record."""
_MAX_LINE, _MAX_END = 1 << 16, 1 << 18
_EVERY = 0.5
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
SAID = "said"
"""The kind of an event that holds what is said of an image: type, platform, digest and text."""


class RecordedBuild(Value):
    """A build by its record: `asked` and `ended` are what the file has of them, `ended` {} without.

    `running`: somebody holds it. `written` is when it was written to last, in seconds since 1970.
    """

    ref: str
    asked: dict[str, Any]
    ended: dict[str, Any]
    running: bool = False
    written: float = 0.0


def new_ref(now: float) -> str:
    """A name that nobody has: 25 letters and digits, as BuildKit's, the first nine the milliseconds."""
    moment, rest = int(now * 1000), int.from_bytes(os.urandom(11), "big")
    return _digits(moment, _MOMENT) + _digits(rest, _LENGTH - _MOMENT)


def _digits(number: int, length: int) -> str:
    found = ""
    for _ in range(length):
        number, digit = divmod(number, 36)
        found = _LETTERS[digit] + found
    return found


def is_ref(text: str) -> bool:
    """Whether a record could have this name."""
    return len(text) == _LENGTH and set(text) <= set(_LETTERS)


class RecordWriter:
    """One record while its build is at work. Safe for threads; no method raises for what the disk does."""

    def __init__(self, root: str, asked: dict[str, Any]) -> None:
        """Begin a record, and remove the oldest."""
        self._folder, self._began = f"{root}/{_FOLDER}", time()
        self.ref = new_ref(self._began)
        self._lock = allocate_lock()
        self._waiting: list[str] = [dumps({"version": _VERSION, "started": self._began, **asked})]
        self._told = self._said = 0
        self._next, self._pid = self._began, os.getpid()
        self._fd = self._open()
        self._write()

    def _open(self) -> int:
        try:
            try:
                fd = os.open(f"{self._folder}/{self.ref}", _FLAGS, 0o600)
            except FileNotFoundError:
                private_dir(self._folder)
                fd = os.open(f"{self._folder}/{self.ref}", _FLAGS, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            self._trim()
        except Exception:  # of the disk, or of the store: a build does not need it
            return -1
        return fd

    def _trim(self) -> None:
        names = os.listdir(self._folder)
        for name in sorted(names)[:-MOST] if len(names) > MOST else ():
            _remove(f"{self._folder}/{name}")

    def tell(self, kind: str, *fields: object, always: bool = False) -> None:
        """Add an event; of output only as much as is kept. It reaches the disk within half a second."""
        now = time()
        line = dumps([kind, round(now - self._began, 6), *fields])
        with self._lock:
            if self._told + len(line) > _MAX_TOLD and not always:
                return
            self._told += 0 if always else len(line)
            self._waiting.append(line)
            if now >= self._next:
                self._next = now + _EVERY
                self._write()

    def say(self, kind: str, platform: str, digest: str, text: str) -> bool:
        """Keep what is said of an image; whether there was room."""
        self._said += len(text)
        if self._said > _MAX_SAID:
            return False
        self.tell(SAID, kind, platform, digest, text, always=True)
        return True

    def end(self, ended: dict[str, Any]) -> None:
        """The last line; then the record is let go. Idempotent."""
        with self._lock:
            self._waiting.append(dumps({"completed": time(), **ended}))
            self._write()
            if self._fd >= 0:
                os.close(self._fd)
            self._fd = -1

    def _write(self) -> None:
        """Write what waits, in the process that began the record."""
        data = "".join(f"{line}\n" for line in self._waiting).encode("utf-8", "replace")
        self._waiting = []
        if self._fd < 0 or os.getpid() != self._pid:
            return
        try:
            os.write(self._fd, data)
        except OSError:
            os.close(self._fd)
            self._fd = -1


def records(root: str) -> list[RecordedBuild]:
    """All that can be read, the newest first."""
    found = [_read(f"{root}/{_FOLDER}/{name}") for name in reversed(_names(root))]
    return [one for one in found if one is not None]


def _names(root: str) -> list[str]:
    try:
        return sorted(filter(is_ref, os.listdir(f"{root}/{_FOLDER}")))
    except OSError:
        return []


def events(root: str, ref: str) -> Iterator[list[Any]]:
    """What a record has between its beginning and its end; nothing for one that is gone."""
    try:
        file = open(f"{root}/{_FOLDER}/{ref}", encoding="utf-8", errors="replace")
    except OSError:
        return
    with file:
        left = 2 * (_MAX_TOLD + _MAX_SAID)
        while line := file.readline(left):
            left -= len(line)
            event = _line(line)
            if isinstance(event, list) and len(event) > 2 and isinstance(event[0], str):
                yield event


def remove(root: str, refs: Sequence[str]) -> list[str]:
    """Remove records whose builds are over; those that went."""
    return [ref for ref in refs if is_ref(ref) and _remove(f"{root}/{_FOLDER}/{ref}")]


def _remove(path: str) -> bool:
    """Remove a file unless somebody holds it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        finally:
            os.close(fd)
    except OSError:
        return False
    return True


def _read(path: str) -> RecordedBuild | None:
    """A record by its first and last line; None for what is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        running = _is_held(fd)
        found = os.fstat(fd)
        size = found.st_size
        head = os.pread(fd, _MAX_LINE, 0).partition(b"\n")[0]
        tail = os.pread(fd, _MAX_END, max(size - _MAX_END, 0)).rstrip(b"\n").rpartition(b"\n")[2]
    except OSError:
        return None
    finally:
        os.close(fd)
    asked, ended = _line(head), _line(tail)
    if not isinstance(asked, dict) or asked.get("version") != _VERSION:
        return None
    over = isinstance(ended, dict) and isinstance(ended.get("completed"), int | float)
    name, held = os.path.basename(path), running and not over
    return RecordedBuild(name, asked, ended if over else {}, held, found.st_mtime)


def _is_held(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def _line(text: str | bytes) -> Any:
    try:
        return loads(text)
    except (ValueError, RecursionError):
        return None
