"""What happens to a container that runs: paused, renamed, looked at, waited for."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_supervisor import parent, pid_of
from waiting import until

from nacre.engine import Config, Engine
from nacre.words.errors import Conflict, InvalidName, UsageError

if TYPE_CHECKING:
    from conftest import Nacre

SCRIPT = "sleep 1000 & sleep 1001 & wait"


@pytest.fixture
def up(nacre: Nacre, busybox_image: str) -> Iterator[str]:
    """The id of a container of three processes, called `first`: the two sleep already."""
    number = nacre("run", "-d", "--name", "first", busybox_image, "sh", "-c", SCRIPT).out.strip()
    until(lambda: sum(line.endswith((" 1000", " 1001")) for line in nacre("top", "first").lines) == 2)
    yield number
    nacre("rm", "-f", "first", "second", check=False)


def told(nacre: Nacre, *words: str) -> str:
    """The error of a command that fails."""
    done = nacre(*words, check=False)
    assert done.code
    assert done.out == ""
    return str(done.err).partition("\n")[0]


def state(nacre: Nacre, name: str) -> dict[str, object]:
    return dict(json.loads(nacre("inspect", "--format", "{{json .State}}", name).out))


# pause


def used(pid: int) -> int:
    """Clock ticks that a process has run."""
    return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))


def test_a_paused_container_is_shown_so(nacre: Nacre, up: str) -> None:
    assert nacre("pause", "first").out == "first\n"
    assert told(nacre, "pause", "first") == f"nacre: container {up} is already paused"
    shown = json.loads(nacre("ps", "--filter", "status=paused", "--format", "json").out)
    assert (shown["State"], shown["Status"][-9:]) == ("paused", " (Paused)")
    assert nacre("ps", "-q", "--filter", "status=running").out == ""
    found = state(nacre, "first")
    assert (found["Status"], found["Running"], found["Paused"]) == ("paused", True, True)
    assert nacre("unpause", "first").out == "first\n"
    assert told(nacre, "unpause", "first") == f"nacre: container {up} is not paused"
    assert state(nacre, "first")["Status"] == "running"


def test_what_a_paused_container_refuses(nacre: Nacre, up: str) -> None:
    nacre("pause", "first")
    assert told(nacre, "exec", "first", "true").endswith("first is paused, unpause the container before exec")
    assert told(nacre, "start", "first") == "nacre: cannot start a paused container, try unpause instead"
    assert told(nacre, "rm", "first").endswith("container is paused and must be unpaused first")
    assert len(nacre("top", "first").lines) == 4
    assert nacre("commit", "first").out.startswith("sha256:")
    assert state(nacre, "first")["Paused"] is True


def test_nothing_runs_while_it_is_paused(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "-d", "--name", "busy", busybox_image, "sh", "-c", "while :; do :; done")
    pid = pid_of(nacre, "busy")
    nacre("pause", "busy")
    before = used(pid)
    assert nacre("inspect", "busy").code == 0  # takes some time
    assert used(pid) == before
    nacre("unpause", "busy")
    while used(pid) == before:
        assert os.path.exists(f"/proc/{pid}")
    nacre("rm", "-f", "busy")


@pytest.mark.parametrize("words", [("kill",), ("stop", "-t", "0"), ("rm", "-f")], ids=lambda words: words[0])
def test_a_paused_container_can_be_ended(nacre: Nacre, up: str, words: tuple[str, ...]) -> None:
    nacre("pause", "first")
    nacre(*words, "first")
    if words[0] != "rm":
        assert nacre("wait", "first").out == "137\n"
        nacre("start", "first")
        assert state(nacre, "first")["Status"] == "running"


def test_a_gentle_stop_wakes_it(nacre: Nacre, busybox_image: str) -> None:
    script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    nacre("run", "-d", "--name", "gentle", busybox_image, "sh", "-c", script)
    until(lambda: nacre("logs", "gentle").out == "ready\n")
    nacre("pause", "gentle")
    nacre("stop", "gentle")
    assert nacre("wait", "gentle").out == "5\n"


def test_the_end_of_its_supervisor_ends_a_paused_container(nacre: Nacre, up: str) -> None:
    nacre("pause", "first")
    pid = pid_of(nacre, "first")
    os.kill(parent(pid), 9)
    assert nacre("wait", "first").out == "137\n"
    while os.path.exists(f"/proc/{pid}") and "Z" not in Path(f"/proc/{pid}/status").read_text():
        pass
    assert nacre("start", "first").code == 0
    assert state(nacre, "first")["Paused"] is False


def test_a_pause_that_fails_does_not_end_it(nacre: Nacre, busybox_image: str) -> None:
    script = "trap 'exit 5' USR1; echo ready; while :; do sleep 0.05; done"
    number = nacre("run", "-d", "--name", "first", busybox_image, "sh", "-c", script).out.strip()
    while nacre("logs", "first").out != "ready\n":
        pass
    folder = nacre.root / "containers" / number
    (folder / "paused").mkdir()
    (folder / "control").write_text(f"freeze:answer.x\n{signal.SIGUSR1:d}\n")
    assert nacre("wait", "first").out == "5\n"


def test_only_what_runs_can_be_paused(nacre: Nacre, busybox_image: str) -> None:
    number = nacre("create", "--name", "first", busybox_image, "true").out.strip()
    assert told(nacre, "pause", "first") == f"nacre: container {number} is not running"
    assert told(nacre, "unpause", "first") == f"nacre: container {number} is not paused"
    assert told(nacre, "pause", "nosuch") == "nacre: No such container: nosuch"


# rename


def test_rename(nacre: Nacre, up: str) -> None:
    assert nacre("rename", "first", "second").out == ""
    assert nacre("ps", "--format", "{{.Names}}").out == "second\n"
    assert told(nacre, "rename", "first", "third") == "nacre: No such container: first"
    record = json.loads((nacre.root / "containers" / up / "record").read_text())
    assert record[0]["name"] == "second"


def test_names_that_cannot_be_given(nacre: Nacre, up: str, busybox_image: str) -> None:
    other = nacre("create", "--name", "second", busybox_image).out.strip()
    taken = f'nacre: the container name "/second" is already in use by container "{other}"'
    assert told(nacre, "rename", "first", "second") == taken
    same = "nacre: renaming a container with the same name as its current name"
    assert told(nacre, "rename", "first", "/first") == same
    assert told(nacre, "rename", "first", "a@b").startswith("nacre: invalid container name (a@b), only ")
    assert told(nacre, "rename", "first", "") == "nacre: Neither old nor new names may be empty"


# top


def test_top(nacre: Nacre, up: str) -> None:
    titles, *rows = nacre("top", "first").lines
    assert titles.split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert {row.split(None, 7)[7] for row in rows} == {f"sh -c {SCRIPT}", "sleep 1000", "sleep 1001"}
    assert titles.index("PPID") == 40


def test_top_needs_no_program(nacre: Nacre, up: str) -> None:
    code = "import sys; from nacre.cli.main import entry; sys.argv[0] = 'nacre'; entry()"
    words = [sys.executable, "-P", "-c", code, "--root", str(nacre.root), "top"]
    done = subprocess.run([*words, "first"], capture_output=True, text=True, env={"PATH": "/nonexistent"})
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 4)
    done = subprocess.run(
        [*words, "first", "-ef"], capture_output=True, text=True, env={"PATH": "/nonexistent"}
    )
    assert done.stderr.startswith("nacre: no program named ps is installed")


@pytest.mark.skipif(not shutil.which("ps"), reason="ps is not installed")
def test_top_with_options(nacre: Nacre, up: str) -> None:
    titles, *rows = nacre("top", "first", "-o", "pid,args").lines
    assert titles.split() == ["PID", "COMMAND"]
    assert {row.split(None, 1)[1] for row in rows} == {f"sh -c {SCRIPT}", "sleep 1000", "sleep 1001"}
    assert told(nacre, "top", "first", "-o", "args") == "nacre: Couldn't find PID field in ps output"
    assert told(nacre, "top", "first", "--nosuch").startswith("nacre: ps: ")


def test_top_of_nothing(nacre: Nacre, busybox_image: str) -> None:
    number = nacre("create", "--name", "first", busybox_image, "true").out.strip()
    assert told(nacre, "top", "first") == f"nacre: container {number} is not running"
    assert told(nacre, "top", "nosuch") == "nacre: No such container: nosuch"


# wait


def waiting(nacre: Nacre, condition: str) -> subprocess.Popen[str]:
    """One that waits for the container `first` already."""
    code = "import sys; from nacre.cli.main import entry; sys.argv[0] = 'nacre'; entry()"
    words = [sys.executable, "-P", "-c", code, "--root", str(nacre.root), "wait", "--condition", condition]
    process = subprocess.Popen([*words, "first"], stdout=subprocess.PIPE, text=True)
    while not watches(process.pid):
        assert process.poll() is None
    return process


def watches(pid: int) -> bool:
    try:
        return any("inotify" in os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:
        return False


def test_wait_for_the_next_exit(nacre: Nacre, busybox_image: str) -> None:
    nacre("create", "--name", "first", busybox_image, "sh", "-c", "exit 7")
    with waiting(nacre, "next-exit") as process:
        nacre("start", "first")
        assert process.communicate()[0] == "7\n"
    assert nacre("wait", "first").out == "7\n"


def test_wait_for_the_removal(nacre: Nacre, up: str) -> None:
    with waiting(nacre, "removed") as process:
        nacre("kill", "first")
        nacre("wait", "first")
        assert process.poll() is None
        nacre("rm", "first")
        assert process.communicate()[0] == "137\n"


def test_wait_says_what_is_not_there(nacre: Nacre, busybox_image: str) -> None:
    nacre("create", "--name", "first", busybox_image)
    done = nacre("wait", "nosuch", "first", check=False)
    assert (done.code, done.out, done.err) == (1, "0\n", "nacre: No such container: nosuch\n")


# for programs


def test_a_library_can_do_it_as_well(nacre: Nacre, up: str) -> None:
    with Engine(Config(str(nacre.root))) as engine:
        containers = engine.containers
        containers.pause("first")
        assert containers.is_paused(containers.get("first"))
        with pytest.raises(Conflict, match="already paused"):
            containers.pause("first")
        containers.unpause("first")
        assert len(containers.top("first").processes) == 3
        containers.rename("first", "second")
        with pytest.raises(InvalidName):
            containers.rename("second", "a@b")
        with pytest.raises(UsageError, match="invalid condition"):
            containers.wait("second", "someday")
        containers.kill("second")
        assert containers.wait("second") == 137
