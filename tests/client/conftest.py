from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from fakeregistry import FakeRegistry

from nacre.services.client import Client, ClientConfig, Limits, Policy
from nacre.services.client.ranges import Ranges

_CONFIG = """
version: 0.1
log: {{level: info}}
storage:
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:0"}}
"""


def registry_process(folder: Path, more: str = "") -> Iterator[str]:
    """`host:port` of a docker-registry that keeps its data in `folder`; `more` is added to its config."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed")
    (folder / "config.yml").write_text(_CONFIG.format(root=folder / "data") + more)
    with subprocess.Popen(
        [program, "serve", str(folder / "config.yml")], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            found = re.search(rb"listening on (127\.0\.0\.1:\d+)", line)
            if found:
                break
        else:
            pytest.fail("docker-registry did not start")
        drain = threading.Thread(target=_drain, args=(process.stderr,), daemon=True)
        drain.start()
        yield found[1].decode()
        process.terminate()
        process.wait(10)
        drain.join()  # nobody may close what it reads


def _drain(stream: IO[bytes]) -> None:
    while stream.read(1 << 16):
        pass


@pytest.fixture(scope="session")
def docker_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of docker's registry."""
    yield from registry_process(tmp_path_factory.mktemp("docker-registry"))


@pytest.fixture(scope="session")
def nacre_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of nacre's own registry."""
    folder = tmp_path_factory.mktemp("nacre-registry")
    command = [sys.executable, "-m", "nacre", "registry", "serve", "--quiet"]
    with subprocess.Popen(
        [*command, "--addr", "127.0.0.1:0", "--root", str(folder / "data")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        found = re.search(r"http://(127\.0\.0\.1:\d+)", process.stdout.readline())
        if not found:
            pytest.fail("nacre registry did not start")
        yield found[1]
        process.terminate()
        process.wait(10)


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    registry = FakeRegistry()
    yield registry
    registry.close()


class Pauses(list[float]):
    """Stands in for `time.sleep` and remembers how long it was asked to."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def connect(pauses: Pauses) -> Iterator[Callable[..., Client]]:
    """Clients that never sleep, notice a stall after 0.3 s, and never ask for a blob in parts."""
    made: list[Client] = []

    def make(**changes: Any) -> Client:
        policy = Policy(sleep=pauses, chance=lambda: 0.0)
        changes.setdefault("limits", Limits(connect=2.0, stall=0.3))
        changes.setdefault("ranges", Ranges(1))
        made.append(Client(ClientConfig(policy=changes.pop("policy", policy), **changes)))
        return made[-1]

    yield make
    for client in made:
        client.close()
