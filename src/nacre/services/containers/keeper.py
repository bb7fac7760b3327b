"""Who keeps a running container: the one process that holds its lock.

    containers/<id>/lock      held (flock) from before the start until the end is recorded; then holds
                              the exit code as text
    containers/<id>/control   a FIFO; each line is the number of a signal to send, or `pause:NAME`
    containers/<id>/pause.*   FIFOs of those for whom the container stands still (`ground.monitor.pause`)

The kernel lets go of the lock when its holder dies, whatever the reason, so a container that is
recorded as running and whose lock is free has ended. Waiting for the end is waiting for the lock.
"""

from __future__ import annotations

import fcntl
import os
import select

from ...ground.files import os_errors, trace, unlink
from ...words.errors import Conflict, SandboxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

_SIGKILL = 9
LOST = 137
"""Exit code of a container whose keeper was killed; the container was killed with it."""

_SLICE, _PATIENCE = 100, 100
"""Milliseconds between two looks at whether the container is kept, and how many."""


class Keeper:
    """The right to run one container. Raises Conflict when another process has it."""

    def __init__(self, folder: str) -> None:
        with os_errors(f"lock {folder}"):
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._fd = os.open(f"{folder}/lock", flags, 0o600)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._wait_for_askers(folder)
            os.ftruncate(self._fd, 0)
            self.control = self._open_control(f"{folder}/control")

    @classmethod
    def adopt(cls, fd: int, control: int) -> Self:
        """The right that another program of this process had: its lock and its control."""
        self = cls.__new__(cls)
        self._fd, self.control = fd, control
        return self

    @property
    def lock(self) -> int:
        """The descriptor that is locked."""
        return self._fd

    def _wait_for_askers(self, folder: str) -> None:
        """Somebody may hold the lock for a moment only to see whether it is free."""
        from time import monotonic, sleep

        end = monotonic() + 0.2
        while monotonic() < end:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                sleep(0.005)
        os.close(self._fd)
        raise Conflict(f"container {os.path.basename(folder)[:12]} is already running")

    def _open_control(self, path: str) -> int:
        """Open for both directions, so that it neither blocks nor ends."""
        if not os.path.exists(path):
            os.mkfifo(path, 0o600)
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def forget(self) -> None:
        """The exit code recorded is that of a run before."""
        os.ftruncate(self._fd, 0)

    def wait_to_restart(self, seconds: float) -> bool:
        """Wait that long; False when a signal is to be sent meanwhile, which nobody is there to get."""
        from time import monotonic

        poll, end = select.poll(), monotonic() + seconds
        poll.register(self.control, select.POLLIN)
        while (left := end - monotonic()) > 0:
            if poll.poll(left * 1000 + 1) and any(line.isdigit() for line in self._lines()):
                return False
        return True

    def _lines(self) -> list[bytes]:
        return os.read(self.control, 1 << 16).split()

    def record(self, code: int) -> None:
        """Leave the exit code for those who wait. Raises StoreError."""
        with os_errors("record the exit code of a container"):
            os.pwrite(self._fd, str(code).encode(), 0)

    def close(self) -> None:
        """Release the lock. Idempotent."""
        if self._fd >= 0:
            os.close(self.control)
            os.close(self._fd)
            self._fd = -1


def is_kept(folder: str) -> bool:
    """Whether some process keeps the container now."""
    try:
        fd = os.open(f"{folder}/lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def wait(folder: str) -> int | None:
    """Wait until nobody keeps the container; the exit code recorded, None if there is none."""
    return outcome(folder)[0]


def outcome(folder: str) -> tuple[int | None, float]:
    """As `wait`, and when the code was recorded, in seconds since 1970."""
    try:
        fd = os.open(f"{folder}/lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None, 0.0
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        text = os.read(fd, 32)
        return (int(text), os.fstat(fd).st_mtime) if text.isdigit() else (None, 0.0)
    finally:
        os.close(fd)


class Ending:
    """`with Ending(folder) as ending:` learns of the end of a container even if its folder is gone then."""

    def __init__(self, folder: str) -> None:
        self._fd = os.open(f"{folder}/lock", os.O_RDONLY | os.O_CLOEXEC)

    def code(self) -> int:
        """Wait for the end; the exit code."""
        fcntl.flock(self._fd, fcntl.LOCK_SH)
        text = os.pread(self._fd, 32, 0)
        return int(text) if text.isdigit() else LOST

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        os.close(self._fd)


def end(folder: str) -> None:
    """Kill the container, if somebody keeps it, and wait until it has ended."""
    if is_kept(folder) and send(folder, _SIGKILL):
        wait(folder)


def send(folder: str, number: int) -> bool:
    """Have the keeper send a signal; False when nobody keeps the container."""
    return tell(folder, f"{number}\n".encode())


def tell(folder: str, line: bytes) -> bool:
    """Have the keeper read a line of the control; False when nobody keeps the container."""
    try:
        fd = os.open(f"{folder}/control", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, line)
    finally:
        os.close(fd)
    return True


def ask(folder: str, word: bytes, prefix: str, *, hint: str = "") -> int:
    """Have the keeper read the line `word` with the name of a FIFO that begins with `prefix`.

    A descriptor of both ends, to be closed, which the answer can be read from; nothing is in it when nobody
    keeps the container. Raises SandboxError when its keeper does not answer, StoreError.
    """
    path = f"{folder}/{prefix}{os.urandom(8).hex()}"
    with os_errors(f"make {path}"):
        os.mkfifo(path, 0o600)
    fd = -1
    try:
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        trace("container:asking")
        if tell(folder, word + os.path.basename(path).encode() + b"\n"):
            has_answered(folder, fd, hint=hint)
        trace("container:answered")
    except BaseException:
        if fd >= 0:
            os.close(fd)
        raise
    finally:
        unlink(path)
    return fd


def has_answered(folder: str, fd: int, *, hint: str = "") -> bool:
    """Wait until the keeper has written to `fd`; False when nobody keeps the container any more.

    Raises SandboxError when it does not answer.
    """
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    for _ in range(_PATIENCE):
        if poll.poll(_SLICE):
            return True
        if not is_kept(folder):
            return False
    raise SandboxError("the supervisor of the container does not answer", hint=hint)


class Paused:
    """`with Paused(folder):` the processes of a container stand still, as long as this process lives.

    Nothing happens when nobody keeps the container. Raises SandboxError when its keeper does not answer.
    """

    def __init__(self, folder: str) -> None:
        self._folder, self._fd = folder, -1

    def __enter__(self) -> None:
        from ...ground.monitor.pause import PREFIX
        from ...ground.monitor.relay import PAUSE

        self._fd = ask(self._folder, PAUSE, PREFIX, hint="use --pause=false to commit without a pause")

    def __exit__(self, *_exc: object) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
