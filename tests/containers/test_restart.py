"""Containers that their supervisor starts again, and who may end that."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from test_commands import left, states
from test_supervisor import code_of, ended, parent, pid_of, small
from waiting import until

from nacre.services.containers.supervision import ends_restarts

if TYPE_CHECKING:
    from conftest import Nacre


def count(nacre: Nacre, name: str) -> int:
    return int(nacre("inspect", "-f", "{{.RestartCount}}", name).out)


def state(nacre: Nacre, name: str) -> str:
    return states(nacre)[name]


def test_failures_are_restarted_as_often_as_asked(nacre: Nacre, busybox_image: str) -> None:
    script = "echo x; exit 3"
    nacre("run", "-d", "--restart", "on-failure:2", "--name", "up", busybox_image, "sh", "-c", script)
    until(lambda: state(nacre, "up") == "exited")
    assert nacre("logs", "up").lines == ["x", "x", "x"]
    assert count(nacre, "up") == 2
    assert code_of(nacre, "up") == ("exited", 3)
    assert nacre("wait", "up").out == "3\n"
    policy = nacre("inspect", "-f", "{{json .HostConfig.RestartPolicy}}", "up")
    assert json.loads(policy.out) == {"Name": "on-failure", "MaximumRetryCount": 2}
    nacre("start", "up")
    until(lambda: state(nacre, "up") == "exited")
    assert count(nacre, "up") == 2
    nacre("rm", "up")
    assert left(nacre) == []


def test_success_is_no_failure(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "-d", "--restart", "on-failure", "--name", "up", busybox_image, "true")
    until(lambda: state(nacre, "up") == "exited")
    assert count(nacre, "up") == 0


def test_stop_ends_restarts(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "-d", "--restart", "always", "--name", "up", busybox_image, "false")
    until(lambda: count(nacre, "up") >= 3)
    until(lambda: state(nacre, "up") == "restarting")
    until(lambda: "Restarting (1)" in nacre("ps").out)  # it runs in between
    until(lambda: nacre("ps", "-q", "--filter", "status=restarting").out.strip())
    until(lambda: "container is restarting" in nacre("rm", "up", check=False).err)
    nacre("stop", "up")
    assert code_of(nacre, "up") == ("exited", 1)


def test_a_program_is_restarted_through_the_shim(nacre: Nacre, busybox_image: str) -> None:
    nacre.env["NACRE_NETWORK"] = "host"  # as an ordinary user others have more to do than the shim
    nacre("run", "-d", "--restart", "always", "--name", "up", busybox_image, "sleep", "1000")
    supervisor, pid = small(nacre, "up")
    os.kill(pid, signal.SIGKILL)
    until(lambda: pid_of(nacre, "up") not in (0, pid))
    assert small(nacre, "up")[0] == supervisor
    assert count(nacre, "up") == 1
    nacre("kill", "up")
    until(lambda: ended(supervisor))
    assert code_of(nacre, "up") == ("exited", 137)
    nacre("rm", "up")
    assert left(nacre) == []


@pytest.mark.parametrize(
    ("record", "number", "over"),
    [
        ({"restart": ["always", 0]}, 1, True),
        ({"restart": ["on-failure", 0], "stop_signal": 0}, 15, True),
        ({"restart": ["always", 0], "stop_signal": 2}, 1, False),
        ({"restart": ["on-failure", 0], "stop_signal": 2}, 15, False),
        ({"restart": ["unless-stopped", 0], "stop_signal": 2}, 1, True),
        ({"restart": ["always", 0], "stop_signal": 2}, 2, True),
        ({"restart": ["always", 0], "stop_signal": 2}, 9, True),
    ],
)
def test_which_signals_end_restarts(record: dict[str, object], number: int, *, over: bool) -> None:
    """As docker 28 does, tried by hand."""
    assert ends_restarts(record, number) is over


def test_any_signal_ends_restarts(nacre: Nacre, busybox_image: str) -> None:
    script = "trap 'exit 4' HUP; echo ready; while :; do sleep .1; done"
    nacre("run", "-d", "--restart", "always", "--name", "up", busybox_image, "sh", "-c", script)
    until(lambda: nacre("logs", "up").out == "ready\n")
    nacre("kill", "-s", "HUP", "up")
    until(lambda: state(nacre, "up") == "exited")
    assert (code_of(nacre, "up"), count(nacre, "up")) == (("exited", 4), 0)


def test_one_that_does_not_stop_leaves_the_policy(nacre: Nacre, busybox_image: str) -> None:
    script = "trap 'exit 4' HUP; echo ready; while :; do sleep .1; done"
    policy = ("--restart", "always", "--stop-signal", "INT")
    nacre("run", "-d", *policy, "--name", "up", busybox_image, "sh", "-c", script)
    waiting = nacre.start("wait", "up")
    until(
        lambda: nacre("logs", "up").out == "ready\n"
    )  # before its trap, the first process ignores the signal
    nacre("kill", "-s", "HUP", "up")  # once: between two runs a signal ends the waiting
    until(lambda: count(nacre, "up") >= 1)
    assert waiting.communicate()[0] == b"4\n"
    nacre("rm", "-f", "up")
    assert left(nacre) == []


def test_a_supervisor_killed_between_two_runs(nacre: Nacre, busybox_image: str) -> None:
    script = "test -e /n && exit 5; : >/n; sleep 3; exit 5"  # long enough to look at it
    nacre("run", "-d", "--restart", "always", "--name", "up", busybox_image, "sh", "-c", script)
    supervisor = parent(pid_of(nacre, "up"))
    until(lambda: count(nacre, "up") >= 3 and state(nacre, "up") == "restarting")
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: ended(supervisor))
    assert code_of(nacre, "up")[0] == "exited"
    assert code_of(nacre, "up")[1] in (5, 137)
    nacre("rm", "up")
    assert left(nacre) == []


def test_the_foreground_ends_with_the_first_run(nacre: Nacre, busybox_image: str) -> None:
    nacre.env["NACRE_NETWORK"] = "host"
    script = "echo once; test -e /done && exec sleep 1000; : >/done; exit 6"
    done = nacre("run", "--restart", "always", "--name", "up", busybox_image, "sh", "-c", script, check=False)
    assert (done.code, done.out) == (6, "once\n")
    until(lambda: state(nacre, "up") == "running")
    small(nacre, "up")
    assert count(nacre, "up") == 1
    nacre("rm", "-f", "up")
    assert left(nacre) == []


def test_restart(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "-d", "--name", "up", busybox_image, "sleep", "1000")
    before = pid_of(nacre, "up")
    assert nacre("restart", "-t", "0", "up").out == "up\n"
    assert pid_of(nacre, "up") not in (0, before)
    nacre("kill", "up")
    nacre("wait", "up")
    assert nacre("restart", "-s", "KILL", "up").out == "up\n"
    assert state(nacre, "up") == "running"
    nacre("rm", "-f", "up")


def test_restart_of_one_that_is_removed_when_it_ends(nacre: Nacre, busybox_image: str) -> None:
    """This end is none of those; what it has written is still there."""
    script = "test -e /n && echo again; : >/n; exec sleep 1000"
    number = nacre("run", "-d", "--rm", "--name", "gone", busybox_image, "sh", "-c", script).out.strip()
    for _ in range(2):
        assert nacre("restart", "-t", "0", "gone").out == "gone\n"
    until(lambda: nacre("logs", "gone").out.startswith("again\n"))
    assert os.listdir(nacre.root / "containers") == [number]
    nacre("kill", "gone")
    until(lambda: left(nacre) == [])


def test_one_that_cannot_start_says_why(nacre: Nacre, busybox_image: str) -> None:
    """As docker: no further attempt, the code of the last end, and State.Error until it runs again."""
    script = "test -e /n && exit 6; : >/n; rm /bin/sh; exit 5"
    nacre("run", "-d", "--restart", "always", "--name", "up", busybox_image, "sh", "-c", script)
    until(lambda: state(nacre, "up") == "exited")
    wrong = nacre("inspect", "-f", "{{.State.ExitCode}} {{.RestartCount}} {{.State.Error}}", "up").out
    assert (wrong.startswith("5 1 "), "sh" in wrong) == (True, True)
    nacre("create", "--name", "never", busybox_image, "/nosuch")
    assert nacre("start", "never", check=False).code == 1
    wrong = nacre("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}", "never").out
    assert (wrong.startswith("created 127 "), "/nosuch" in wrong) == (True, True)
    started = "{{.Action}}"
    told = nacre("events", "--since", "1", "--until", "0s", "-f", "container=never", "--format", started)
    assert told.lines == ["create"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--restart", "always", "--rm"], "cannot specify both --restart and --rm"),
        (["--restart", "often"], "unknown policy 'often'"),
    ],
)
def test_what_is_refused(nacre: Nacre, busybox_image: str, words: list[str], said: str) -> None:
    done = nacre("run", *words, busybox_image, "true", check=False)
    assert (done.code, said in done.err) == (125, True)


def boot_again(nacre: Nacre) -> None:
    """As if the machine had been switched off: nobody keeps anything, whatever the rows say."""
    with closing(sqlite3.connect(nacre.root / "nacre.db", isolation_level=None)) as database:
        database.execute("UPDATE container SET boot = 'before', pid = 1")


def test_after_a_start_of_the_machine(nacre: Nacre, busybox_image: str) -> None:
    policies = {"one": "always", "two": "unless-stopped", "three": "unless-stopped", "four": "no"}
    for name, policy in policies.items():
        nacre("run", "-d", "--restart", policy, "--name", name, busybox_image, "sleep", "1000")
    nacre("stop", "-t", "0", "three")
    supervisors = [parent(pid_of(nacre, name)) for name in ("one", "two", "four")]
    for pid in supervisors:
        os.kill(pid, signal.SIGKILL)
    until(lambda: all(map(ended, supervisors)))
    boot_again(nacre)
    assert set(states(nacre).values()) == {"exited"}
    wanted = [f"--filter=restart-policy={policy}" for policy in ("always", "unless-stopped")]
    assert sorted(nacre("start", "--all", *wanted).lines) == ["one", "two"]
    assert states(nacre) == {"one": "running", "two": "running", "three": "exited", "four": "exited"}
    assert sorted(nacre("start", "--all").lines) == ["four"]
    nacre("rm", "-f", "one", "two", "three", "four")
    assert left(nacre) == []


def test_start_needs_something(nacre: Nacre, busybox_image: str) -> None:
    assert nacre("start", check=False).code == 1
    assert nacre("start", "--all", "x", check=False).code != 0
