"""A container stands still while somebody reads its files.

    asker    makes a FIFO beside the keeper's control, opens it both ways, writes `pause:NAME` to the control
    keeper   opens it to read, stops the processes, writes a byte into it
    keeper   lets them go on when nobody has the asker's end open any more

The kernel closes that end whatever becomes of the asker; when the keeper dies, the container does. So nothing
that is killed leaves a process stopped. A container that shares our pid namespace does not stand still.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal

PREFIX = "pause."
STOPPED = b"."
_STANDING = (b"T", b"Z")
_PATIENCE, _MOMENT = 1.0, 0.001


class Pauses:
    """The keeper's part, for the container whose first process is `pid`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stopped: list[int] = []
        self.holders: list[int] = []

    def begin(self, control: int, name: str) -> None:
        """Stop the processes for the FIFO `name`. `end` what is added to `holders` at its POLLHUP."""
        path = beside(control, name, PREFIX)
        holder = open_beside(path, os.O_RDONLY) if path else -1
        if holder < 0 or not _is_held(holder):
            close(holder)
            return
        self.holders.append(holder)
        self._stop()
        answer = open_beside(path, os.O_WRONLY)
        if answer >= 0:
            os.write(answer, STOPPED)
        close(answer)
        remove(path)

    def end(self, holder: int) -> None:
        """One asker less; after the last the processes go on."""
        self.holders.remove(holder)
        os.close(holder)
        if not self.holders:
            stopped, self._stopped = self._stopped, []
            for pid in stopped:
                send(pid, signal.SIGCONT)

    def close(self) -> None:
        """The container has ended, or its keeper ends."""
        for holder in list(self.holders):
            self.end(holder)

    def _stop(self) -> None:
        """Until all stand; those that stood before stay so. One that waits for a disk may take its time."""
        from time import monotonic, sleep

        end = monotonic() + _PATIENCE
        while (running := members(self._pid)) and monotonic() < end:
            self._stopped += [
                pid for pid in running if pid not in self._stopped and send(pid, signal.SIGSTOP)
            ]
            sleep(_MOMENT)


def members(pid: int, *, standing: bool = False) -> list[int]:
    """Those in the pid namespace of `pid` that run, or those that stand; none if that namespace is ours."""
    try:
        wanted = os.readlink(f"/proc/{pid}/ns/pid")
        if wanted == os.readlink("/proc/self/ns/pid"):  # no namespace of its own: that would be everybody
            return []
    except OSError:
        return []
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and _is_in(name, wanted, standing)]


def beside(control: int, name: str, prefix: str) -> str:
    """The path of what an asker has made beside the control, which is open; "" for a name of another kind."""
    if not name.startswith(prefix) or "/" in name:
        return ""
    return f"{os.path.dirname(os.readlink(f'/proc/self/fd/{control}'))}/{name}"


def open_beside(path: str, how: int) -> int:
    """Open, or make, 0600, without waiting; -1 when that is not possible: the asker may be gone."""
    try:
        return os.open(path, how | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return -1


def remove(path: str) -> None:
    """Unless its asker was faster."""
    try:
        os.unlink(path)
    except OSError:
        return


def close(*descriptors: int) -> None:
    """But for those that are -1."""
    for fd in descriptors:
        if fd >= 0:
            os.close(fd)


def _is_held(holder: int) -> bool:
    """Whether the asker lives still. Of one that was gone before we opened it no POLLHUP would tell."""
    try:
        return bool(os.read(holder, 1))
    except BlockingIOError:
        return True


def _is_in(name: str, wanted: str, standing: bool) -> bool:
    """Whether the process of that number is in the pid namespace `wanted`, and neither stopped nor dead.

    `standing`: it is one or the other.
    """
    try:
        if os.readlink(f"/proc/{name}/ns/pid") != wanted:
            return False
        with open(f"/proc/{name}/stat", "rb") as file:
            return (file.read(4096).rpartition(b")")[2].split()[0] in _STANDING) == standing
    except OSError:
        return False


def send(pid: int, number: int) -> bool:
    """Send a signal; False when that was not possible."""
    try:
        os.kill(pid, number)
    except OSError:
        return False
    return True
