"""Who keeps a running container: the one process that holds its lock.

    containers/<id>/lock      held (flock) from before the start until the end is recorded; then holds
                              the exit code as text
    containers/<id>/control   a FIFO; each line is the number of a signal to send

The kernel lets go of the lock when its holder dies, whatever the reason, so a container that is
recorded as running and whose lock is free has ended. Waiting for the end is waiting for the lock.
"""

from __future__ import annotations

import fcntl
import os

from ...ground.files import os_errors
from ...words.errors import Conflict

LOST = 137
"""Exit code of a container whose keeper was killed; the container was killed with it."""


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

    def record(self, code: int) -> None:
        """Leave the exit code for those who wait. Raises StoreError."""
        with os_errors("record the exit code of a container"):
            os.pwrite(self._fd, str(code).encode(), 0)

    def close(self) -> None:
        """Let go. Idempotent."""
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
    try:
        fd = os.open(f"{folder}/lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        text = os.read(fd, 32)
        return int(text) if text.isdigit() else None
    finally:
        os.close(fd)


def send(folder: str, number: int) -> bool:
    """Have the keeper send a signal; False when nobody keeps the container."""
    try:
        fd = os.open(f"{folder}/control", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, f"{number}\n".encode())
    finally:
        os.close(fd)
    return True
