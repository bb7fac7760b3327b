"""Containers of crun and runc end with their supervisor, however it ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from test_commands import left, until
from test_confined import running
from test_supervisor import parent, pid_of

from nacre.ground import userns

if TYPE_CHECKING:
    from conftest import Nacre

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not userns.is_first(), reason="not every runtime works in a user namespace"
)


@pytest.fixture(params=["crun", "runc"])
def marked(
    nacre: Nacre, busybox_image: str, peer: Callable[..., None], request: pytest.FixtureRequest
) -> str:
    """An argument of the program in the container `up`."""
    peer(request.param)
    mark = f"1000.{os.getpid()}"
    nacre("run", "-d", "--name", "up", "--runtime", request.param, busybox_image, "sleep", mark)
    until(lambda: running(mark))
    return mark


@pytest.mark.parametrize("words", [("rm", "-f"), ("stop", "-t", "0"), ("kill",)])
def test_what_is_killed_is_gone(nacre: Nacre, marked: str, words: tuple[str, ...]) -> None:
    nacre(*words, "up")
    nacre("wait", "up", check=False)
    until(lambda: not running(marked))
    nacre("rm", "up", check=False)
    assert left(nacre) == []


def test_a_killed_supervisor_leaves_nothing(nacre: Nacre, marked: str) -> None:
    os.kill(parent(pid_of(nacre, "up")), signal.SIGKILL)
    until(lambda: "Exited (137)" in nacre("ps", "-a").out)
    until(lambda: not running(marked))
    nacre("rm", "up")
    assert left(nacre) == []
