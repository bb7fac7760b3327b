from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakeregistry import FakeRegistry

from nacre.services.client import Client, ClientConfig, Limits, Policy

_CONFIG = """
version: 0.1
log: {{level: info}}
storage:
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:0"}}
"""


@pytest.fixture(scope="session")
def docker_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of docker's registry."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed")
    folder: Path = tmp_path_factory.mktemp("docker-registry")
    (folder / "config.yml").write_text(_CONFIG.format(root=folder / "data"))
    with subprocess.Popen(
        [program, "serve", str(folder / "config.yml")],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            found = re.search(r"listening on (127\.0\.0\.1:\d+)", line)
            if found:
                break
        else:
            pytest.fail("docker-registry did not start")
        threading.Thread(target=process.stderr.read, daemon=True).start()
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
    """Clients that never sleep and notice a stall after 0.3 s."""
    made: list[Client] = []

    def make(**changes: Any) -> Client:
        policy = Policy(sleep=pauses, chance=lambda: 0.0)
        changes.setdefault("limits", Limits(connect=2.0, stall=0.3))
        made.append(Client(ClientConfig(policy=changes.pop("policy", policy), **changes)))
        return made[-1]

    yield make
    for client in made:
        client.close()
