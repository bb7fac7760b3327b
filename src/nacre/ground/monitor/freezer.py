"""The processes of a container stand still until somebody says otherwise: `nacre pause`.

    asker    makes a FIFO beside the keeper's control, opens it both ways, writes `freeze:NAME` or `thaw:NAME`
    keeper   does it and writes one of the answers below

A control group of version 2 stops everything at once, unseen by the processes, and SIGKILL ends them all the
same. Without one each process is stopped by SIGSTOP. The freezer of version 1 is not used: what it has
stopped cannot be killed, so that the end of the keeper would leave it behind. Source: Linux
Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/freezer-subsystem.rst.
"""

from __future__ import annotations

import os

from .pause import beside, close, members, open_beside, send
from .paused import ALREADY, DONE, MARK, PREFIX, UNABLE, stopped

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal

_GROUP = "nacre-"
_PATIENCE, _MOMENT = 2.0, 0.001


def obey(pid: int, control: int, name: str, *, freeze: bool) -> None:
    """Freeze the container whose first process is `pid`, or let it go on, and answer in the FIFO `name`."""
    path = beside(control, name, PREFIX)
    if not path:
        return
    answer = (_freeze if freeze else _thaw)(pid, f"{os.path.dirname(path)}/{MARK}")
    fd = open_beside(path, os.O_WRONLY)
    if fd >= 0:
        os.write(fd, answer)
    close(fd)


def _freeze(pid: int, mark: str) -> bytes:
    start = _start_time(pid)
    if stopped(mark, pid, start) is not None:
        return ALREADY
    _write(mark, f"{pid} {start}")  # first: who is killed half way leaves what can be undone
    if _switch(pid, "1"):
        return DONE
    pids = _stop(pid)
    if not pids:
        os.unlink(mark)
        return UNABLE
    _write(mark, " ".join(map(str, (pid, start, *pids))))
    return DONE


def _thaw(pid: int, mark: str) -> bytes:
    pids = stopped(mark, pid, _start_time(pid))
    if pids is None:
        return ALREADY
    _switch(pid, "0")
    there = set(members(pid, standing=True)) if pids else ()
    for one in pids:
        if one in there:
            send(one, signal.SIGCONT)
    os.unlink(mark)
    return DONE


def _stop(pid: int) -> list[int]:
    """Until all stand; those that stood before are not among them. New ones may come meanwhile."""
    from time import monotonic, sleep

    found: list[int] = []
    end = monotonic() + _PATIENCE
    while (running := members(pid)) and monotonic() < end:
        found += [one for one in running if one not in found and send(one, signal.SIGSTOP)]
        sleep(_MOMENT)
    return found


def _switch(pid: int, text: str) -> bool:
    """Freeze the group of the container, or let it go on; False where it has none that can be."""
    from time import monotonic, sleep

    group = _group(pid)
    if not group:
        return False
    try:
        _write(f"{group}/cgroup.freeze", text, 0)
        end = monotonic() + _PATIENCE
        while f"frozen {text}" not in _read(f"{group}/cgroup.events") and monotonic() < end:
            sleep(_MOMENT)
    except OSError:
        return False
    return True


def _group(pid: int) -> str:
    """The folder of the group that was made for a container; "" if it is not to be seen.

    Never one that we are in ourselves: a group around us may have such a name too.
    """
    try:
        parts, ours = _place(pid), _place("self")
        found = [at for at, part in enumerate(parts) if part.startswith(_GROUP)]
        above = parts[: found[-1] + 1] if found else ours
        if ".." in parts or above == ours[: len(above)]:
            return ""
        return _hierarchy() + "/".join(above)
    except OSError:
        return ""


def _place(pid: int | str) -> list[str]:
    """The group of a process in the hierarchy of version 2, by its parts."""
    lines = _read(f"/proc/{pid}/cgroup").split("\n")
    return next((line[3:] for line in lines if line.startswith("0::/")), "").split("/")


def _hierarchy() -> str:
    """Where version 2 is mounted, from its root on. Raises FileNotFoundError."""
    for line in _read("/proc/self/mountinfo").split("\n"):
        words = line.split(" ")
        if " - cgroup2 " in line and words[3] == "/" and words[5].startswith("rw"):
            return words[4]
    raise FileNotFoundError("cgroup2")


def _start_time(pid: int) -> int:
    try:
        return int(_read(f"/proc/{pid}/stat").rpartition(")")[2].split()[19])
    except (OSError, IndexError):
        return 0


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _write(path: str, text: str, flags: int = os.O_CREAT | os.O_TRUNC) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | flags, 0o600)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
