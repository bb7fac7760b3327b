"""The first process of a container that wants one: passes signals on, reaps, ends with the program.

It is the set-up process itself, which stays instead of becoming the program; by then it has the
program's user, capabilities and system call filter. Nothing in the container may look into it or
follow its /proc/1/exe, which is the Python of the host (runc CVE-2019-5736).
"""

from __future__ import annotations

import os

from .. import linux
from ..fork import leave_behind
from .identity import Execute
from .room import Room

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal

_FIRST_FREE = 3
_NOT_PASSED_ON = (
    signal.SIGCHLD, signal.SIGKILL, signal.SIGSTOP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGPIPE,
    signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGTRAP,
)  # fmt: skip


class ExecuteUnderInit(Execute):
    """As `Execute`, in a child of this process."""

    def apply(self, room: Room) -> None:  # noqa: D102
        signals = {int(number) for number in signal.valid_signals()} - set(_NOT_PASSED_ON) | {signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)

        def watch(pid: int) -> int:
            linux.close_range(_FIRST_FREE)
            room.stay_behind()
            return _watch(pid, signals)

        dumpable = linux.prctl(linux.PR_GET_DUMPABLE)
        linux.prctl(linux.PR_SET_DUMPABLE, 0)  # before there is a program that could look
        leave_behind(watch)
        if dumpable == 1:
            linux.prctl(linux.PR_SET_DUMPABLE, 1)  # execve(2) would, but first there is to write in /proc
        os.setpgid(0, 0)
        if room.terminal >= 0:
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            os.tcsetpgrp(0, os.getpid())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        super().apply(room)

    def __str__(self) -> str:
        return f"under an init, {super().__str__()}"


def _watch(pid: int, signals: set[int]) -> int:
    """Until the program ends; its exit code, 128+n for signal n."""
    while True:
        number = signal.sigwait(signals)
        if number != signal.SIGCHLD:
            _send(pid, number)
            continue
        while True:
            try:
                ended, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return 0
            if ended == pid:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            if not ended:
                break


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
