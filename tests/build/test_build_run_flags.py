"""Flags of RUN that need something from outside: caches with a beginning, entitlements, agents."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

BASE = "FROM busybox:test\n"


def test_a_cache_begins_with_files(project: Any) -> None:
    """It keeps what steps add, and other files begin another cache."""
    stage = BASE.replace("\n", " AS begin\n") + "RUN mkdir -p -m 711 /from/d; echo one > /from/d/f\n"
    mount = "--mount=type=cache,id=x,from=begin,source=/from/d,target=/c"
    text = BASE + f"RUN {mount} stat -c %a /c > /seen; cat /c/* >> /seen; echo two > /c/g\n"
    project.build(stage + text)
    assert project.sh("cat /seen") == "711\none\n"
    project.build(stage + text, "--no-cache")
    assert project.sh("cat /seen") == "711\none\ntwo\n"
    project.build(stage.replace("echo one", "echo three") + text)
    assert project.sh("cat /seen") == "711\nthree\n"
    project.build(
        stage + BASE + "RUN --mount=type=cache,from=begin,target=/c,mode=700 ls -ld /c/from > /seen\n"
    )
    assert project.fails(stage + BASE + "RUN --mount=type=cache,source=/x,target=/c true\n").err.count(
        "source needs from"
    )
    said = project.fails(stage + BASE + f"RUN {mount.replace('/from/d', '/from/d/f')} true\n").err
    assert "is not a directory, so no cache can begin with it" in said


def test_entitlements(project: Any) -> None:
    text = BASE + "RUN --security=insecure grep CapEff /proc/self/status > /seen\n"
    said = project.fails(text).err
    assert "Dockerfile:2:1: RUN --security=insecure is not allowed\n" in said
    assert "hint: allow it with --allow security.insecure" in said
    project.build(text, "--allow", "security.insecure")
    wide = int(project.sh("cat /seen").split()[1], 16)
    project.build(text.replace("insecure", "sandbox", 1))
    narrow = int(project.sh("cat /seen").split()[1], 16)
    assert wide & narrow == narrow != wide
    text = BASE + "RUN --network=host true\n"
    project.build(text)
    assert "RUN --network=host is not allowed" in project.fails(text, "--network=none").err
    project.build(text, "--network=none", "--allow=network.host")
    said = project.fails(text, "--allow=network.hots").err
    assert "unknown entitlement network.hots\nhint: did you mean network.host?" in said
    assert "a build gets no devices" in project.fails(text, "--allow=device=vendor.com/gpu").err


def test_a_device_is_refused_by_name(project: Any) -> None:
    said = project.fails(BASE + "RUN --device=vendor.com/gpu=all true\n").err
    assert "Dockerfile:2:14: RUN --device=vendor.com/gpu=all is not supported" in said


class Agent:
    """Answers each connection with what it was asked, in capitals."""

    def __init__(self, path: Path) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                asker, _ = self.listener.accept()
                with asker:
                    while data := asker.recv(1000):
                        asker.sendall(data.upper())

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


@pytest.fixture
def agent() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agent"
        running = Agent(path)
        try:
            yield path
        finally:
            running.close()


ASK = """FROM host:python3
RUN --mount=type=ssh,mode=0606 stat -c '%a' $SSH_AUTH_SOCK > /seen; echo $SSH_AUTH_SOCK >> /seen
RUN --mount=type=ssh,required --mount=type=ssh,id=other,target=/run/other.sock <<EOF python3 -
import os, socket
with open("/answers", "w") as file:
    for path in (os.environ["SSH_AUTH_SOCK"], "/run/other.sock"):
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(path)
            one.sendall(b"hello")
            print(path, one.recv(100).decode(), file=file)
EOF
"""


def test_agents(project: Any, agent: Path) -> None:
    words = ("--ssh", "default", "--ssh", f"other={agent}")
    project.build(ASK, *words, SSH_AUTH_SOCK=str(agent))
    assert project.sh("cat /seen /answers; test ! -e /run/other.sock || ls -la /run") == (
        "606\n/run/buildkit/ssh_agent.0\n/run/buildkit/ssh_agent.0 HELLO\n/run/other.sock HELLO\n"
    )
    assert project.leftovers() == []
    assert "nothing changed (2 cached)" in project.build(ASK, *words, SSH_AUTH_SOCK=str(agent)).err


def test_agents_that_are_not_there(project: Any, tmp_path: Path) -> None:
    text = BASE + 'RUN --mount=type=ssh test -z "$SSH_AUTH_SOCK"\n'
    project.build(text)
    said = project.fails(text.replace("ssh ", "ssh,required,id=a ")).err
    assert "SSH agent a: not found\nhint: give it with --ssh a" in said
    assert "no socket" in project.fails(text, "--ssh=default", SSH_AUTH_SOCK="").err
    assert "no such file" in project.fails(text, f"--ssh=default={tmp_path}/none").err


def test_nothing_waits_for_the_disk(project: Any) -> None:
    """Neither fsync(2) of a program nor the end of the mount; the image is synced when it is whole."""
    project.build(BASE + "RUN grep ' / ' /proc/mounts > /seen; sync /seen\nRUN cat /seen > /other\n")
    root = project.sh("cat /other")
    assert "volatile" in root or " overlay " not in root
