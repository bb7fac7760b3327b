"""What test_fork_interrupted.py looks for, in a process of its own.

A fork copies what its process has, and there are thousands here: from one that has run the tests before, each
takes ten times as long. `python interruptions.py KIND WAY` prints what is wrong, one thing a line, and reads
on standard input what a container is made of.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import nacre
from nacre.ground import fork, linux, userns
from nacre.ground.fork import BLOCKED, RAISING, ChildReport
from nacre.ground.sandbox import Attachment, Stdio, syscalls
from nacre.ground.sandbox.launch import run
from nacre.words.errors import NacreError
from nacre.words.mount import Overlay

SOURCE = str(Path(nacre.__file__).parent / "ground") + "/"
ALL = os.environ.get("NACRE_CRASH") == "all"
AT_MOST = 1 << 30 if ALL else 50
"""Lines tried for each way."""
PATIENCE = 60


class Came(BaseException):
    """What the handler of the parent raises."""


def _raise(_number: int, _frame: FrameType | None) -> None:
    raise Came


def tell(report: ChildReport) -> None:
    report.tell("right")


def unblock(report: ChildReport) -> None:
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


def signals(way: Callable[[], Any], right: str, *allowed: str) -> list[str]:
    """A signal at many lines, or at all of them."""
    said, lines = interrupted(way, -1)
    assert said == [right], said
    wrong = []
    for at in range(1, 2 * lines, max(1, 2 * lines // AT_MOST)):
        said, _ = interrupted(way, at)
        if len(said) != 1 or not (said[0].startswith((right, "Came", *allowed)) or "by signal 15" in said[0]):
            wrong.append(f"at {at}: {said}")
    return wrong


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


def errors(way: Callable[[], Any]) -> list[str]:
    """Each system call fails in turn."""
    wrong = []
    for call in CALLS.split():
        said, _ = interrupted(way, prepare=refusing(call))
        if len(said) != 1 or not said[0].startswith(("right", "SandboxError: ", "OSError: ")):
            wrong.append(f"{call}: {said}")
    return wrong


class Container:
    """A program in a sandbox; what it says goes to `out`."""

    def __init__(self, config: dict[str, Any], mount: Overlay, out: str) -> None:
        self.config, self.mount, self.out = config, mount, out

    def run(self) -> int:
        if not userns.mapped():
            userns.enter()
        with open(self.out, "wb") as file:
            return run(self.config, self.mount, Attachment(Stdio(-1, file.fileno(), -1)))

    def errors(self) -> list[str]:
        """Calls that fail may fail in the program as well."""
        wrong = []
        for call in CALLS.split():
            said, _ = interrupted(self.run, prepare=refusing(call))
            ran = Path(self.out).read_text() == "ran\n"
            known = len(said) == 1 and said[0].startswith(("0", "1", "SandboxError: ", "Command"))
            if not known or (said[0] == "0" and not ran):
                wrong.append(f"{call}: {said}, {ran}")
        return wrong


def main(kind: str, way: str) -> None:
    if way in WAYS:
        wrong = signals(WAYS[way], "right") if kind == "signals" else errors(WAYS[way])
    else:
        made = Container(*pickle.load(sys.stdin.buffer))
        allowed = "0", "143", "Unsupported: newuidmap or newgidmap failed"
        wrong = signals(made.run, *allowed) if kind == "signals" else made.errors()
    for each in wrong:
        print(each)


if __name__ == "__main__":
    main(*sys.argv[1:])
