"""A command, or a daemon, and whatever outlives the process that started it.

containerd's shims, podman's conmon and others leave the tree of the command that started them, with their
containers, and their CPU would be nobody's. A process that adopts (prctl(2), PR_SET_CHILD_SUBREAPER) gets
them back: those that have ended count in the times of its children, the others are found below it.

    python -I -S adopter.py PROGRAM [ARG…]    runs a daemon below such a process, which ends as it does
"""

from __future__ import annotations

import ctypes
import marshal
import os
import resource
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, NoReturn

_PR_SET_CHILD_SUBREAPER = 36
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_TICK = os.sysconf("SC_CLK_TCK")


class Ended(NamedTuple):
    """How a command ended: its exit code, when it began and ended (`time.perf_counter`), and what it took.

    `cpu` are seconds of all processes that it began, `peak` kilobytes of the largest that it waited for.
    """

    code: int
    begin: float
    end: float
    cpu: float
    peak: int


def cpu_of(process: int) -> float:
    """Seconds of CPU of a process and all below it so far, also of those that have ended; 0 for none."""
    return sum(_seconds(process)) if process else 0.0


def cpu_below(process: int) -> float:
    """The same of those below it that are still there."""
    return sum(list(_seconds(process))[1:])


def _seconds(process: int) -> Iterator[float]:
    """Of the process itself, then of those below it, each with its children that have ended."""
    below: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        below.setdefault(int(fields[1]), []).append(int(name))
        ticks[int(name)] = sum(map(int, fields[11:15]))
    found = [process]
    for pid in found:
        found += below.get(pid, ())
        yield ticks.get(pid, 0) / _TICK


def begin(words: Sequence[str], env: Mapping[str, str], folder: str, output: int) -> tuple[int, int]:
    """Start a command below a process that adopts: the process, and what `ended` reads of it."""
    report, theirs = os.pipe()
    with warnings.catch_warnings():  # servers of a scenario have threads, whose locks are not needed there
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        _adopter(words, env, folder, output, theirs)
    os.close(theirs)
    return pid, report


def ended(pid: int, report: int) -> Ended:
    """Wait for the command. Raises OSError where it could not be started."""
    with open(report, "rb") as file:
        data = file.read()
    os.waitpid(pid, 0)
    found = marshal.loads(data)
    if isinstance(found, str):
        raise OSError(found)
    return Ended(*found)


def _adopter(words: Sequence[str], env: Mapping[str, str], folder: str, output: int, report: int) -> NoReturn:
    """The process between: it must not return into what was forked."""
    try:
        for number in _ENDING:
            signal.signal(number, signal.SIG_DFL)
        os.chdir(folder)
        found: tuple[float, ...] | str = tuple(_run(words, env, output))
    except OSError as error:
        found = str(error)
    try:
        os.write(report, marshal.dumps(found))
    finally:
        os._exit(0)


def _run(words: Sequence[str], env: Mapping[str, str], output: int) -> Ended:
    _adopt()
    actions = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, output, 1),
               (os.POSIX_SPAWN_DUP2, output, 2)]  # fmt: skip
    begun = time.perf_counter()
    pid = os.posix_spawnp(words[0], list(words), env, file_actions=actions)
    code, peak = _await(pid)
    end = time.perf_counter()
    while _has_ended():
        continue
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Ended(code, begun, end, spent.ru_utime + spent.ru_stime + cpu_below(os.getpid()), peak)


def _await(pid: int) -> tuple[int, int]:
    """Reap whatever ends, until that process has."""
    while True:
        found, status, usage = os.wait4(-1, 0)
        if found == pid:
            return os.waitstatus_to_exitcode(status), usage.ru_maxrss


def _has_ended() -> bool:
    """Whether one more of those that were adopted has; it is reaped."""
    try:
        return os.waitpid(-1, os.WNOHANG)[0] > 0
    except ChildProcessError:
        return False


def _adopt() -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def main(words: Sequence[str]) -> int:
    """Run a daemon, reap whatever ends below it, hand signals on; its exit code."""
    _adopt()
    pid = os.posix_spawnp(words[0], list(words), os.environ)
    for number in _ENDING:
        signal.signal(number, lambda number, _frame: os.kill(pid, number))
    code, _ = _await(pid)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
