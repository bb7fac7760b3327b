"""Containers of other runtimes end with their supervisor, however it ends, also while the runtime starts."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_commands import left
from test_confined import running
from test_supervisor import code_of, dirty, ended, from_a_copy, parent, pid_of
from waiting import until

from nacre.ground import userns
from nacre.ground.limits.hierarchies import folders

if TYPE_CHECKING:
    from conftest import Nacre

needs_them = pytest.mark.skipif(
    os.geteuid() != 0 or not userns.is_first(), reason="not every runtime works in a user namespace"
)
WAYS = pytest.mark.parametrize("words", [("rm", "-f"), ("stop", "-t", "0"), ("kill",)])


def keepers(nacre: Nacre) -> tuple[int, int]:
    """The supervisor of `up` and its watcher; a real runtime stands between that and the program."""
    pid = pid_of(nacre, "up")
    watcher = parent(parent(pid)) if command(pid).startswith("sleep") else pid
    return parent(watcher), watcher


def new_mark() -> str:
    return f"1000.{secrets.randbits(48)}"


def sleeping(mark: str) -> list[int]:
    """The program in the container; what starts it has the mark among its arguments too."""
    return [pid for pid in running(mark) if command(pid) == f"sleep {mark}"]


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return ""


@pytest.fixture(params=["crun", "runc"])
def marked(
    nacre: Nacre, busybox_image: str, peer: Callable[..., None], request: pytest.FixtureRequest
) -> str:
    """An argument of the program in the container `up`."""
    peer(request.param)
    mark = new_mark()
    nacre("run", "-d", "--name", "up", "--runtime", request.param, busybox_image, "sleep", mark)
    until(lambda: sleeping(mark))
    return mark


@needs_them
@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_a_terminal_in_the_background(
    nacre: Nacre, busybox_image: str, peer: Callable[..., None], runtime: str
) -> None:
    """Neither begins with -t where its input is no terminal."""
    peer(runtime)
    nacre(
        "run", "-dt", "--name", "up", "--runtime", runtime, busybox_image, "sh", "-c", "tty; exec sleep 100"
    )
    until(lambda: nacre("logs", "up").out.startswith("/dev/pts/"))
    assert nacre("ps", "-q").out
    nacre("rm", "-f", "up")


@needs_them
@WAYS
def test_what_is_killed_is_gone(nacre: Nacre, marked: str, words: tuple[str, ...]) -> None:
    nacre(*words, "up")
    nacre("wait", "up", check=False)
    until(lambda: not running(marked))
    nacre("rm", "up", check=False)
    assert left(nacre) == []


@needs_them
def test_the_process_of_the_container_is_the_program(nacre: Nacre, marked: str) -> None:
    assert [pid_of(nacre, "up")] == sleeping(marked)
    nacre("rm", "-f", "up")


@needs_them
def test_a_killed_supervisor_leaves_nothing(nacre: Nacre, marked: str) -> None:
    os.kill(keepers(nacre)[0], signal.SIGKILL)
    until(lambda: "Exited (137)" in nacre("ps", "-a").out)
    until(lambda: not running(marked))
    nacre("rm", "up")
    assert left(nacre) == []


@pytest.fixture
def starting(nacre: Nacre, busybox_image: str, tmp_path: Path) -> str:
    """As `marked`, of a runtime that has started a process, and written down nothing of it."""
    mark, runtime = new_mark(), tmp_path / "runtime"
    runtime.write_text(f"#!/bin/sh\nsetsid sh -c 'sleep {mark} & wait' >/dev/null 2>&1 &\nsleep 1000\n")
    runtime.chmod(0o755)
    nacre("run", "-d", "--name", "up", "--runtime", str(runtime), busybox_image)
    until(lambda: sleeping(mark))
    return mark


@WAYS
def test_what_a_runtime_began_is_gone(nacre: Nacre, starting: str, words: tuple[str, ...]) -> None:
    nacre(*words, "up")
    nacre("wait", "up", check=False)
    assert not running(starting)
    nacre("rm", "up", check=False)
    assert left(nacre) == []


def test_a_killed_supervisor_leaves_nothing_that_a_runtime_began(nacre: Nacre, starting: str) -> None:
    os.kill(keepers(nacre)[0], signal.SIGKILL)
    until(lambda: not running(starting))
    nacre("rm", "up")
    assert left(nacre) == []


@needs_them
def test_no_control_group_is_left_of_a_killed_runtime(
    nacre: Nacre, busybox_image: str, tmp_path: Path
) -> None:
    """One that it made while it started."""
    above, runtime = folders()[0], tmp_path / "runtime"
    lines = ["#!/bin/sh", "for id; do :; done", f"mkdir -p {above}/$id/below", "kill -9 $$"]
    runtime.write_text("\n".join(lines))
    runtime.chmod(0o755)
    before = set(os.listdir(above))
    assert nacre("run", "--rm", "--runtime", str(runtime), busybox_image, check=False).code == 137
    made = {name for name in set(os.listdir(above)) - before if len(name) == 32}
    assert not made


def unloaded(nacre: Nacre) -> tuple[int, int]:
    """The supervisor of `up` and its watcher, once both wait as less than an interpreter."""
    supervisor, watcher = keepers(nacre)
    until(lambda: is_small(watcher) and is_small(supervisor))
    return supervisor, watcher


def is_small(pid: int) -> bool:
    try:
        return dirty(pid) < 64
    except (PermissionError, ProcessLookupError):  # it is loaded, so nobody may look, or in execve(2)
        return False


def faults(pid: int) -> int:
    """Pages that it has touched first: an interpreter that begins touches hundreds, and may take no tick."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])


needs_idle = pytest.mark.skipif(os.uname().machine != "x86_64", reason="it waits loaded on other machines")


@needs_them
@needs_idle
def test_while_nothing_happens_nothing_is_loaded(nacre: Nacre, marked: str) -> None:
    _, watcher = unloaded(nacre)
    before = faults(watcher)
    os.kill(watcher, signal.SIGWINCH)
    until(lambda: faults(watcher) > before + 100)  # it may be small again before anybody looks
    unloaded(nacre)
    nacre("rm", "-f", "up")
    until(lambda: not running(marked))


@needs_idle
def test_what_a_runtime_began_is_gone_though_it_was_unloaded(nacre: Nacre, starting: str) -> None:
    supervisor, _ = unloaded(nacre)
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: not running(starting))
    nacre("rm", "up")
    assert left(nacre) == []


@needs_them
def test_who_attaches_later_writes_to_the_program(
    nacre: Nacre, busybox_image: str, peer: Callable[..., None]
) -> None:
    peer("crun")
    nacre("run", "-di", "--name", "up", "--runtime", "crun", busybox_image, "head", "-n1")
    assert nacre("attach", "up", input="hey\n").out == "hey\n"
    nacre("rm", "-f", "up")


@pytest.fixture
def copied(nacre: Nacre, tmp_path: Path) -> Path:
    return from_a_copy(nacre, tmp_path)


@needs_them
@needs_idle
def test_it_ends_when_nacre_is_not_there_any_more(nacre: Nacre, copied: Path, marked: str) -> None:
    supervisor, watcher = unloaded(nacre)
    del nacre.env["PYTHONPATH"]
    copied.rename(copied.with_name("away"))
    nacre("kill", "up")
    until(lambda: ended(supervisor) and ended(watcher))
    assert code_of(nacre, "up") == ("exited", 137)
    assert not running(marked)
    nacre("rm", "up")
    assert left(nacre) == []
