"""Containers of ordinary users: their TCP is switched to sockets of this machine, and nothing else is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from switchlab import BRIDGE, IMAGE, SwitchLab
from world import OUTSIDE, OUTSIDE6


@pytest.mark.parametrize("host", [OUTSIDE, OUTSIDE6])
def test_every_way_to_connect(user_lab: SwitchLab, host: str) -> None:
    found = user_lab.inside("ways", host, user_lab.port("outside"), 1)
    said = f"outside {host}"
    assert found.pop("at first") in ("ok", "EINPROGRESS", "ECONNREFUSED")
    assert found == {
        "again": "EISCONN", "peer": host, "blocking": said, "refused": "ECONNREFUSED", "polled": said,
        "polled refused": "ECONNREFUSED", "timed": said, "retried": said, "dissolved": said,
    }  # fmt: skip


def test_what_a_socket_was_told_stays(user_lab: SwitchLab) -> None:
    found = user_lab.inside("kept", OUTSIDE, user_lab.port("outside"))
    assert found == {
        "options": [True] * 6, "times": True, "inheritable": True, "other": True, "blocking": True,
    }  # fmt: skip


def test_registered_with_epoll_before(user_lab: SwitchLab) -> None:
    found = user_lab.inside("early", OUTSIDE, user_lab.port("outside"))
    assert found == f"outside {OUTSIDE}"


def test_signals_interrupt_nothing(user_lab: SwitchLab) -> None:
    assert user_lab.inside("interrupted", OUTSIDE, user_lab.port("outside")) == [f"outside {OUTSIDE}"]


@pytest.mark.parametrize("user", ["root", "user"])
def test_own_loopback(user_lab: SwitchLab, user: str) -> None:
    found = user_lab.inside("home", 8080, options=(*BRIDGE, "-u", user))
    assert set(found.values()) == {"home", "ECONNREFUSED"}
    assert len(found) == 6


@pytest.mark.parametrize("user", ["root", "user"])
def test_unix_sockets(user_lab: SwitchLab, user: str) -> None:
    uid, gid, own, group = user_lab.inside("unix", options=(*BRIDGE, "-u", user))
    assert (uid, gid) == (own, group)


SIX = "--network", "six"


def _options(user_lab: SwitchLab, host: str) -> tuple[str, ...]:
    if ":" not in host:
        return BRIDGE
    user_lab.nacre("network", "create", "--subnet", "fd00:9::/64", "six")
    return SIX


@pytest.mark.parametrize("host", [OUTSIDE, OUTSIDE6])
def test_datagrams(user_lab: SwitchLab, host: str) -> None:
    options = _options(user_lab, host)
    found = user_lab.inside("datagrams", host, user_lab.port("outside"), options=options)
    assert found == {
        "1": [1, True], "1500": [1500, True], "60000": [60000, True], "segments": [500, 500, 500],
        "connected": "x", "nobody": "ECONNREFUSED",
    }  # fmt: skip


@pytest.mark.parametrize("host", [OUTSIDE, OUTSIDE6])
def test_ping(user_lab: SwitchLab, host: str) -> None:
    assert user_lab.inside("ping", host, options=_options(user_lab, host)) == [host, "data", 0]


def test_forged_packets_reach_nobody(user_lab: SwitchLab) -> None:
    """Neither to the loopback of the machine nor in the name of somebody else."""
    before = user_lab.world.seen()
    for port in ("secret", "outside"):
        assert "eth0" in user_lab.inside("forged", user_lab.port(port))
    options = _options(user_lab, OUTSIDE6)
    assert user_lab.inside("forged6", "fd00:9::2", user_lab.port("secret"), options=options) == "sent"
    assert user_lab.world.seen() == before


def test_loopback_of_the_machine_is_closed(user_lab: SwitchLab) -> None:
    before = user_lab.secrets()
    for host in ("127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::ffff:127.0.0.1", "::ffff:0.0.0.0", "::"):
        words = ("-c", f"import socket; socket.create_connection(({host!r}, {user_lab.port('secret')}))")
        found = user_lab.nacre(
            "run", "--rm", "--network", "bridge", *user_lab.python, IMAGE, *words, check=False
        )
        assert "ConnectionRefusedError" in found.err
    assert user_lab.secrets() == before


def test_no_way_back_from_a_switched_socket(user_lab: SwitchLab) -> None:
    """AF_UNSPEC, then MSG_FASTOPEN, connect, listen and bind."""
    before = user_lab.secrets()
    found = user_lab.inside("after_unspecified", OUTSIDE, user_lab.port("outside"), user_lab.port("secret"))
    assert found == {
        "sendto connected": "ENOTSUP", "sendto": "ENOTSUP",
        "sendmsg connected": "ENOTSUP", "sendmsg": "ENOTSUP",
        "connect connected": "EISCONN", "connect": "ECONNREFUSED",
        "listen connected": "EINVAL", "listen": "ok", "bind connected": "EINVAL", "bind": "ok",
    }  # fmt: skip
    assert user_lab.secrets() == before


def test_no_way_back_after_a_reset(user_lab: SwitchLab) -> None:
    before = user_lab.secrets()
    found = user_lab.inside("after_reset", OUTSIDE, user_lab.port("outside"), user_lab.port("secret"))
    assert found.pop("connect") in ("ECONNREFUSED", "ECONNRESET")
    assert found == {"sendto": "ENOTSUP", "listen": "EINVAL", "bind": "EINVAL"}
    assert user_lab.secrets() == before


def test_io_uring_is_refused(user_lab: SwitchLab) -> None:
    options = *BRIDGE, "--security-opt", "seccomp=unconfined"
    assert user_lab.inside("rings", options=options) == "ENOSYS"


def test_raced_address(user_lab: SwitchLab) -> None:
    before = user_lab.secrets()
    found = user_lab.inside("raced_address", OUTSIDE, user_lab.port("outside"), user_lab.port("secret"))
    assert set(found) <= {"outside", "ECONNREFUSED"}
    assert user_lab.secrets() == before


def test_raced_descriptor(user_lab: SwitchLab) -> None:
    """Without the refusal of the kernel's own the third attempt succeeds."""
    _needs_landlock()
    before = user_lab.secrets()
    found = user_lab.inside("raced_number", OUTSIDE, user_lab.port("outside"), user_lab.port("secret"), 3)
    assert sum(found.values()) > 100
    assert user_lab.secrets() == before


def _needs_landlock() -> None:
    from nacre.ground.network import landlock

    if not landlock.knows_tcp():
        pytest.skip("this kernel's Landlock knows nothing of TCP")


def test_32_bits(user_lab: SwitchLab) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("needs x86_64")
    before = user_lab.secrets()
    found = user_lab.inside("narrow", OUTSIDE, user_lab.port("outside"), user_lab.port("secret"))
    if "none" in found.values():
        pytest.skip("this kernel has no calls of 32 bits")
    assert found == {"connect": "EISCONN", "socketcall": "ENOSYS"}
    assert user_lab.secrets() == before


def test_one_more_program_is_switched_as_well(user_lab: SwitchLab) -> None:
    user_lab.nacre(
        "run", "-d", "--name", "one", "--network", "bridge", *user_lab.python[:-2], IMAGE, "sleep", "100"
    )
    before = user_lab.secrets()
    python = user_lab.python[-1]
    for user in ("root", "user"):
        words = "/inside.py", "talk", OUTSIDE, str(user_lab.port("outside"))
        assert user_lab.nacre("exec", "-u", user, "one", python, *words).json == f"outside {OUTSIDE}"
    words = "after_unspecified", OUTSIDE, str(user_lab.port("outside")), str(user_lab.port("secret"))
    found = user_lab.nacre("exec", "one", python, "/inside.py", *words).json
    assert found["sendto"] == "ENOTSUP"
    assert user_lab.secrets() == before


def test_one_more_program_sees_the_first(user_lab: SwitchLab) -> None:
    """What is read by way of ptrace: Landlock keeps programs of different domains apart."""
    user_lab.nacre("run", "-d", "--name", "one", *BRIDGE, "-e", "SEEN=yes", IMAGE, "sleep", "100")
    for words in (["exec"], ["exec", "--privileged"]):
        found = user_lab.nacre(*words, "one", "sh", "-c", "cat /proc/1/environ; readlink /proc/1/fd/0").out
        assert "SEEN=yes" in found
        assert found.endswith("/dev/null\n")


def test_one_more_program_ends_with_who_asked_for_it(user_lab: SwitchLab) -> None:
    user_lab.nacre("run", "-d", "--name", "one", *BRIDGE, IMAGE, "sleep", "100")
    started = user_lab.nacre.start("exec", "one", "sh", "-c", "echo begun; exec sleep 777")
    assert started.stdout.readline() == b"begun\n"
    started.kill()
    started.communicate()
    user_lab.until(lambda: "777" not in user_lab.nacre("exec", "one", "ps").out)


def test_nothing_of_the_zygote_is_left(user_lab: SwitchLab) -> None:
    """Neither when the container ends nor when its keeper is killed."""
    for name in ("ended", "killed"):
        user_lab.nacre("run", "-d", "--name", name, *BRIDGE, IMAGE, "sleep", "100")
        pid = user_lab.nacre("inspect", "-f", "{{.State.Pid}}", name).out.strip()
        others = _siblings(pid)
        assert len(others) == 2
        if name == "ended":
            user_lab.nacre("rm", "-f", name)
        else:
            user_lab.kill_keeper(name)
        user_lab.until(lambda others=others: not any(map(_runs, others)))


def _siblings(pid: str) -> list[str]:
    """The children of the keeper, the zygote among them."""
    keeper = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    return Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
