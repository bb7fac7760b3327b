"""Who stays with a detached container: small while it waits, and nothing is left when it is killed."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_commands import left, states
from waiting import until

if TYPE_CHECKING:
    from conftest import Nacre

SMALL = "nacre.ground.monitor.shim"
ALLOWED = {
    "nacre", "nacre.ground", "nacre.ground.monitor", "nacre.ground.monitor.handover",
    "nacre.ground.monitor.logfile", "nacre.ground.monitor.relay", "nacre.ground.monitor.shim",
    "nacre.words", "nacre.words.quickjson",
}  # fmt: skip
"""All of nacre that the small process may load when nothing special happens."""


@pytest.fixture(autouse=True)
def shared_network(nacre: Nacre) -> None:
    """As an ordinary user, the supervisor of others answers system calls, and stays as it is."""
    nacre.env["NACRE_NETWORK"] = "host"


def pid_of(nacre: Nacre, name: str) -> int:
    return int(nacre("inspect", "-f", "{{.State.Pid}}", name).out)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")
    except OSError:
        return ""


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return True


def waits(pid: int, kind: str = "pidfd") -> bool:
    """Whether it has opened what it waits for; its own is closed when another takes over."""
    try:
        return any(kind in os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def small(nacre: Nacre, name: str) -> tuple[int, int]:
    """The supervisor of a container once it is small, and the container's first process."""
    pid = pid_of(nacre, name)
    found = parent(pid)
    until(lambda: SMALL in command_line(found) and waits(found))
    return found, pid


def trapping(nacre: Nacre, image: str) -> None:
    """Start `up`, whose program ends with 9 at SIGTERM, and wait until it does."""
    script = "trap 'exit 9' TERM; echo ready; while :; do sleep .1; done"
    nacre("run", "-d", "--name", "up", image, "sh", "-c", script)
    until(lambda: nacre("logs", "up").out == "ready\n")


def code_of(nacre: Nacre, name: str) -> tuple[str, int]:
    status, code = nacre("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name).out.split()
    return status, int(code)


def test_the_small_process_passes_on_the_log_and_the_end(nacre: Nacre, busybox_image: str) -> None:
    script = "trap 'echo three; echo last >&2; exit 7' TERM; echo one; printf two; while :; do sleep .1; done"
    nacre("run", "-d", "--name", "up", busybox_image, "sh", "-c", script)
    until(lambda: nacre("logs", "up").lines[:1] == ["one"])  # before its trap, a first process ignores TERM
    small(nacre, "up")
    nacre("stop", "up")
    assert nacre("wait", "up").out == "7\n"
    assert code_of(nacre, "up") == ("exited", 7)
    done = nacre("logs", "up")
    assert (done.out, done.err) == ("one\ntwothree\n", "last\n")
    nacre("start", "up")
    small(nacre, "up")
    nacre("rm", "-f", "up")
    assert left(nacre) == []


def test_nothing_is_left_of_a_removed_one(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "-d", "--rm", "--name", "up", "-i", busybox_image, "cat")
    supervisor, _ = small(nacre, "up")
    nacre("kill", "up")
    until(lambda: ended(supervisor))
    assert left(nacre) == []


def test_the_small_process_is_small(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "-d", "--name", "up", busybox_image, "sleep", "1000")
    supervisor, _ = small(nacre, "up")
    limit = 64 if os.uname().machine == "x86_64" else 4600  # without bytecode in files, which costs 1 MB
    until(lambda: dirty(supervisor) < limit)
    nacre("rm", "-f", "up")


def dirty(pid: int) -> int:
    """The memory that only this process has, in kB."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    fields = {line.split(":")[0]: int(line.split()[1]) for line in rollup[1:]}
    return fields["Private_Dirty"]


def test_output_wakes_the_smallest(nacre: Nacre, busybox_image: str) -> None:
    script = "mkfifo /f; read line </f; echo got $line; exec sleep 1000"
    nacre("run", "-d", "--name", "up", busybox_image, "sh", "-c", script)
    supervisor, _ = small(nacre, "up")
    nacre("exec", "up", "sh", "-c", "echo this >/f")
    until(lambda: dirty(supervisor) > 64)  # for some seconds
    until(lambda: nacre("logs", "up").out == "got this\n")
    nacre("rm", "-f", "up")


def test_the_small_process_loads_little() -> None:
    code = f"import sys; import {SMALL}; print(*(n for n in sys.modules if n.startswith('nacre')))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= ALLOWED


def test_a_killed_supervisor_takes_its_container_along(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "-d", "--name", "up", busybox_image, "sleep", "1000")
    supervisor, pid = small(nacre, "up")
    waiting = nacre.start("wait", "up")
    os.kill(supervisor, signal.SIGKILL)
    assert waiting.communicate()[0] == b"137\n"
    until(lambda: ended(pid))
    assert code_of(nacre, "up") == ("exited", 137)
    assert "Exited (137)" in nacre("ps", "-a").out
    nacre("rm", "up")
    assert left(nacre) == []


def test_a_signal_to_the_supervisor_goes_to_the_program(nacre: Nacre, busybox_image: str) -> None:
    trapping(nacre, busybox_image)
    supervisor, _ = small(nacre, "up")
    os.kill(supervisor, signal.SIGTERM)
    assert nacre("wait", "up").out == "9\n"
    nacre("rm", "up")


@pytest.fixture
def copied(nacre: Nacre, tmp_path: Path) -> Path:
    return from_a_copy(nacre, tmp_path)


def from_a_copy(nacre: Nacre, tmp_path: Path) -> Path:
    """From now on the command line runs from a copy of the package, which may be removed."""
    import nacre as package

    target = tmp_path / "lib"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(package.__file__).parent, target / "nacre", ignore=ignored)
    nacre.env["PYTHONPATH"] = str(target)
    return target


def test_an_end_is_seen_when_nacre_is_not_there_any_more(
    nacre: Nacre, busybox_image: str, copied: Path
) -> None:
    trapping(nacre, busybox_image)
    supervisor, _ = small(nacre, "up")
    assert str(copied) in command_line(supervisor)
    del nacre.env["PYTHONPATH"]
    copied.rename(copied.with_name("away"))
    nacre("stop", "up")
    until(lambda: ended(supervisor))
    assert code_of(nacre, "up") == ("exited", 9)
    assert nacre("wait", "up").out == "9\n"
    assert states(nacre) == {"up": "exited"}
    nacre("rm", "up")
    assert left(nacre) == []


@pytest.mark.parametrize("moment", ["before it is small", "while it is small"])
def test_killed_at_any_moment(nacre: Nacre, busybox_image: str, moment: str) -> None:
    nacre("run", "-d", "--name", "up", busybox_image, "sleep", "1000")
    pid = pid_of(nacre, "up")
    supervisor = parent(pid) if moment.startswith("before") else small(nacre, "up")[0]
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: ended(pid))
    assert code_of(nacre, "up") == ("exited", 137)
    assert nacre("start", "up").out == "up\n"
    nacre("rm", "-f", "up")
    assert left(nacre) == []


def test_killed_while_it_records(nacre: Nacre, busybox_image: str) -> None:
    trapping(nacre, busybox_image)
    supervisor, _ = small(nacre, "up")
    with closing(sqlite3.connect(nacre.root / "nacre.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        os.kill(supervisor, signal.SIGTERM)
        until(lambda: "containers.resume" in command_line(supervisor))
        os.kill(supervisor, signal.SIGKILL)
        until(lambda: ended(supervisor))
        database.execute("ROLLBACK")
    assert code_of(nacre, "up") == ("exited", 9)
    nacre("rm", "up")
    assert left(nacre) == []


def test_a_command_in_the_foreground_is_not_its_supervisor(nacre: Nacre, busybox_image: str) -> None:
    waiting = nacre.start("run", "-d", "--name", "up", busybox_image, "sleep", "1000", start_new_session=True)
    assert waiting.communicate()[0]
    with suppress(ProcessLookupError):
        os.killpg(waiting.pid, signal.SIGKILL)
    assert states(nacre) == {"up": "running"}
    nacre("rm", "-f", "up")
