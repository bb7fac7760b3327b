"""Ways to push: at once, in chunks, after another process was killed; and what refers to what."""

from __future__ import annotations

import io
import json
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from contract import descriptor, image
from fakeregistry import Exchange, FakeRegistry, digest_of

from nacre.services.client import Client, Repository, TransportLimits
from nacre.services.client.uploadrecords import LIFETIME, UploadFolder
from nacre.words.errors import RegistryError, Unauthorized
from nacre.words.oci import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Descriptor, Index, Manifest, parse_document
from nacre.words.reference import Reference

DATA = os.urandom(24_000_000)
Connect = Callable[..., Client]


@pytest.fixture
def folder(tmp_path: Path) -> UploadFolder:
    return UploadFolder(str(tmp_path / "uploads"))


@pytest.fixture
def repository(fake: FakeRegistry, connect: Connect, folder: UploadFolder) -> Repository:
    return connect(uploads=folder, limits=TransportLimits()).repository(Reference.parse(f"{fake.host}/app"))


def put(repository: Repository, data: bytes) -> None:
    repository.put(descriptor(data), lambda: io.BytesIO(data))


# Small blobs


@pytest.mark.parametrize(("size", "requests"), [(0, 1), (1000, 1), (65536, 1), (65537, 2), (5_000_000, 3)])
def test_a_tiny_blob_takes_one_request(
    fake: FakeRegistry, repository: Repository, size: int, requests: int
) -> None:
    fake.single = True
    put(repository, DATA[:size])
    assert fake.blobs["app", digest_of(DATA[:size])] == DATA[:size]
    assert len([verb for verb, _, _ in fake.requests if verb != "GET"]) == requests


def test_a_registry_that_wants_two_requests_is_not_sent_everything_twice_again(
    fake: FakeRegistry, repository: Repository
) -> None:
    for data in (b"one", b"two"):
        put(repository, data)
        assert fake.blobs["app", digest_of(data)] == data
    assert [verb for verb, _, _ in fake.requests if verb != "GET"] == ["POST", "PUT", "POST", "PUT"]
    assert [headers["Content-Length"] for headers in fake.sent("POST")] == ["3", "0"]


@pytest.mark.parametrize("status", [400, 405, 413, 500, 501])
def test_a_registry_that_refuses_one_request(fake: FakeRegistry, repository: Repository, status: int) -> None:
    fake.on("POST", "digest=", lambda x: bool(x.body()) and x.reply(status))
    put(repository, b"data")
    assert fake.blobs["app", digest_of(b"data")] == b"data"


def test_a_refusal_that_stands(fake: FakeRegistry, repository: Repository) -> None:
    fake.on("POST", "digest=", lambda x: x.reply(403))
    with pytest.raises(Unauthorized):
        put(repository, b"data")
    assert len(fake.sent("POST")) == 1


# Chunks


def test_what_is_too_long_for_a_proxy_goes_in_chunks(fake: FakeRegistry, repository: Repository) -> None:
    lengths: list[int] = []

    def limited(x: Exchange) -> bool:
        lengths.append(int(x.headers["content-length"]))
        return x.reply(413) if lengths[-1] > 20_000_000 else False

    fake.on("PATCH", "/uploads/", limited, times=1000)
    put(repository, DATA)
    assert fake.blobs["app", digest_of(DATA)] == DATA
    assert lengths[0] == len(DATA)
    assert max(lengths[1:]) == 16 * 1024 * 1024
    assert fake.sent("PATCH")[1]["Content-Range"] == f"0-{16 * 1024 * 1024 - 1}"


# Another process goes on


def broken(fake: FakeRegistry, at: int) -> Callable[[Exchange], bool]:
    """The registry keeps `at` bytes of a chunk, and then the line breaks for good."""

    def action(x: Exchange) -> bool:
        key = x.url.path.rpartition("/")[2]
        fake.uploads[key] += x.rfile.read(at)
        fake.on("GET", "/uploads/", lambda x: x.cut(), times=50)
        fake.on("PATCH", "/uploads/", lambda x: x.cut(), times=50)
        fake.on("POST", "/uploads/", lambda x: x.cut(), times=50)
        return x.cut()

    return action


def interrupt(fake: FakeRegistry, repository: Repository, at: int = 15_000_000) -> None:
    fake.on("PATCH", "/uploads/", broken(fake, at))
    with pytest.raises(RegistryError):
        put(repository, DATA)
    fake._faults.clear()
    fake.requests.clear()


def test_another_process_sends_only_the_rest(
    fake: FakeRegistry, repository: Repository, connect: Connect, folder: UploadFolder
) -> None:
    interrupt(fake, repository)
    record = next(path for path in Path(folder.path).iterdir() if path.suffix != ".lock")
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(folder.path).stat().st_mode) == 0o700
    later = connect(uploads=UploadFolder(folder.path), limits=TransportLimits()).repository(
        Reference.parse(f"{fake.host}/app")
    )
    put(later, DATA)
    assert fake.blobs["app", digest_of(DATA)] == DATA
    (sent,) = fake.sent("PATCH")
    assert sent["Content-Length"] == str(len(DATA) - 15_000_000)
    assert not fake.sent("POST")
    assert list(Path(folder.path).iterdir()) == []


def forgotten(fake: FakeRegistry, record: Path) -> None:
    fake.uploads.clear()


def elsewhere(fake: FakeRegistry, record: Path) -> None:
    record.write_text(json.dumps({"location": "http://127.0.0.1:1/x", "time": time.time()}))


def nonsense(fake: FakeRegistry, record: Path) -> None:
    record.write_text('{"location": 3')


def too_old(fake: FakeRegistry, record: Path) -> None:
    fields = json.loads(record.read_text())
    record.write_text(json.dumps(fields | {"time": time.time() - LIFETIME - 1}))


def too_much(fake: FakeRegistry, record: Path) -> None:
    for upload in fake.uploads.values():
        upload += bytes(len(DATA))


@pytest.mark.parametrize("spoil", [forgotten, elsewhere, nonsense, too_old, too_much])
def test_a_record_that_does_not_help(
    fake: FakeRegistry, repository: Repository, folder: UploadFolder,
    spoil: Callable[[FakeRegistry, Path], None],
) -> None:  # fmt: skip
    interrupt(fake, repository)
    spoil(fake, next(path for path in Path(folder.path).iterdir() if path.suffix != ".lock"))
    put(repository, DATA)
    assert fake.blobs["app", digest_of(DATA)] == DATA
    assert len(fake.sent("POST")) == 1
    assert list(Path(folder.path).iterdir()) == []


def test_wrong_bytes_in_a_kept_upload_are_found(fake: FakeRegistry, repository: Repository) -> None:
    """The registry verifies the digest; the second attempt begins from nothing."""
    interrupt(fake, repository)
    for upload in fake.uploads.values():
        upload[0] ^= 1
    with pytest.raises(RegistryError, match="DIGEST_INVALID"):
        put(repository, DATA)
    put(repository, DATA)
    assert fake.blobs["app", digest_of(DATA)] == DATA


def test_two_at_once_do_not_share_an_upload(folder: UploadFolder) -> None:
    first = folder.hold("a.example/x", "sha256:1")
    first.set("http://a.example/1")
    second = folder.hold("a.example/x", "sha256:1")
    assert second.location == ""
    second.set("http://a.example/2")
    second.close()
    first.close()
    third = folder.hold("a.example/x", "sha256:1")
    assert third.location == "http://a.example/1"
    third.close()
    assert folder.hold("a.example/y", "sha256:1").location == ""


def test_old_records_are_swept(folder: UploadFolder) -> None:
    for name in ("a", "b"):
        entry = folder.hold(name, "sha256:1")
        entry.set("http://x/1")
        entry.close()
    old = next(path for path in Path(folder.path).iterdir() if path.suffix != ".lock")
    os.utime(old, (1, 1))
    again = UploadFolder(folder.path)
    again.hold("c", "sha256:1").close()
    assert not old.exists()
    assert len([path for path in Path(folder.path).iterdir() if path.suffix != ".lock"]) == 1


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    entry = UploadFolder(str(tmp_path / "file" / "uploads")).hold("a", "b")
    entry.set("http://x")
    assert entry.location in ("", "http://x")
    entry.close()


# What refers to what


def test_referrers_of_a_registry_without_the_api(fake: FakeRegistry, repository: Repository) -> None:
    subject = Descriptor.of(image(repository, b"layer"), OCI_MANIFEST)
    repository.put_manifest("1", image(repository, b"layer"), OCI_MANIFEST)
    config = descriptor(b"{}", OCI_CONFIG)
    put(repository, b"{}")
    made = []
    for kind in ("a/signature", "b/sbom", "a/signature"):
        data = Manifest(OCI_MANIFEST, config, (), (("of", kind),), subject, kind).encode()
        made.append(Descriptor.of(data, OCI_MANIFEST))
        repository.put_manifest(str(made[-1].digest), data, OCI_MANIFEST)
    found = repository.referrers(subject.digest)
    assert {each.digest for each in found} == {each.digest for each in made}
    assert len(found) == 2
    (sbom,) = repository.referrers(subject.digest, "b/sbom")
    assert (sbom.digest, dict(sbom.annotations)) == (made[1].digest, {"of": "b/sbom"})
    kept = parse_document(fake.manifests["app", subject.digest.replace(":", "-")][1])
    assert isinstance(kept, Index)


def test_referrers_page_by_page(fake: FakeRegistry, repository: Repository) -> None:
    subject = descriptor(b"x", OCI_MANIFEST)
    entries = [
        Descriptor(OCI_MANIFEST, descriptor(str(n).encode()).digest, 1, artifact_type="t") for n in range(2)
    ]

    def page(x: Exchange) -> bool:
        number = int(x.query.get("page", "0"))
        link = {"link": f'<{x.url.path}?page=1>; rel="next"'} if number == 0 else {}
        return x.reply(200, Index(OCI_INDEX, (entries[number],)).encode(), **link)

    fake.on("GET", "/referrers/", page, times=2)
    assert repository.referrers(subject.digest) == tuple(entries)
    fake.on(
        "GET",
        "/referrers/",
        lambda x: x.reply(200, Index(OCI_INDEX, ()).encode(), link="<?page=0>; rel=next"),
        999,
    )
    with pytest.raises(RegistryError, match="endlessly"):
        repository.referrers(subject.digest)


def test_what_a_name_means_there(fake: FakeRegistry, repository: Repository) -> None:
    data = image(repository, b"layer")
    ours = Descriptor.of(data, OCI_MANIFEST)
    assert not repository.holds("1", ours)
    repository.put_manifest("1", data, OCI_MANIFEST)
    assert repository.holds("1", ours)
    assert not repository.holds("1", descriptor(b"other"))
    fake.on("HEAD", "/manifests/", lambda x: x.reply(405))
    assert repository.holds("1", ours)
    for verb in ("HEAD", "GET"):
        fake.on(verb, "/manifests/", lambda x: x.reply(403))
    with pytest.raises(Unauthorized):
        repository.holds("1", ours)
