"""What the tests of this room share: one process that runs commands, and prepared stores to copy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nacre.ground import userns

sys.path += [str(Path(__file__).parents[1] / room) for room in ("client", "threats")]

from bench import Zygote, environment
from disk import Disk
from fakeregistry import FakeRegistry
from scenarios import write_inputs


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory, busybox_tar: bytes) -> Iterator[Zygote]:
    if not userns.mapped():
        try:
            userns.call(int)
        except Exception as error:
            pytest.skip(f"no user namespace here: {error}")
    folder = tmp_path_factory.mktemp("crash")
    write_inputs(folder, busybox_tar)
    made = Zygote(folder, environment(folder))
    yield made
    made.call("remove_stores", folder)
    made.close()


@pytest.fixture(scope="session")
def fake() -> Iterator[FakeRegistry]:
    registry = FakeRegistry()
    yield registry
    registry.close()


@pytest.fixture(scope="module")
def disk(peer: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    if not userns.mapped() or not Path("/dev/loop-control").exists():
        pytest.skip("a disk in a file needs root and loop devices")
    peer("mkfs.ext4", "mount", "umount")
    made = Disk(tmp_path_factory.mktemp("disk"))
    try:
        made.make(96 << 20)
    except AssertionError as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    yield made
    subprocess.run(["umount", "-l", str(made.place)], check=False, capture_output=True)  # if it failed
