"""A build cache in GitHub's cache service: entries, signed links, block blobs."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from fakegithub import TOKEN, FakeGitHub

from nacre.services.client import Client, githubcache
from nacre.services.client.githubcache import GitHubCache
from nacre.words.digest import Digest
from nacre.words.errors import NotFound, Unauthorized
from nacre.words.oci import OCI_MANIFEST, Descriptor
from nacre.words.reference import Reference

ANY = Reference("image.invalid", "image")
MANIFEST = (
    b'{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"a/b","digest":"%s","size":1},"layers":[]}'
)


def manifest(text: bytes) -> bytes:
    return MANIFEST % (OCI_MANIFEST.encode(), Digest.of(text).encode())


@pytest.fixture
def service() -> Iterator[FakeGitHub]:
    with FakeGitHub().serving() as served:
        yield served


@pytest.fixture
def cache(service: FakeGitHub) -> Iterator[GitHubCache]:
    with Client() as client:
        yield GitHubCache(client.http, service.url, TOKEN, "main")


@pytest.mark.parametrize("size", [5, 100, 1000])
def test_blobs(cache: GitHubCache, service: FakeGitHub, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """In one piece or in blocks; one that is there is not sent again; read from any place."""
    monkeypatch.setattr(githubcache, "BLOCK", 100)
    data = bytes(range(256)) * 4
    blob = Descriptor.of(data[:size], "a/b")
    assert not cache.has(blob)
    with pytest.raises(NotFound):
        cache.fetch(blob)
    cache.put(blob, lambda: io.BytesIO(data))
    assert cache.has(blob)
    sent = service.uploads
    cache.put(blob, lambda: io.BytesIO(data))
    assert service.uploads == sent
    for offset in (0, size // 2):
        with cache.fetch(blob, offset) as reader:
            assert reader.read(-1) == data[offset:size]


def test_the_newest_manifest_of_a_scope(cache: GitHubCache, service: FakeGitHub) -> None:
    with pytest.raises(NotFound):
        cache.resolve(ANY)
    for text in (b"1", b"2", b"2"):
        cache.put_manifest("", manifest(text), OCI_MANIFEST)
    assert cache.resolve(ANY)[1] == manifest(b"2")
    assert len(service.entries) == 2
    with Client() as client, pytest.raises(NotFound):
        GitHubCache(client.http, service.url, TOKEN, "mai").resolve(ANY)


def test_a_token_that_is_refused(service: FakeGitHub) -> None:
    with Client() as client, pytest.raises(Unauthorized) as caught:
        GitHubCache(client.http, service.url, "wrong", "main").resolve(ANY)
    assert "wrong" not in caught.value.message


def test_from_job_to_job(project: Any, another: Any, service: FakeGitHub) -> None:
    project.write("Dockerfile", "FROM scratch AS a\nCOPY a /a\nFROM scratch\nCOPY --from=a /a /b\n")
    project.write("a", "text")
    job = {"ACTIONS_RESULTS_URL": service.url, "ACTIONS_RUNTIME_TOKEN": TOKEN}
    words = ("--cache-from", "type=gha,scope=x", "--cache-to", "type=gha,scope=x,mode=max")
    first = project.build("", *words, **job)
    assert "exporting cache to gha" in first.err
    assert TOKEN not in first.err
    found = another("far")("build", "-t", "app", *words, str(project.folder), **job)
    assert "nothing changed (2 cached)" in found.err
    outside = project.build("", *words)
    assert "WARNING: --cache-to type=gha ignored: ACTIONS_RESULTS_URL is not set" in outside.err
