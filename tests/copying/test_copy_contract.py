"""What every source and every sink owes: one suite, run on each implementation."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest
from copykit import Image, docker_archive
from fakeregistry import FakeRegistry

from nacre.ground import userns
from nacre.images.model.source import Sink, Source
from nacre.images.places.host import HostSource
from nacre.images.places.place import ANY, Place, Places
from nacre.services.client import Client
from nacre.stores.store import Store
from nacre.words.digest import Digest
from nacre.words.errors import NacreError, NotFound
from nacre.words.oci import OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor, Manifest, parse_document
from nacre.words.reference import Reference

SINKS = ("docker", "nacre", "oci", "oci-archive", "docker-archive")


class Ends:
    """One kind of place: `sink` to write to, then `source` to read from."""

    def __init__(self, kind: str, folder: Path, fake: FakeRegistry, client: Client, store: object) -> None:
        texts = {
            "docker": f"docker://{fake.host}/team/app:1",
            "nacre": "nacre:app:1",
            "oci": f"oci:{folder}/oci:1",
            "oci-archive": f"oci-archive:{folder}/oci.tar:1",
            "docker-archive": f"docker-archive:{folder}/docker.tar:app:1",
        }  # fmt: skip
        self.place = Place.parse(texts[kind])
        self.places = Places(lambda: store, client.repository, _no_daemon, str(folder))  # type: ignore[arg-type, return-value]
        self.target, self.reference = self.places.target(self.place), self.places.reference(self.place)

    def sink(self) -> AbstractContextManager[Sink]:
        return self.places.sink(self.place)

    def source(self) -> AbstractContextManager[Source]:
        return self.places.source(self.place)


def _no_daemon() -> object:
    raise AssertionError("no daemon is wanted here")


@pytest.fixture(params=SINKS)
def ends(request: pytest.FixtureRequest, tmp_path: Path, fake: FakeRegistry, client: Client) -> Ends:
    store = request.getfixturevalue("store") if request.param == "nacre" else None
    return Ends(request.param, tmp_path, fake, client, store)


@pytest.fixture
def image() -> Image:
    return Image("lower", "upper")


@pytest.fixture(scope="module")
def host_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store for `host:`, which makes its image but once."""
    if not userns.mapped():
        pytest.skip("needs root")
    with Store.open(str(tmp_path_factory.mktemp("host") / "store"), layer_blobs="keep") as opened:
        yield opened


@pytest.fixture(params=[*SINKS, "old docker-archive", "packed", "host"])
def filled(
    request: pytest.FixtureRequest, tmp_path: Path, fake: FakeRegistry, client: Client, image: Image
) -> Iterator[tuple[Source, Reference]]:
    """A source that has an image, of any kind."""
    kind = request.param
    with ExitStack() as stack:
        if kind == "host":
            yield HostSource(request.getfixturevalue("host_store")), ANY
        elif kind in ("old docker-archive", "packed"):
            path = docker_archive(tmp_path / "old.tar", image, "app:1")
            ends = Ends("docker-archive", tmp_path, fake, client, None)
            to = Place.parse("oci:there") if kind == "packed" else None
            yield stack.enter_context(ends.places.source(Place("docker-archive", str(path), ""), to)), ANY
        else:
            store = request.getfixturevalue("store") if kind == "nacre" else None
            ends = Ends(kind, tmp_path, fake, client, store)
            with ends.sink() as sink:
                image.put(sink, ends.target)
            yield stack.enter_context(ends.source()), ends.reference


Filled = tuple[Source, Reference]


class TestSource:
    def test_a_place_without_registry_has_no_slash(self, filled: Filled) -> None:
        source, reference = filled
        assert ("/" in source.where) == (reference != ANY)

    def test_the_document_has_its_digest(self, filled: Filled) -> None:
        descriptor, data = filled[0].resolve(filled[1])
        assert Descriptor(descriptor.media_type, Digest.of(data), len(data)) == descriptor
        assert isinstance(parse_document(data, descriptor.media_type), Manifest)

    def test_by_digest_it_is_the_same(self, filled: Filled) -> None:
        source, reference = filled
        descriptor, data = source.resolve(reference)
        assert source.resolve(reference.replace(tag="", digest=descriptor.digest))[1] == data

    def test_an_unknown_digest_is_not_found(self, filled: Filled) -> None:
        source, reference = filled
        if isinstance(source, HostSource):
            pytest.skip("host: has one image, whatever it is asked for")
        with pytest.raises(NotFound):
            source.resolve(reference.replace(tag="", digest=Digest.of(b"nothing")))

    def test_every_blob_has_its_digest_and_size(self, filled: Filled) -> None:
        for blob in self.blobs(filled):
            with filled[0].fetch(blob) as reader:
                data = b"".join(iter(lambda r=reader: r.read(700), b""))
            assert Descriptor(blob.media_type, Digest.of(data, blob.digest.algorithm), len(data)) == blob

    @pytest.mark.parametrize("part", [0.0, 0.3, 1.0])
    def test_fetch_from_an_offset(self, filled: Filled, part: float) -> None:
        blob = max(self.blobs(filled), key=lambda blob: -blob.size)
        with filled[0].fetch(blob) as reader:
            whole = b"".join(iter(lambda: reader.read(1 << 16), b""))
        offset = int(part * blob.size)
        with filled[0].fetch(blob, offset) as reader:
            assert b"".join(iter(lambda: reader.read(1 << 16), b"")) == whole[offset:]

    def test_an_unknown_blob_is_not_found(self, filled: Filled) -> None:
        filled[0].resolve(filled[1])
        with pytest.raises(NotFound), filled[0].fetch(Descriptor.of(b"nothing", OCI_LAYER_GZIP)) as reader:
            reader.read(1)

    def blobs(self, filled: Filled) -> list[Descriptor]:
        descriptor, data = filled[0].resolve(filled[1])
        document = parse_document(data, descriptor.media_type)
        assert isinstance(document, Manifest)
        return [document.config, *({layer.digest: layer for layer in document.layers}.values())]


class TestSink:
    def test_what_is_put_is_there(self, ends: Ends, image: Image) -> None:
        with ends.sink() as sink:
            for descriptor, data in image.blobs.items():
                assert not sink.has(descriptor)
                sink.put(descriptor, lambda data=data: io.BytesIO(data))  # type: ignore[misc]
                assert sink.has(descriptor)

    def test_put_is_idempotent(self, ends: Ends, image: Image) -> None:
        with ends.sink() as sink:
            for _ in range(2):
                image.put(sink, ends.target)
        with ends.source() as source:
            assert source.resolve(ends.reference)[1] == image.data

    @pytest.mark.parametrize("length", [100, 90, 110])
    def test_other_content_is_refused(self, ends: Ends, length: int) -> None:
        if ends.place.transport == "docker":
            pytest.skip("the fake takes everything; the contract of repositories has this")
        wanted = Descriptor.of(b"a" * 100, OCI_LAYER_GZIP)
        with pytest.raises(NacreError), ends.sink() as sink:
            _refused(sink, wanted, b"b" * length)

    def test_nothing_is_mounted_from_nowhere(self, ends: Ends, image: Image) -> None:
        with ends.sink() as sink:
            assert sink.mount(image.manifest.layers[0], ["elsewhere.example/app"]) is None

    def test_a_manifest_under_another_digest_is_refused(self, ends: Ends, image: Image) -> None:
        if ends.place.transport == "docker":
            pytest.skip("the fake takes everything; the contract of repositories has this")
        with pytest.raises(NacreError), ends.sink() as sink:
            sink.put_manifest(Digest.of(b"another"), image.data, OCI_MANIFEST)

    def test_a_name_moves(self, ends: Ends, image: Image) -> None:
        if "archive" in ends.place.transport:
            pytest.skip("an archive is written once")
        newer = Image("newer")
        for each in (image, newer):
            with ends.sink() as sink:
                each.put(sink, ends.target)
            with ends.source() as source:
                assert source.resolve(ends.reference)[1] == each.data

    def test_what_fails_leaves_nothing(self, ends: Ends, image: Image, tmp_path: Path) -> None:
        before = _below(tmp_path)

        def fail() -> io.BytesIO:
            raise NotFound("the source is gone")

        with pytest.raises(NotFound), ends.sink() as sink:
            sink.put(image.manifest.layers[0], fail)
        after = {path for path in _below(tmp_path) - before if "/store/" not in path}
        assert {os.path.basename(path) for path in after} <= {"oci-layout"}


def _refused(sink: Sink, wanted: Descriptor, data: bytes) -> None:
    try:
        sink.put(wanted, lambda: io.BytesIO(data))
    finally:
        assert not sink.has(wanted)


def _below(folder: Path) -> set[str]:
    return {f"{at}/{name}" for at, _, names in os.walk(folder) for name in names}
