"""What the tests of copies share: images made on the spot, and ends to copy between."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "client"))

from fakeregistry import FakeRegistry

from nacre.services.client import Client, ClientConfig

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of a registry of ours, one for all tests."""
    line = [sys.executable, "-m", "nacre", "registry", "serve", "--quiet", "--addr", "127.0.0.1:0"]
    line += ["--root", str(tmp_path_factory.mktemp("registry"))]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://([^/]+)/v2/", process.stdout.readline())
        assert found is not None
        yield found[1]
        process.terminate()
        process.wait(30)


@pytest.fixture
def registry(host: str) -> str:
    """`host:port/path`, under which nothing is yet."""
    return f"{host}/t{next(_NUMBERS)}"


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    registry = FakeRegistry()
    yield registry
    registry.close()


@pytest.fixture
def other() -> Iterator[FakeRegistry]:
    registry = FakeRegistry()
    yield registry
    registry.close()


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(ClientConfig()) as made:
        yield made
