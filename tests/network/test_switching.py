"""Containers of ordinary users: their TCP is switched to sockets of this machine, and nothing else is."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from world import OUTSIDE, OUTSIDE6, World

IMAGE = "busybox:test"
BRIDGE = "--network", "bridge"
FOLDERS = ("/usr", "/lib", "/lib64", "/bin")
INSIDE = Path(__file__).with_name("inside.py")


class Lab:
    """`nacre` in a world of its own, with an image that has a shell; Python is this machine's."""

    def __init__(self, nacre: Any, world: World) -> None:
        self.nacre, self.world = nacre, world
        own = nacre.command
        nacre.command = lambda *words: world.command(own(*words))
        folders = {*(each for each in FOLDERS if os.path.isdir(each)), sys.base_prefix}
        self.python = [word for each in sorted(folders) for word in ("-v", f"{each}:{each}:ro")]
        self.python += ["-v", f"{INSIDE}:/inside.py:ro", "--entrypoint", os.path.realpath(sys.executable)]

    def inside(
        self, name: str, *arguments: object, options: tuple[str, ...] = ("--network", "bridge")
    ) -> Any:
        """What a function of `inside.py` finds in a new container."""
        words = [str(each) for each in arguments]
        return self.nacre("run", "--rm", *options, *self.python, IMAGE, "/inside.py", name, *words).json

    def port(self, name: str) -> int:
        return self.world.ports[name]

    def secrets(self) -> tuple[int, list[int]]:
        """What must never change: who came to the loopback of the machine, and what listens there."""
        seen = self.world.seen()
        return seen["secret"], seen["listening"]


@pytest.fixture
def lab(nacre: Any, busybox_tar: bytes) -> Iterator[Lab]:
    for program in ("nsenter", "unshare"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    try:
        world = World()
    except AssertionError as error:
        pytest.skip(str(error))
    made = Lab(nacre, world)
    nacre("import", "--change", "ENV PATH=/bin", "-", IMAGE, input=busybox_tar)
    yield made
    for row in nacre("ps", "-aq").lines:
        nacre("rm", "-f", row)
    world.close()


@pytest.mark.parametrize("host", [OUTSIDE, OUTSIDE6])
def test_every_way_to_connect(lab: Lab, host: str) -> None:
    found = lab.inside("ways", host, lab.port("outside"), 1)
    said = f"outside {host}"
    assert found.pop("at first") in ("ok", "EINPROGRESS", "ECONNREFUSED")
    assert found == {
        "again": "EISCONN", "peer": host, "blocking": said, "refused": "ECONNREFUSED", "polled": said,
        "polled refused": "ECONNREFUSED", "timed": said, "retried": said, "dissolved": said,
    }  # fmt: skip


def test_what_a_socket_was_told_stays(lab: Lab) -> None:
    found = lab.inside("kept", OUTSIDE, lab.port("outside"))
    assert found == {
        "options": [True] * 6, "times": True, "inheritable": True, "other": True, "blocking": True,
    }  # fmt: skip


def test_signals_interrupt_nothing(lab: Lab) -> None:
    assert lab.inside("interrupted", OUTSIDE, lab.port("outside")) == [f"outside {OUTSIDE}"]


@pytest.mark.parametrize("user", ["root", "user"])
def test_own_loopback(lab: Lab, user: str) -> None:
    found = lab.inside("home", 8080, options=(*BRIDGE, "-u", user))
    assert set(found.values()) == {"home", "ECONNREFUSED"}
    assert len(found) == 6


@pytest.mark.parametrize("user", ["root", "user"])
def test_unix_sockets(lab: Lab, user: str) -> None:
    uid, gid, own, group = lab.inside("unix", options=(*BRIDGE, "-u", user))
    assert (uid, gid) == (own, group)


def test_datagrams_reach_nobody(lab: Lab) -> None:
    assert lab.inside("datagram", OUTSIDE) == "ENETUNREACH"


def test_loopback_of_the_machine_is_closed(lab: Lab) -> None:
    before = lab.secrets()
    for host in ("127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::ffff:127.0.0.1", "::ffff:0.0.0.0", "::"):
        words = ("-c", f"import socket; socket.create_connection(({host!r}, {lab.port('secret')}))")
        found = lab.nacre("run", "--rm", "--network", "bridge", *lab.python, IMAGE, *words, check=False)
        assert "ConnectionRefusedError" in found.err
    assert lab.secrets() == before


def test_no_way_back_from_a_switched_socket(lab: Lab) -> None:
    """AF_UNSPEC, then MSG_FASTOPEN, connect, listen and bind."""
    before = lab.secrets()
    found = lab.inside("after_unspecified", OUTSIDE, lab.port("outside"), lab.port("secret"))
    assert found == {
        "sendto connected": "ENOTSUP", "sendto": "ENOTSUP",
        "sendmsg connected": "ENOTSUP", "sendmsg": "ENOTSUP",
        "connect connected": "EISCONN", "connect": "ECONNREFUSED",
        "listen connected": "EINVAL", "listen": "ok", "bind connected": "EINVAL", "bind": "ok",
    }  # fmt: skip
    assert lab.secrets() == before


def test_no_way_back_after_a_reset(lab: Lab) -> None:
    before = lab.secrets()
    found = lab.inside("after_reset", OUTSIDE, lab.port("outside"), lab.port("secret"))
    assert found.pop("connect") in ("ECONNREFUSED", "ECONNRESET")
    assert found == {"sendto": "ENOTSUP", "listen": "EINVAL", "bind": "EINVAL"}
    assert lab.secrets() == before


def test_io_uring_is_refused(lab: Lab) -> None:
    options = *BRIDGE, "--security-opt", "seccomp=unconfined"
    assert lab.inside("rings", options=options) == "ENOSYS"


def test_raced_address(lab: Lab) -> None:
    before = lab.secrets()
    found = lab.inside("raced_address", OUTSIDE, lab.port("outside"), lab.port("secret"))
    assert set(found) <= {"outside", "ECONNREFUSED"}
    assert lab.secrets() == before


def test_raced_descriptor(lab: Lab) -> None:
    """Without the refusal of the kernel's own the third attempt succeeds."""
    _needs_landlock()
    before = lab.secrets()
    found = lab.inside("raced_number", OUTSIDE, lab.port("outside"), lab.port("secret"), 3)
    assert sum(found.values()) > 100
    assert lab.secrets() == before


def _needs_landlock() -> None:
    from nacre.ground import linux

    try:
        version = linux.landlock_create_ruleset(b"", 1)
    except OSError:
        version = 0
    if version < 4:
        pytest.skip("this kernel's Landlock knows nothing of TCP")


def test_32_bits(lab: Lab) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("needs x86_64")
    before = lab.secrets()
    found = lab.inside("narrow", OUTSIDE, lab.port("outside"), lab.port("secret"))
    if "none" in found.values():
        pytest.skip("this kernel has no calls of 32 bits")
    assert found == {"connect": "EISCONN", "socketcall": "ENOSYS"}
    assert lab.secrets() == before


def test_one_more_program_is_switched_as_well(lab: Lab) -> None:
    lab.nacre("run", "-d", "--name", "one", "--network", "bridge", *lab.python[:-2], IMAGE, "sleep", "100")
    before = lab.secrets()
    python = lab.python[-1]
    for user in ("root", "user"):
        words = "/inside.py", "talk", OUTSIDE, str(lab.port("outside"))
        assert lab.nacre("exec", "-u", user, "one", python, *words).json == f"outside {OUTSIDE}"
    words = "after_unspecified", OUTSIDE, str(lab.port("outside")), str(lab.port("secret"))
    found = lab.nacre("exec", "one", python, "/inside.py", *words).json
    assert found["sendto"] == "ENOTSUP"
    assert lab.secrets() == before
