"""What the tests of copies share: images made on the spot, and ends to copy between."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "client"))

from fakeregistry import FakeRegistry

from nacre.services.client import Client, ClientConfig


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
