"""The program of one page: what wakes it, and what it becomes then."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from time import sleep

import pytest

from nacre.ground.monitor import idle

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="only for x86-64")

CODE = "import os, signal, sys; print(sorted(signal.sigpending()), sys.argv[1], flush=True)"


def waiting(fds: list[int], timeout: int = -1, python: str = sys.executable) -> tuple[int, int]:
    """A process that waits, and where it writes afterwards."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            os.dup2(writer, 1)
            for fd in fds:
                os.set_inheritable(fd, True)
            idle.wait([python, "-S", "-I", "-c", CODE, "told"], fds, [15], timeout)
        finally:
            os._exit(99)
    os.close(writer)
    return pid, reader


def until(condition: Callable[[], bool]) -> None:
    for _ in range(3000):
        if condition():
            return
        sleep(0.01)
    pytest.fail("in vain")


def sleeps(pid: int) -> None:
    until(lambda: Path(f"/proc/{pid}/comm").read_text() == "nacre\n" and state(pid) == b"S")


def state(pid: int) -> bytes:
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]


def said(pid: int, reader: int) -> str:
    with open(reader, encoding="ascii") as file:
        text = file.read()
    assert os.waitpid(pid, 0)[1] == 0
    return text


def test_a_descriptor() -> None:
    mine, theirs = os.pipe(), os.pipe()
    pid, reader = waiting([mine[0], theirs[0]])
    sleeps(pid)
    assert "kB" in (rollup := Path(f"/proc/{pid}/smaps_rollup").read_text())
    assert int(rollup.split("Pss:")[1].split()[0]) <= 32
    os.write(theirs[1], b".")
    assert said(pid, reader) == "[] told\n"
    for fd in (*mine, *theirs):
        os.close(fd)


def test_a_signal_stays_pending() -> None:
    mine = os.pipe()
    pid, reader = waiting([mine[0]])
    sleeps(pid)
    os.kill(pid, signal.SIGTERM)
    assert said(pid, reader) == "[<Signals.SIGTERM: 15>] told\n"
    for fd in mine:
        os.close(fd)


def test_a_time() -> None:
    pid, reader = waiting([], timeout=10)
    assert said(pid, reader) == "[] told\n"


def test_what_it_becomes_may_be_missing_for_some_time(tmp_path: Path) -> None:
    python = tmp_path / "python"
    pid, reader = waiting([], timeout=0, python=str(python))
    sleeps(pid)
    python.symlink_to(sys.executable)
    assert said(pid, reader) == "[] told\n"


def test_other_machines() -> None:
    with pytest.raises(LookupError):
        idle.program("vax", [3], [15])
