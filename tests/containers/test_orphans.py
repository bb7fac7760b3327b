"""Programs whose command was killed, where the first process of the machine waits for no orphan."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from machine import needs_root
from test_commands import left
from waiting import until

if TYPE_CHECKING:
    from conftest import Nacre

POD = """
import ctypes, os, signal, subprocess, sys, time

def pod(*words):  # as the first process of a pod that waits for nobody but its own
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    started = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True)
    assert started.stdout.readline() == b"ready\\n"
    (os.killpg if GROUP else os.kill)(started.pid, signal.SIGKILL)
    started.wait()
    print("killed", flush=True)
    sys.stdin.read()

GROUP = sys.argv[1] == "group"
pod(*sys.argv[2:])
"""


def processes(nacre: Nacre, name: str) -> list[str]:
    return [line.split()[-2] for line in nacre("exec", name, "ps").lines[1:]]


@pytest.mark.parametrize("whom", ["command", "group"])
@pytest.mark.parametrize(
    "words",
    [("exec", "up"), ("run", "--rm", "--pid", "container:up", "IMAGE")],
    ids=["exec", "run in its namespace"],
)
def test_a_killed_command_does_not_keep_the_container(
    nacre: Nacre, busybox_image: str, words: tuple[str, ...], whom: str
) -> None:
    if words[0] == "run":
        needs_root()
    nacre("run", "-d", "--name", "up", busybox_image, "sleep", "1000")
    line = [busybox_image if word == "IMAGE" else word for word in words]
    command = nacre.command(*line, "sh", "-c", "echo ready; exec sleep 999")
    pod = subprocess.Popen(
        [sys.executable, "-c", POD, whom, *command], env=nacre.env, stdin=-1, stdout=-1, stderr=-1
    )
    try:
        assert pod.stdout
        assert pod.stdout.readline() == b"killed\n", pod.communicate()
        until(lambda: "999" not in nacre("exec", "up", "ps").out)
        assert nacre("rm", "-f", "up", timeout=60).out == "up\n"
        nacre("ps", "-a")  # removes what a killed `--rm` left
        assert left(nacre) == []
    finally:
        pod.communicate()


def test_codes_of_an_exec(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "-d", "--name", "up", busybox_image, "sleep", "1000")
    try:
        assert nacre("exec", "up", "sh", "-c", "exit 5", check=False).code == 5
        assert nacre("exec", "up", "sh", "-c", "kill -9 $$", check=False).code == 137
    finally:
        nacre("rm", "-f", "up")
