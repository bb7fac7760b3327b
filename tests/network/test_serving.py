"""The thread of a keeper that serves its container's network."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from lab import Lab
from waiting import until

from nacre.ground import linux
from nacre.ground.network import namespaces, serving
from nacre.ground.network.serving import Serving
from nacre.words.errors import SandboxError

IMAGE = "busybox:test"
COUNTED = """
import os, sys
noted = sys.argv.pop(1)
def count():
    with open(noted, "a") as file:
        print(len(os.listdir("/proc/self/task")), file=file)
os.register_at_fork(before=count)
from nacre.cli.main import entry
entry()
"""


def test_nothing_forks_beside_the_thread(lab: Lab, nacre: Any, tmp_path: Path) -> None:
    """Of a terminal that is made raw a child takes care."""
    ours, theirs = os.openpty()
    noted = tmp_path / "threads"
    words = ["run", "--rm", "-it", "--network", "bridge", "-p", "127.0.0.1::80", IMAGE, "true"]
    own = lab.command(*words)
    command = [*own[: own.index("-P")], "-P", "-c", COUNTED, str(noted), *own[own.index("--root") :]]
    done = subprocess.run(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=nacre.env, cwd=nacre.folder, timeout=60
    )
    os.close(theirs)
    assert done.returncode == 0, os.read(ours, 4096)
    os.close(ours)
    counts = noted.read_text().split()
    assert len(counts) >= 2
    assert set(counts) == {"1"}


def test_a_round_is_made_once_a_second_at_most() -> None:
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    served, rounds, seen = Serving(), [], []
    served.watch(reader, lambda: seen.append(os.read(reader, 1)))
    served.now_and_then(lambda: rounds.append(time.monotonic()))
    served.begin()
    for _ in range(50):
        seen.clear()
        os.write(writer, b".")
        until(lambda: seen)
    served.end()
    assert len(rounds) <= 1 + rounds[-1] - rounds[0]
    os.close(reader)
    os.close(writer)


def test_a_number_that_has_become_another_is_not_called() -> None:
    """Whichever of two is called first replaces the other by one that is not ready."""
    served, called, wrong = Serving(), [], []
    pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
    (one, _), (two, _), (empty, _) = pipes

    def replace(own: int, other: int) -> None:
        called.append(own)
        for each in (own, other):
            served.forget(each)
        os.dup2(empty, other, inheritable=False)
        served.watch(other, lambda: wrong.append(other))

    for own, other in ((one, two), (two, one)):
        served.watch(own, lambda own=own, other=other: replace(own, other))
        os.write(pipes[own == two][1], b".")
    served.begin()
    until(lambda: called)
    served.end()
    assert (len(called), wrong) == (1, [])
    for end in (each for pipe in pipes for each in pipe):
        os.close(end)


def test_who_waits_is_called_again_soon() -> None:
    served, rounds = Serving(), []

    def waits() -> bool:
        rounds.append(time.monotonic())
        return True

    served.now_and_then(waits)
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    served.watch(reader, lambda: os.read(reader, 1))
    served.begin()
    os.write(writer, b".")
    until(lambda: len(rounds) > 1)
    served.end()
    assert rounds[1] - rounds[0] < 9
    os.close(reader)
    os.close(writer)


def test_no_thread_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(serving, "start_new_thread", refuse)
    served = Serving()
    with pytest.raises(SandboxError, match="cannot serve the network of the container"):
        served.begin()
    served.end()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EMFILE, errno.EPERM])
def test_no_namespace_to_be_had(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(linux, "unshare", refuse)
    with pytest.raises(SandboxError, match="network namespace"):
        namespaces.new()


def test_a_resolver_that_cannot_be_is_one_sentence(lab: Lab, nacre: Any) -> None:
    """Too few descriptors, wherever that strikes, are no traceback."""
    lab("network", "create", "net")
    command = lab.command("run", "--rm", "--network", "net", "-p", "127.0.0.1::80", IMAGE, "true")
    for limit in range(12, 40):
        limited = ["prlimit", f"--nofile={limit}:{limit}", *command]
        done = subprocess.run(limited, env=nacre.env, cwd=nacre.folder, capture_output=True, text=True)
        assert "Traceback" not in done.stderr, (limit, done.stderr)
    until(lab.is_empty)
