"""A signal at every line of every child: it never goes on as its parent, and nothing is left of it.

A tracer sends SIGTERM to the process that is at the nth line of the code that forks, parent and child alike.
Whatever comes of it, one process does what comes after the fork, all others end, and an answer is the right
one or an error. The same for every system call that a child makes and that fails.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import interruptions
import pytest
from boxes import Box, make_box, remove
from interruptions import WAYS


def wrong(kind: str, way: str, container: object = None) -> list[str]:
    """What a process of its own finds."""
    command = [sys.executable, interruptions.__file__, kind, way]
    done = subprocess.run(command, input=pickle.dumps(container), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().splitlines()


@pytest.mark.parametrize("name", WAYS)
def test_a_signal_at_every_line(name: str) -> None:
    assert wrong("signals", name) == []


@pytest.mark.parametrize("name", WAYS)
def test_an_error_at_every_system_call(name: str) -> None:
    assert wrong("errors", name) == []


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    folder = tmp_path / "box"
    folder.mkdir()
    yield make_box(folder)
    remove(folder)


@pytest.mark.parametrize("init", [False, True])
@pytest.mark.parametrize(("kind", "command"), [("signals", ["true"]), ("errors", ["echo", "ran"])])
def test_it_is_the_same_for_a_container(box: Box, kind: str, command: list[str], init: bool) -> None:
    """It runs, or an error says why it does not."""
    container = box.config(*command, init=init), box.mount, str(box.folder / "said")
    assert wrong(kind, "container", container) == []
