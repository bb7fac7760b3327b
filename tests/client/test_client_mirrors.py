"""Mirrors: asked in order, passed over when they are down or lie, never written to."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator

import pytest
from contract import descriptor, image
from fakeregistry import FakeRegistry, digest_of

from nacre.grammars.config import MirrorSettings, RegistrySection, Settings
from nacre.services.client import Client, Repository, TransportLimits
from nacre.words.errors import DigestMismatch, NotFound, RegistryError, Unreachable
from nacre.words.oci import OCI_MANIFEST
from nacre.words.reference import Reference

DATA = os.urandom(6_000_000)
Connect = Callable[..., Client]


@pytest.fixture
def mirror() -> Iterator[FakeRegistry]:
    registry = FakeRegistry()
    yield registry
    registry.close()


@pytest.fixture
def notices() -> list[str]:
    return []


@pytest.fixture
def repository(fake: FakeRegistry, mirror: FakeRegistry, connect: Connect, notices: list[str]) -> Repository:
    """`fake`/app with `mirror`/copy in front of it; both have DATA and the tag 1."""
    section = RegistrySection(fake.host, mirrors=(MirrorSettings(f"{mirror.host}/copy"),))
    client = connect(limits=TransportLimits(), settings=Settings((section,)), notice=notices.append)
    plain = connect(limits=TransportLimits())
    for registry, name in ((fake, "app"), (mirror, "copy/app")):
        registry.add_blob(name, DATA)
        data = image(plain.repository(Reference.parse(f"{registry.host}/{name}")), b"layer")
        registry.add_manifest(name, "1", data, OCI_MANIFEST)
        registry.requests.clear()
    return client.repository(Reference.parse(f"{fake.host}/app"))


def tag(fake: FakeRegistry) -> Reference:
    return Reference.parse(f"{fake.host}/app:1")


def read(repository: Repository, data: bytes = DATA, offset: int = 0) -> bytes:
    with repository.fetch(descriptor(data), offset) as reader:
        return (
            reader.read(-1)
            if hasattr(reader, "fileno")
            else b"".join(iter(lambda: reader.read(1 << 20), b""))
        )


def test_the_mirror_is_asked_alone(fake: FakeRegistry, mirror: FakeRegistry, repository: Repository) -> None:
    assert repository.where == f"{fake.host}/app"
    repository.resolve(tag(fake))
    assert read(repository) == DATA
    assert read(repository, b"layer") == b"layer"
    assert not fake.requests
    assert len(mirror.sent("GET", "/v2/copy/app/")) == 3


def test_writes_go_to_the_registry(fake: FakeRegistry, mirror: FakeRegistry, repository: Repository) -> None:
    repository.put(descriptor(b"new"), lambda: io.BytesIO(b"new"))
    assert not repository.has(descriptor(b"other"))
    assert ("app", digest_of(b"new")) in fake.blobs
    assert list(repository.tags()) == ["1"]
    assert not mirror.requests


def test_what_a_mirror_lacks(fake: FakeRegistry, mirror: FakeRegistry, repository: Repository) -> None:
    mirror.manifests.clear()
    mirror.blobs.clear()
    repository.resolve(tag(fake))
    assert read(repository) == DATA
    assert len(mirror.sent("GET", "/v2/copy/app/")) == 2, "to lack something is no reason to be passed over"


def test_a_mirror_that_is_down(
    fake: FakeRegistry, mirror: FakeRegistry, repository: Repository, notices: list[str], pauses: list[float]
) -> None:
    mirror.close()
    repository.resolve(tag(fake))
    assert read(repository) == DATA
    assert len(notices) == 1
    assert f"mirror {mirror.host} is skipped: cannot connect" in notices[0]
    assert not pauses


@pytest.mark.parametrize("status", [403, 500, 418])
def test_a_mirror_that_refuses(
    fake: FakeRegistry, mirror: FakeRegistry, repository: Repository, notices: list[str], status: int
) -> None:
    mirror.on("GET", "/blobs/", lambda x: x.reply(status), times=100)
    assert read(repository) == DATA
    assert len(notices) == 1


def test_a_mirror_that_breaks_off(
    fake: FakeRegistry, mirror: FakeRegistry, repository: Repository, notices: list[str]
) -> None:
    """The rest comes from the registry, and only the rest."""

    def short(x: object) -> bool:
        x.reply(200, DATA[:2_500_000], content_length=str(len(DATA)))  # type: ignore[attr-defined]
        mirror.on("GET", "/blobs/", lambda x: x.cut(), times=100)
        return x.cut()  # type: ignore[attr-defined, no-any-return]

    mirror.on("GET", "/blobs/", short)
    assert read(repository) == DATA
    assert int(fake.sent("GET", "/blobs/")[0]["Range"][6:-1]) >= 1_000_000
    assert len(notices) == 1


def test_a_small_lie_is_found_at_once(
    fake: FakeRegistry, mirror: FakeRegistry, repository: Repository, notices: list[str]
) -> None:
    mirror.blobs["copy/app", digest_of(b"layer")] = b"LAYER"
    assert read(repository, b"layer") == b"layer"
    assert "digest" in notices[0]
    assert read(repository) == DATA
    assert len(mirror.sent("GET", "/blobs/")) == 1


def test_a_big_lie_is_for_the_caller_to_find(
    fake: FakeRegistry, mirror: FakeRegistry, repository: Repository, notices: list[str]
) -> None:
    mirror.blobs["copy/app", digest_of(DATA)] = bytes(len(DATA))
    assert read(repository) != DATA
    assert repository.doubt(descriptor(DATA).digest)
    assert read(repository) == DATA
    assert not repository.doubt(descriptor(DATA).digest), "there is nobody left to ask"
    assert len(notices) == 1


def test_a_range(fake: FakeRegistry, mirror: FakeRegistry, repository: Repository) -> None:
    mirror.ranges = False
    with repository.fetch_range(descriptor(DATA), 1000, 2000) as reader:
        assert reader.read(5000) == DATA[1000:2000]
    assert mirror.sent("GET", "/blobs/")
    assert fake.sent("GET", "/blobs/")


def test_a_manifest_that_lies(
    fake: FakeRegistry, mirror: FakeRegistry, repository: Repository, notices: list[str]
) -> None:
    """By digest nothing else is taken; by tag the mirror decides, that is what it is for."""
    media_type, data = fake.manifests["app", "1"]
    mirror.manifests["copy/app", digest_of(data)] = (media_type, data.replace(b"amd64", b"arm64") + b" ")
    pinned = Reference.parse(f"{fake.host}/app@{digest_of(data)}")
    assert repository.resolve(pinned)[1] == data
    assert len(notices) == 1


def test_the_error_of_the_registry_is_told(
    fake: FakeRegistry, mirror: FakeRegistry, repository: Repository
) -> None:
    with pytest.raises(NotFound, match=fake.host):
        repository.resolve(Reference.parse(f"{fake.host}/app:none"))
    fake.blobs["app", digest_of(b"layer")] = mirror.blobs["copy/app", digest_of(b"layer")] = b"LAYER"
    with pytest.raises(DigestMismatch):
        read(repository, b"layer")


def test_a_mirror_for_digests_only(fake: FakeRegistry, mirror: FakeRegistry, connect: Connect) -> None:
    section = RegistrySection(fake.host, mirrors=(MirrorSettings(mirror.host, asked="digest-only"),))
    repository = connect(limits=TransportLimits(), settings=Settings((section,))).repository(
        Reference.parse(f"{fake.host}/app")
    )
    with pytest.raises(NotFound):
        repository.resolve(tag(fake))
    assert not mirror.requests
    with pytest.raises(NotFound):
        repository.fetch(descriptor(DATA))
    assert mirror.sent("GET", digest_of(DATA))


def test_a_name_that_lies_elsewhere(fake: FakeRegistry, connect: Connect) -> None:
    section = RegistrySection("virtual.example/team", location=f"{fake.host}/real")
    client = connect(limits=TransportLimits(), settings=Settings((section,)))
    reference = Reference.parse("virtual.example/team/app:1")
    repository = client.repository(reference)
    data = image(repository, b"layer")
    repository.put_manifest("1", data, OCI_MANIFEST)
    assert fake.manifests["real/app", "1"][1] == data
    assert repository.resolve(reference)[1] == data
    assert repository.where == "virtual.example/team/app"
    other = client.repository(Reference.parse("virtual.example/team/other"))
    assert other.mount(descriptor(b"layer"), [repository.where]) == repository.where


def test_blocked(connect: Connect) -> None:
    client = connect(
        limits=TransportLimits(), settings=Settings((RegistrySection("a.example", "c.toml:3", blocked=True),))
    )
    with pytest.raises(RegistryError, match=r"a\.example/x is blocked by c\.toml:3"):
        client.repository(Reference.parse("a.example/x"))


def test_a_host_that_is_down_is_not_asked_for_other_repositories(
    fake: FakeRegistry, connect: Connect, notices: list[str]
) -> None:
    section = RegistrySection(fake.host, mirrors=(MirrorSettings("127.0.0.1:1"),))
    client = connect(limits=TransportLimits(), settings=Settings((section,)), notice=notices.append)
    for name in ("a", "b"):
        with pytest.raises(NotFound):
            client.repository(Reference.parse(f"{fake.host}/{name}")).resolve(
                Reference.parse(f"{fake.host}/{name}")
            )
    assert len(notices) == 1


def test_everything_is_down(connect: Connect) -> None:
    section = RegistrySection("127.0.0.1:2", mirrors=(MirrorSettings("127.0.0.1:1"),))
    repository = connect(limits=TransportLimits(), settings=Settings((section,))).repository(
        Reference.parse("127.0.0.1:2/x")
    )
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:2"):
        repository.resolve(Reference.parse("127.0.0.1:2/x"))
