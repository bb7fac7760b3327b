"""The parent of a program without a pid namespace, or of another runtime: ends all that this started with it.

Processes that have lost their parent fall to the watcher (PR_SET_CHILD_SUBREAPER), so nothing escapes it by
becoming a daemon. It stays outside of the root, with /proc, and nobody may look into it. `END` kills all;
the watcher sends it to itself when whoever started it dies. Source: PR_SET_CHILD_SUBREAPER(2const), proc(5).

That of another runtime shares nothing with the container, and while no signal comes it is one page
(`monitor.idle`).
"""

from __future__ import annotations

import os

from .. import linux
from ..fork import leave_behind
from .identity import Execute
from .room import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import NoReturn

    from .room import Room
else:
    import _signal as signal

END = 64
"""SIGRTMAX: a watcher cannot catch SIGKILL, so this stands for it."""

_KILLED = 137
_SOON = 0.5
"""Seconds without a signal until it waits unloaded. To load it takes 15 ms."""
_FIRST_FREE = 3
_NOT_PASSED_ON = (
    signal.SIGKILL, signal.SIGSTOP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGPIPE, signal.SIGSEGV,
    signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGTRAP,
)  # fmt: skip

_LATER = """\
import sys; sys.path.append(sys.argv[1])
try:
    from {module} import resume; resume(int(sys.argv[2]))
except Exception:
    import os, signal
    program, code = int(sys.argv[2]), -1
    while code < 0:
        number = signal.sigwait({signals})
        if number == {end}:
            code = 137
        elif number != signal.SIGCHLD:
            os.kill(program, number)
        elif (ended := os.waitpid(program, os.WNOHANG))[0]:
            code = os.waitstatus_to_exitcode(ended[1])
            code = code if code >= 0 else 128 - code
    try:
        while True:
            with open("/proc/thread-self/children") as children:
                for pid in children.read().split():
                    os.kill(int(pid), signal.SIGKILL)
            os.waitpid(-1, 0)
    except ChildProcessError:
        os._exit(code)
"""
"""What watches again, also long after, when this package may be another, or gone."""


class Watch(Operation):
    """Fork: the parent watches and never returns, the child goes on. All signals are blocked."""

    def apply(self, room: Room) -> None:  # noqa: D102
        be_watched()

    def __str__(self) -> str:
        return "watched by its parent"


def be_watched(*, unloaded: bool = False) -> None:
    """Fork: the parent watches and never returns, the child goes on. All signals are blocked.

    `unloaded`: there is a /proc, and what the parent needs can be loaded again.
    """
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)

    def watch(pid: int) -> int:
        signal.pthread_sigmask(signal.SIG_SETMASK, _passed_on())
        linux.prctl(linux.PR_SET_DUMPABLE, 0)
        linux.die_with_parent(END)
        linux.close_range(0)
        return _watch_unloaded(pid) if unloaded else _watch_loaded(pid)

    leave_behind(watch)
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 0)


class ExecuteWatched(Execute):
    """As `Execute`, in a child that is watched from within the container, where it shares a pid namespace."""

    def apply(self, room: Room) -> None:  # noqa: D102
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
        signal.pthread_sigmask(signal.SIG_SETMASK, _passed_on())

        def watch(pid: int) -> int:
            linux.prctl(linux.PR_SET_DUMPABLE, 0)
            linux.die_with_parent(END)
            linux.close_range(_FIRST_FREE)
            room.stay_behind()
            return _watch_loaded(pid)

        leave_behind(watch)
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 0)
        if room.terminal >= 0:
            _take_terminal()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        super().apply(room)

    def __str__(self) -> str:
        return f"watched, {super().__str__()}"


def _take_terminal() -> None:
    """A process group of one's own, in the foreground."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)


def _passed_on() -> set[int]:
    return {int(number) for number in signal.valid_signals()} - set(_NOT_PASSED_ON)


def _watch_loaded(pid: int) -> int:
    signals = _passed_on()
    return _watch(pid, lambda: signal.sigwait(signals))


def _watch_unloaded(pid: int) -> int:
    """While no signal comes this process is less than an interpreter; its children and its signals stay."""
    signals = _passed_on()

    def take() -> int:
        found = signal.sigtimedwait(signals, _SOON)
        if found is None:
            _rest(pid, signals)
        return found.si_signo if found else signal.sigwait(signals)

    return _watch(pid, take)


def _rest(pid: int, signals: set[int]) -> None:
    """Wait unloaded until a signal comes, then `resume`; returns where that is not to be had."""
    from ..monitor import handover, idle

    words = handover.command(handover.python(), (__name__, resume.__name__), pid)
    words[words.index("-c") + 1] = _LATER.format(module=__name__, signals=signals, end=END)
    try:
        if words[0]:
            idle.wait(words, (), signals)
    except (OSError, LookupError):
        return


def resume(pid: int) -> NoReturn:
    """Watch the child `pid` again. The signals that are passed on are blocked, and some are pending."""
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    os._exit(_watch_unloaded(pid))


def _watch(pid: int, take: Callable[[], int]) -> int:
    """Until the program and all it started have ended; its exit code, 128+n for signal n.

    `take` waits for the next signal.
    """
    while True:
        number = take()
        if number == END:
            _end_all()
            return _KILLED
        if number != signal.SIGCHLD:
            _send(pid, number)
            continue
        code = _reap(pid)
        if code >= 0:
            _end_all()
            return code


def _reap(pid: int) -> int:
    """Wait for those that have ended; the exit code of the program if it is among them, else -1."""
    code = -1
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return max(code, 0)
        if not ended:
            return code
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            code = code if code >= 0 else 128 - code


def _end_all() -> None:
    """Kill children until there are none: those of a child that was killed become ours."""
    while True:
        for pid in _children():
            _send(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> list[int]:
    own = os.getpid()
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _parent(pid) == own]


def _parent(pid: int) -> int:
    try:
        return linux.parent(pid)
    except OSError:
        return 0


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return
