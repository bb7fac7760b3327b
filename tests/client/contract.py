"""What every registry repository owes as a Source and as a Sink: one suite, run on each implementation."""

from __future__ import annotations

import io
import os

import pytest

from nacre.services.client import Client, Repository
from nacre.words.digest import Digest
from nacre.words.errors import NacreError, NotFound, RegistryError
from nacre.words.oci import (
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
    Index,
    Manifest,
)
from nacre.words.reference import Reference


def descriptor(data: bytes, media_type: str = OCI_LAYER_GZIP) -> Descriptor:
    return Descriptor.of(data, media_type)


def put(repository: Repository, data: bytes, media_type: str = OCI_LAYER_GZIP) -> Descriptor:
    found = descriptor(data, media_type)
    repository.put(found, lambda: io.BytesIO(data))
    return found


def image(repository: Repository, *layers: bytes, media_type: str = OCI_MANIFEST) -> bytes:
    """Blobs uploaded; the bytes of a manifest over them."""
    kind = OCI_LAYER_GZIP if media_type == OCI_MANIFEST else DOCKER_LAYER_GZIP
    config = put(repository, b'{"architecture":"amd64","os":"linux"}', OCI_CONFIG)
    return Manifest(media_type, config, tuple(put(repository, layer, kind) for layer in layers)).encode()


class RepositoryContract:
    """`client` and `host` are fixtures of the module that runs it."""

    @pytest.fixture
    def name(self, request: pytest.FixtureRequest) -> str:
        return "contract/" + request.node.originalname.replace("_", "-") + os.urandom(4).hex()

    @pytest.fixture
    def reference(self, host: str, name: str) -> Reference:
        return Reference.parse(f"{host}/{name}:latest")

    @pytest.fixture
    def repository(self, client: Client, reference: Reference) -> Repository:
        return client.repository(reference)

    def test_where(self, repository: Repository, host: str, name: str) -> None:
        assert repository.where == f"{host}/{name}"

    @pytest.mark.parametrize("size", [0, 1, 5000, 3 * 1024 * 1024, 9 * 1024 * 1024 + 7])
    def test_put_then_fetch(self, repository: Repository, size: int) -> None:
        data = os.urandom(size)
        wanted = descriptor(data)
        assert not repository.has(wanted)
        put(repository, data)
        assert repository.has(wanted)
        with repository.fetch(wanted) as reader:
            assert reader.read(-1) == data
            assert reader.read(10) == b""

    def test_put_is_idempotent(self, repository: Repository) -> None:
        assert put(repository, b"twice") == put(repository, b"twice")
        assert repository.has(descriptor(b"twice"))

    @pytest.mark.parametrize("size", [10, 6 * 1024 * 1024])
    def test_put_of_other_content_is_refused(self, repository: Repository, size: int) -> None:
        wanted = descriptor(b"a" * size)
        with pytest.raises(RegistryError):
            repository.put(wanted, lambda: io.BytesIO(b"b" * size))
        assert not repository.has(wanted)

    @pytest.mark.parametrize("offset", [0, 1, 499_999, 999_999, 1_000_000])
    def test_fetch_from_an_offset(self, repository: Repository, offset: int) -> None:
        data = os.urandom(1_000_000)
        with repository.fetch(put(repository, data), offset) as reader:
            assert reader.read(-1) == data[offset:]

    def test_fetch_left_early(self, repository: Repository) -> None:
        data = os.urandom(2_000_000)
        found = put(repository, data)
        with repository.fetch(found) as reader:
            assert data.startswith(reader.read(100))
        assert repository.has(found)

    def test_fetch_of_an_unknown_blob(self, repository: Repository) -> None:
        put(repository, b"something")
        with pytest.raises(NotFound), repository.fetch(descriptor(b"never pushed")):
            pass

    def test_has_in_an_unknown_repository(self, repository: Repository) -> None:
        assert not repository.has(descriptor(b"never pushed"))

    @pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST])
    def test_manifest_by_tag_and_digest(
        self, repository: Repository, reference: Reference, media_type: str
    ) -> None:
        data = image(repository, b"one", b"two", media_type=media_type)
        repository.put_manifest("latest", data, media_type)
        by_tag = repository.resolve(reference)
        assert by_tag == (Descriptor.of(data, media_type), data)
        assert repository.resolve(reference.replace(tag="", digest=by_tag[0].digest)) == by_tag
        assert repository.has(by_tag[0])
        with repository.fetch(by_tag[0]) as reader:
            assert reader.read() == data

    def test_manifest_by_digest_only(self, repository: Repository, reference: Reference) -> None:
        data = image(repository, b"layer")
        repository.put_manifest(Digest.of(data), data, OCI_MANIFEST)
        assert repository.resolve(reference.replace(tag="", digest=Digest.of(data)))[1] == data
        with pytest.raises(NotFound):
            repository.resolve(reference)

    def test_a_tag_moves(self, repository: Repository, reference: Reference) -> None:
        for layer in (b"old", b"new"):
            data = image(repository, layer)
            repository.put_manifest("latest", data, OCI_MANIFEST)
            assert repository.resolve(reference)[1] == data

    def test_index(self, repository: Repository, reference: Reference) -> None:
        manifest = image(repository, b"layer")
        entry = Descriptor.of(manifest, OCI_MANIFEST)
        repository.put_manifest(entry.digest, manifest, OCI_MANIFEST)
        data = Index(OCI_INDEX, (entry,)).encode()
        repository.put_manifest("latest", data, OCI_INDEX)
        assert repository.resolve(reference) == (Descriptor.of(data, OCI_INDEX), data)

    def test_manifest_over_missing_blobs_is_refused(self, repository: Repository) -> None:
        put(repository, b"{}", OCI_CONFIG)
        data = Manifest(OCI_MANIFEST, descriptor(b"{}", OCI_CONFIG), (descriptor(b"missing"),)).encode()
        with pytest.raises(NacreError):
            repository.put_manifest("latest", data, OCI_MANIFEST)

    def test_mount(self, client: Client, repository: Repository, host: str, name: str) -> None:
        data = os.urandom(1000)
        source = client.repository(Reference.parse(f"{host}/{name}-source"))
        found = put(source, data)
        known = ["elsewhere.example/app", f"{host}/contract/nothing-here", source.where]
        assert repository.mount(found, known) == source.where
        assert repository.has(found)

    def test_mount_of_what_nobody_has(self, repository: Repository, host: str) -> None:
        data = os.urandom(1000)
        assert repository.mount(descriptor(data), [f"{host}/contract/nothing-here"]) is None
        put(repository, data)
        assert repository.has(descriptor(data))

    def test_tags(self, repository: Repository) -> None:
        data = image(repository, b"layer")
        for tag in ("a", "b", "c"):
            repository.put_manifest(tag, data, OCI_MANIFEST)
        assert sorted(repository.tags()) == ["a", "b", "c"]

    def test_tags_of_an_unknown_repository(self, repository: Repository) -> None:
        with pytest.raises(NotFound):
            list(repository.tags())

    def test_delete(self, repository: Repository, reference: Reference) -> None:
        data = image(repository, b"layer")
        repository.put_manifest("latest", data, OCI_MANIFEST)
        repository.delete(Digest.of(data))
        with pytest.raises(NotFound):
            repository.resolve(reference)

    def test_unknown_tag(self, repository: Repository, reference: Reference) -> None:
        with pytest.raises(NotFound, match="not found"):
            repository.resolve(reference)

    def test_known_manifests_are_not_sent_again(self, repository: Repository, reference: Reference) -> None:
        data = image(repository, b"layer")
        repository.put_manifest("latest", data, OCI_MANIFEST)
        asked: list[Digest] = []
        found = repository.resolve(reference, lambda digest: asked.append(digest) or data)  # type: ignore[func-returns-value]
        assert found == (Descriptor.of(data, OCI_MANIFEST), data)
        assert asked == [Digest.of(data)]

    def test_referrers(self, repository: Repository) -> None:
        data = image(repository, b"layer")
        repository.put_manifest("latest", data, OCI_MANIFEST)
        assert repository.referrers(Digest.of(data)) == ()
