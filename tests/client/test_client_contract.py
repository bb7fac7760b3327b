from __future__ import annotations

from collections.abc import Callable

import pytest
from contract import RepositoryContract
from fakeregistry import FakeRegistry

from nacre.services.client import Client, TransportLimits


@pytest.fixture
def client(connect: Callable[..., Client]) -> Client:
    return connect(limits=TransportLimits())


class TestFake(RepositoryContract):
    @pytest.fixture
    def host(self, fake: FakeRegistry) -> str:
        return fake.host

    test_manifest_over_missing_blobs_is_refused = None  # the fake takes everything


class TestDockerRegistry(RepositoryContract):
    @pytest.fixture
    def host(self, docker_registry: str) -> str:
        return docker_registry


class TestNacreRegistry(RepositoryContract):
    @pytest.fixture
    def host(self, nacre_registry: str) -> str:
        return nacre_registry
