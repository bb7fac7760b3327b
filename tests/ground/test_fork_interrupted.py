"""A signal at every line of every child: it never goes on as its parent, and nothing is left of it.

A tracer sends SIGTERM to the process that is at the nth line of the code that forks, parent and child alike.
Whatever comes of it, one process does what comes after the fork, all others end, and an answer is the right
one or an error. The same for every system call that a child makes and that fails.
"""

from __future__ import annotations

import os
import select
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from boxes import Box, make_box, remove

import nacre
from nacre.ground import fork, linux, userns
from nacre.ground.fork import BLOCKED, RAISING, Report
from nacre.ground.sandbox import Stdio, run, syscalls
from nacre.words.errors import NacreError

SOURCE = str(Path(nacre.__file__).parent / "ground") + "/"
ALL = os.environ.get("NACRE_CRASH") == "all"
AT_MOST = 1 << 30 if ALL else 50
"""Lines tried for each way."""
PATIENCE = 60


class Came(BaseException):
    """What the handler of the parent raises."""


def _raise(_number: int, _frame: FrameType | None) -> None:
    raise Came


def tell(report: Report) -> None:
    report.tell("right")


def unblock(report: Report) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    report.tell("right")


def answered(child: fork.Child) -> Any:
    with child:
        (answer,) = child.answer()
        child.wait()
        return answer


WAYS: dict[str, Callable[[], Any]] = {
    "fork": lambda: answered(fork.fork(tell, what="it")),
    "raising": lambda: answered(fork.fork(tell, what="it", keep=None, signals=RAISING)),
    "blocked": lambda: answered(fork.fork(unblock, what="it", signals=BLOCKED)),
    "through": lambda: answered(fork.fork_through(lambda: None, tell, what="it")),
    "detached": lambda: answered(fork.fork_detached(tell, what="it")),
    "call": lambda: userns.call(str, "right"),
}


def interrupted(
    way: Callable[[], Any], at: int = -1, prepare: Callable[[], object] = bool
) -> tuple[list[str], int]:
    """What was said after the fork, by whom ever, and how many lines the parent passed."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(reader)
            prepare()
            _scratch(way, at, writer)
        finally:
            os._exit(70)
    os.close(writer)
    said = _read(reader, pid)
    assert os.waitpid(pid, 0)[1] == 0, said
    return said[:-1], int(said[-1])


def _read(reader: int, pid: int) -> list[str]:
    """All that is said. What takes too long is killed: it may have blocked its signals."""
    data = bytearray()
    with os.fdopen(reader, "rb", buffering=0) as stream:
        while select.select([stream], [], [], PATIENCE)[0]:
            piece = stream.read(4096)
            if not piece:
                return data.decode().splitlines()
            data += piece
    os.killpg(pid, signal.SIGKILL)
    return data.decode().splitlines()


def _scratch(way: Callable[[], Any], at: int, writer: int) -> None:
    """A process of its own, to which all falls that is left."""
    os.setsid()
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, _raise)
    tracer = Tracer(at)
    try:
        sys.settrace(tracer)
        said = str(way())
    except (NacreError, OSError, Came) as error:
        said = f"{type(error).__name__}: {error}"
    finally:
        sys.settrace(None)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(writer, f"{said}\n".encode())
    _reap()
    os.write(writer, f"{tracer.passed}\n".encode())
    os._exit(0)


def _reap() -> None:
    """Until all have ended by themselves."""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


class Tracer:
    """Sends the signal at the nth line; each process counts on for itself after a fork."""

    def __init__(self, at: int) -> None:
        self.at, self.passed = at, 0

    def __call__(self, frame: FrameType, event: str, _arg: object) -> Any:
        if not frame.f_code.co_filename.startswith(SOURCE):
            return None
        if event == "line":
            self.passed += 1
            if self.passed == self.at:
                os.kill(os.getpid(), signal.SIGTERM)
        return self


def check(way: Callable[[], Any], right: str, *allowed: str) -> None:
    said, lines = interrupted(way, -1)
    assert said == [right]
    wrong = []
    for at in range(1, 2 * lines, max(1, 2 * lines // AT_MOST)):
        said, _ = interrupted(way, at)
        if len(said) != 1 or not (said[0].startswith((right, "Came", *allowed)) or "by signal 15" in said[0]):
            wrong.append((at, said))
    assert wrong == []


@pytest.mark.parametrize("name", WAYS)
def test_a_signal_at_every_line(name: str) -> None:
    check(WAYS[name], "right")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    folder = tmp_path / "box"
    folder.mkdir()
    yield make_box(folder)
    remove(folder)


@pytest.mark.parametrize("init", [False, True])
def test_a_signal_at_every_line_of_a_container(box: Box, init: bool) -> None:
    config = box.config("true", init=init)

    def way() -> int:
        if not userns.mapped():
            userns.enter()
        return run(config, box.mount, stdio=Stdio(-1, -1, -1))

    check(way, "0", "143", "Unsupported: newuidmap or newgidmap failed")


CALLS = """
capget capset chdir chroot close close_range clone clone3 dup dup2 dup3 execve fchdir fchmod fchown fcntl fork
fsconfig fsmount fsopen fstat getcwd getdents64 getppid getuid ioctl keyctl kill lseek mkdirat mknodat mount
mount_setattr move_mount newfstatat open_tree openat openat2 pipe2 pivot_root prctl read readlink readlinkat
rt_sigaction rt_sigprocmask rt_sigtimedwait seccomp sethostname setgroups setns setpgid setresgid setresuid
setsid socket statx symlinkat umask umount2 unlinkat unshare vfork wait4 waitid write
"""
EIO = 5


def refusing(name: str) -> Callable[[], None]:
    """For the children of this process a system call fails."""
    number = syscalls.numbers(linux.MACHINE).get(name, -1)
    words = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | EIO), (0x06, 0, 0, 0x7FFF0000)]
    program = b"".join(struct.pack("=HBBI", *word) for word in words)

    def refuse() -> None:
        if number >= 0:
            linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
            linux.seccomp_filter(program)

    return lambda: os.register_at_fork(after_in_child=refuse)


@pytest.mark.parametrize("name", WAYS)
def test_an_error_at_every_system_call(name: str) -> None:
    wrong = []
    for call in CALLS.split():
        said, _ = interrupted(WAYS[name], prepare=refusing(call))
        if len(said) != 1 or not said[0].startswith(("right", "SandboxError: ", "OSError: ")):
            wrong.append((call, said))
    assert wrong == []


@pytest.mark.parametrize("init", [False, True])
def test_an_error_at_every_system_call_of_a_container(box: Box, init: bool) -> None:
    """It runs, or an error says why it does not. Calls that fail may fail in the program as well."""
    config, out = box.config("echo", "ran", init=init), box.folder / "said"

    def way() -> int:
        if not userns.mapped():
            userns.enter()
        with out.open("wb") as file:
            return run(config, box.mount, stdio=Stdio(-1, file.fileno(), -1))

    wrong = []
    for call in CALLS.split():
        said, _ = interrupted(way, prepare=refusing(call))
        ran = out.read_text() == "ran\n"
        if (
            len(said) != 1
            or (said[0] == "0" and not ran)
            or not said[0].startswith(("0", "1", "SandboxError: ", "Command"))
        ):
            wrong.append((call, said, ran))
    assert wrong == []
