from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fakeregistry import FakeRegistry
from registries import registry_process

from nacre.services.client import Client, ClientConfig, Policy, TransportLimits
from nacre.services.client.ranges import Ranges


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
        process.wait(60)


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
    """Clients that never sleep, call a minute a stall, and never ask for a blob in parts."""
    made: list[Client] = []

    def make(**changes: Any) -> Client:
        policy = Policy(sleep=pauses, chance=lambda: 0.0)
        changes.setdefault("limits", TransportLimits(connect=60.0, stall=60.0))
        changes.setdefault("ranges", Ranges(1))
        made.append(Client(ClientConfig(policy=changes.pop("policy", policy), **changes)))
        return made[-1]

    yield make
    for client in made:
        client.close()
