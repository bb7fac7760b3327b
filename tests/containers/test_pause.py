"""A container that stands still for somebody who may be killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nacre.ground import userns

ASKER = """
import os, signal, sys
from nacre.ground import userns
from nacre.services.containers.keeper import Paused
if sys.argv[2] == "inside":
    userns.enter()
with Paused(sys.argv[1]):
    print("paused", flush=True)
    sys.stdin.read(1)
"""


class Up:
    """A container of three processes."""

    def __init__(self, nacre: Any, image: str) -> None:
        self.nacre = nacre
        self.id = nacre("run", "-d", image, "sh", "-c", "sleep 1000 & sleep 1001 & wait").out.strip()
        self.folder = nacre.root / "containers" / self.id
        self.pid = nacre("inspect", "--format", "{{.State.Pid}}", self.id).out.strip()
        self.askers: list[subprocess.Popen[bytes]] = []

    def states(self) -> set[str]:
        """Of its first process and those that this one has started, as in proc(5)."""
        return {_state(pid) for pid in (self.pid, *self._children())}

    def _children(self) -> list[str]:
        return Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()

    def ask(self, where: str = "outside") -> subprocess.Popen[bytes]:
        words = [sys.executable, "-P", "-c", ASKER, str(self.folder), where]
        asker = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.askers.append(asker)
        assert asker.stdout is not None
        assert asker.stdout.readline() == b"paused\n"
        return asker

    def close(self) -> None:
        for asker in self.askers:
            asker.kill()
            asker.communicate()
        self.nacre("rm", "-f", self.id)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def _state(pid: str) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.fixture
def up(nacre: Any, busybox_image: str) -> Iterator[Up]:
    made = Up(nacre, busybox_image)
    yield made
    made.close()


def test_it_goes_on_when_the_asker_is_killed(up: Up) -> None:
    assert up.states() == {"S"}
    asker = up.ask()
    assert up.states() == {"T"}
    asker.kill()
    until(lambda: up.states() == {"S"})
    assert not list(up.folder.glob("pause.*"))


def test_it_stands_until_the_last_has_gone(up: Up) -> None:
    first, second = up.ask(), up.ask()
    first.communicate(b".")
    assert first.returncode == 0
    assert up.states() == {"T"}
    up.ask().communicate(b".")
    assert up.states() == {"T"}
    second.kill()
    until(lambda: up.states() == {"S"})


def test_what_stood_before_stays(up: Up) -> None:
    up.nacre(
        "exec",
        up.id,
        "sh",
        "-c",
        "kill -STOP $(ps | grep 'sleep 100' | grep -v grep | sed 's/^ *//;s/ .*//')",
    )
    until(lambda: up.states() == {"S", "T"})  # a signal is only sent: it takes effect when they run
    up.ask().communicate(b".")
    until(lambda: up.states() == {"S", "T"})


def test_it_can_be_ended_meanwhile(up: Up) -> None:
    up.ask()
    assert up.nacre("stop", "-t", "0", up.id).code == 0
    up.ask("outside")  # nothing stands still


def test_an_asker_in_a_namespace_of_its_own(up: Up) -> None:
    if userns.mapped():
        pytest.skip("needs an ordinary user")
    up.ask("inside")
    assert up.states() == {"T"}


@pytest.mark.parametrize(
    "name", ["pause.none", "pause.link", "pause.file", "pause./../lock", "lock", "", "x" * 900]
)
def test_names_that_are_no_fifo_of_an_asker(up: Up, name: str) -> None:
    (up.folder / "pause.link").symlink_to("control")
    (up.folder / "pause.file").touch()
    with (up.folder / "control").open("wb", buffering=0) as control:
        control.write(f"pause:{name}\n".encode())
    up.ask().communicate(b".")
    until(lambda: up.states() == {"S"})


def test_an_asker_that_is_gone_before_it_is_heard(up: Up) -> None:
    os.mkfifo(up.folder / "pause.gone", 0o600)
    with (up.folder / "control").open("wb", buffering=0) as control:
        control.write(b"pause:pause.gone\n")
    up.ask().communicate(b".")
    until(lambda: up.states() == {"S"})
