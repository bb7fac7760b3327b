"""Networks of detached containers, after the small process has taken over: it serves them when asked."""

from __future__ import annotations

import os
import signal

import pytest
from lab import MACHINE, OUTSIDE, Lab, ask
from waiting import until

IMAGE = "busybox:test"


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def test_rules_need_nobody(lab: Lab) -> None:
    lab.run("--name", "c1", "--network", "bridge", "-p", "8080:80")
    pid = lab.small_keeper("c1")
    with lab.serving("c1", 80):
        assert ask(lab.outside, MACHINE, 8080) == f"c1 {OUTSIDE}"
        assert threads(pid) == 1
        assert ask(lab.machine, "127.0.0.1", 8080) == ask(lab.machine, "::1", 8080) == "c1 10.90.0.1"
        assert threads(pid) > 1
    assert lab.keeper("c1") == pid
    assert lab("port", "c1").lines == ["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080"]
    lab("rm", "-f", "c1")
    until(lab.is_empty)
    lab("run", "--rm", "--network", "bridge", "-p", "8080:80", IMAGE, "true")


def test_names(lab: Lab) -> None:
    lab("network", "create", "shop")
    for name in ("aa", "bb"):
        lab.run("--name", name, "--network", "shop")
    pid = lab.small_keeper("bb")
    lab.small_keeper("aa")
    assert "10.90.0.2" in lab("exec", "bb", "busybox", "nslookup", "aa").out
    assert threads(pid) > 1
    lab("rm", "-f", "aa", "bb")
    until(lab.is_empty)


def test_join_and_leave(lab: Lab) -> None:
    """Also of a container that had no name server; all of it is gone at the end."""
    lab("network", "create", "shop")
    lab.run("--name", "aa", "--network", "shop")
    lab.run("--name", "bb", "--network", "bridge", "-p", "8080:80")
    lab.small_keeper("bb")
    lab("network", "connect", "--alias", "www", "shop", "bb")
    with lab.serving("bb", 81), lab.namespace("aa") as other:
        assert ask(other, lab.address("bb", "shop"), 81) == f"bb {lab.address('aa', 'shop')}"
    assert lab.address("aa", "shop") in lab("exec", "bb", "busybox", "nslookup", "aa").out
    lab("network", "disconnect", "bridge", "bb")
    with lab.serving("bb", 80):
        assert ask(lab.outside, MACHINE, 8080) == f"bb {OUTSIDE}"
    lab("stop", "-t", "0", "bb")
    assert lab("ps", "-aq", "--filter", "status=exited").out
    lab("start", "bb")
    lab.small_keeper("bb")
    lab("rm", "-f", "aa", "bb")
    until(lab.is_empty)


@pytest.mark.parametrize("woken", [False, True])
def test_a_killed_one_leaves_nothing(lab: Lab, woken: bool) -> None:
    lab("network", "create", "shop")
    lab.run("--name", "c1", "--network", "shop", "-p", "8080:80")
    pid = lab.small_keeper("c1")
    if woken:
        assert "127.0.0.11" in lab("exec", "c1", "busybox", "nslookup", "c1").out
    os.kill(pid, signal.SIGKILL)
    until(lab.is_empty)
    assert lab("inspect", "-f", "{{.State.ExitCode}}", "c1").out == "137\n"


def test_an_end_cleans_up_and_a_policy_begins_again(lab: Lab) -> None:
    lab.run("--name", "c1", "--network", "bridge", "-p", "8080:80", "--restart", "always")
    pid = lab.small_keeper("c1")
    before = lab.pid("c1")
    os.kill(before, signal.SIGKILL)
    until(lambda: lab.pid("c1") not in (0, before))
    assert lab.keeper("c1") == pid
    with lab.serving("c1", 80):
        assert ask(lab.outside, MACHINE, 8080) == f"c1 {OUTSIDE}"
    lab("rm", "-f", "c1")
    until(lab.is_empty)
