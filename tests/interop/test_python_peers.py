"""Python's own clients: `oras` for artifacts, `docker` for a daemon. In both directions."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nacre.services.client import Client
from nacre.services.client.repository import Repository
from nacre.words.digest import Digest
from nacre.words.oci import OCI_MANIFEST, Descriptor, Index, Manifest, parse_document
from nacre.words.reference import Reference

from .conftest import Peer

SIGNATURE, TEXT = "application/vnd.example.signature", "text/plain"
EMPTY = "application/vnd.oci.empty.v1+json"


@pytest.fixture
def client() -> Iterator[Client]:
    with Client() as made:
        yield made


@pytest.fixture
def oras(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A client of oras-py that works in `tmp_path` and speaks plain HTTP."""
    module = pytest.importorskip("oras.client", reason="oras (PyPI) is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    made = module.OrasClient(insecure=True)
    yield made
    made.session.close()


@pytest.fixture
def lists_referrers(request: pytest.FixtureRequest) -> bool:
    """Ours does; docker's is older than that."""
    return bool(request.node.callspec.params["registry"] == "nacre")


def put(repository: Repository, data: bytes, media_type: str) -> Descriptor:
    found = Descriptor.of(data, media_type)
    repository.put(found, lambda: io.BytesIO(data))
    return found


def add(repository: Repository, target: str, content: bytes, subject: Descriptor | None = None) -> Descriptor:
    """An artifact of one text, about another one if `subject` is given."""
    layer = put(repository, content, TEXT).to_json()
    layer["annotations"] = {"org.opencontainers.image.title": "said.txt"}
    manifest = {
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": SIGNATURE,
        "config": put(repository, b"{}", EMPTY).to_json(), "layers": [layer],
    }  # fmt: skip
    if subject is not None:
        manifest["subject"] = subject.to_json()
    data = json.dumps(manifest).encode()
    repository.put_manifest(target, data, OCI_MANIFEST)
    return Descriptor(OCI_MANIFEST, Digest.of(data), len(data))


def test_oras_brings_what_refers_to_something(
    client: Client, oras: Any, registry: str, lists_referrers: bool, tmp_path: Path
) -> None:
    """It is found by what it refers to, where the registry lists that, and is read by its tag anywhere."""
    from oras.oci import Subject

    name = f"{registry}/team/artifacts"
    repository = client.repository(Reference.parse(name))
    about = add(repository, "about", b"what it is about")
    (tmp_path / "said.txt").write_bytes(b"signed")
    subject = Subject(about.media_type, str(about.digest), about.size)
    oras.push(target=f"{name}:signature", files=[f"said.txt:{TEXT}"], subject=subject, quiet=True)

    assert sorted(repository.tags()) == ["about", "signature"]
    found, data = repository.resolve(Reference.parse(f"{name}:signature"))
    manifest = parse_document(data, found.media_type)
    assert isinstance(manifest, Manifest)
    assert manifest.subject == about
    assert repository.read(manifest.layers[0]) == b"signed"
    if lists_referrers:
        assert [entry.digest for entry in repository.referrers(about.digest)] == [found.digest]


def test_oras_takes_what_refers_to_something(
    client: Client, oras: Any, registry: str, lists_referrers: bool, tmp_path: Path
) -> None:
    """Where the registry lists no referrers an index under a tag does, and oras reads that like any other."""
    name = f"{registry}/team/artifacts"
    repository = client.repository(Reference.parse(name))
    about = add(repository, "about", b"what it is about")
    signature = add(repository, "signature", b"signed", about)
    [path] = oras.pull(target=f"{name}:signature", outdir=str(tmp_path / "out"))
    assert Path(path).read_bytes() == b"signed"
    [listed] = repository.referrers(about.digest, SIGNATURE)
    assert (listed.digest, listed.artifact_type) == (signature.digest, SIGNATURE)
    tag = str(about.digest).replace(":", "-")
    assert (tag in oras.get_tags(name)) is not lists_referrers
    if not lists_referrers:
        index = oras.get_manifest(oras.get_container(f"{name}:{tag}"))
        assert [entry["digest"] for entry in index["manifests"]] == [signature.digest]


def test_oras_sends_and_takes_a_large_file_in_chunks(
    nacre: Any, client: Client, oras: Any, registry: str, tmp_path: Path
) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "large").write_bytes(data)
    name = f"{registry}/team/large:1"
    oras.push(target=name, files=[f"large:{TEXT}"], do_chunked=True, chunk_size=1 << 20, quiet=True)
    repository = client.repository(Reference.parse(name))
    manifest = parse_document(repository.resolve(Reference.parse(name))[1])
    assert not isinstance(manifest, Index)
    assert manifest.layers[0].digest == "sha256:" + hashlib.sha256(data).hexdigest()
    assert repository.read(manifest.layers[0]) == data
    refused = nacre("pull", name, check=False)
    assert refused.code == 1
    assert "not a container image but an artifact" in refused.err


# docker-py


@pytest.fixture
def docker_py(docker: Peer) -> Iterator[Any]:
    """docker-py, connected to the dockerd of these tests."""
    module = pytest.importorskip("docker", reason="docker (PyPI) is not installed")
    made = module.DockerClient(base_url=docker.words[2])
    yield made
    made.close()


@pytest.mark.parametrize("registry", ["nacre"], indirect=True)
def test_docker_py_takes_what_was_pushed(
    nacre: Any, busybox_image: str, registry: str, docker_py: Any
) -> None:
    name = f"{registry}/team/app:1"
    nacre("tag", busybox_image, name)
    nacre("push", name)
    image = docker_py.images.pull(name)
    [seen] = nacre("image", "inspect", name).json
    assert image.attrs["RootFS"]["Layers"] == seen["RootFS"]["Layers"]
    assert image.attrs["RepoDigests"] == seen["RepoDigests"]
    said = docker_py.containers.run(image, ["echo", "hello"], network_mode="none", remove=True)
    assert said == b"hello\n"


@pytest.mark.parametrize("registry", ["nacre"], indirect=True)
def test_what_docker_py_pushed_is_taken(
    nacre: Any, busybox_tar: bytes, registry: str, tmp_path: Path, docker_py: Any
) -> None:
    repository = f"{registry}/from/docker-py"
    (tmp_path / "root.tar").write_bytes(busybox_tar)
    docker_py.api.import_image_from_file(str(tmp_path / "root.tar"), repository=repository, tag="1")
    for line in docker_py.images.push(repository, tag="1", stream=True, decode=True):
        assert "error" not in line, line
    nacre("pull", f"{repository}:1")
    assert nacre("run", "--rm", f"{repository}:1", "/bin/echo", "pulled").out == "pulled\n"
