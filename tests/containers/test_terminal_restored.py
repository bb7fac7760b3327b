"""A terminal is restored although the command that made it raw is killed."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import termios
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from waiting import until

from nacre.ground import linux

if TYPE_CHECKING:
    from conftest import Nacre

ENDS: dict[str, Callable[[int], None]] = {
    "process": lambda pid: os.kill(pid, signal.SIGKILL),
    "group": lambda pid: os.killpg(pid, signal.SIGKILL),
}


class Shell:
    """A shell with job control on a terminal: what it starts has a process group of its own.

    Nacre as the session's leader would hang up the terminal by its death, and leave nothing to restore.
    """

    def __init__(self, nacre: Nacre, *words: str) -> None:
        self.ours, theirs = os.openpty()
        self.before = termios.tcgetattr(self.ours)
        script = f"set -m; {shlex.join(nacre.command(*words))}; kill -STOP $$"
        self.process = subprocess.Popen(
            ["setsid", "-c", "sh", "-c", script], stdin=theirs, stdout=theirs, stderr=theirs,
            cwd=nacre.folder, env=nacre.env,
        )  # fmt: skip
        os.close(theirs)
        self.started: list[int] = []

    def mode(self) -> list[Any]:
        """As in termios(3)."""
        return termios.tcgetattr(self.ours)

    def command(self) -> int:
        """The pid of nacre."""
        (command,) = map(int, _children(self.process.pid))
        self.started = [command]
        for pid in self.started:  # parents before their children
            self.started += map(int, _children(pid))
        return command

    def expect(self, text: bytes) -> None:
        """Read until it has been written."""
        seen = b""
        while text not in seen:
            seen += os.read(self.ours, 4096)

    def close(self) -> None:
        """End the command; its children end by themselves, and fall to us."""
        self.process.kill()
        self.process.wait()
        os.close(self.ours)
        for pid in self.started:
            with suppress(ChildProcessError):  # its parent has waited for it
                if pid == self.started[0] and os.waitpid(pid, os.WNOHANG) == (0, 0):
                    os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


@pytest.fixture
def shell(nacre: Nacre, busybox_image: str) -> Iterator[Callable[..., Shell]]:
    """Starts a command. This process waits for what a killed one leaves: not every process 1 does."""
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    nacre("run", "-d", "--name", "up", busybox_image, "sleep", "1000")
    made: list[Shell] = []

    def start(*words: str) -> Shell:
        made.append(Shell(nacre, *words, "sh", "-c", "echo be-gun; sleep 1000"))
        return made[-1]

    yield start
    for one in made:
        one.close()
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 0)
    nacre("rm", "-f", *nacre("ps", "-aq").lines)


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("words", [("run", "-it", "IMAGE"), ("exec", "-it", "up")], ids=["run", "exec"])
def test_restored_after_sigkill(
    shell: Callable[..., Shell], busybox_image: str, words: tuple[str, ...], end: Callable[[int], None]
) -> None:
    started = shell(*[busybox_image if word == "IMAGE" else word for word in words])
    started.expect(b"be-gun")
    until(lambda: not started.mode()[3] & termios.ICANON)
    end(started.command())
    until(lambda: started.mode() == started.before)


def test_a_mode_that_somebody_set_meanwhile_stays(shell: Callable[..., Shell]) -> None:
    started = shell("exec", "-it", "up")
    started.expect(b"be-gun")
    until(lambda: not started.mode()[3] & termios.ICANON)
    command = started.command()
    ours = [pid for pid in started.started[1:] if _program(str(pid)) == _program(str(command))]
    (guard,) = [pid for pid in ours if not _children(pid)]
    watched = os.pidfd_open(guard)
    changed = started.mode()
    changed[3] |= termios.ECHO
    termios.tcsetattr(started.ours, termios.TCSANOW, changed)
    os.kill(command, signal.SIGKILL)
    _ended(watched)
    assert started.mode() == changed


def test_no_child_is_left_after_an_ordinary_end(nacre: Nacre, shell: Callable[..., Shell]) -> None:
    started = shell("exec", "-it", "up")
    started.expect(b"be-gun")
    until(lambda: not started.mode()[3] & termios.ICANON)
    guards = [os.pidfd_open(int(pid)) for pid in _children(started.command())]
    nacre("kill", "up")
    for pidfd in guards:
        _ended(pidfd)
    until(lambda: started.mode() == started.before)


def _program(pid: str) -> str:
    return Path(f"/proc/{pid}/comm").read_text()


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _ended(pidfd: int) -> None:
    import select

    assert select.select([pidfd], [], [], 30)[0]
    os.close(pidfd)
