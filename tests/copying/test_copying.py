"""The engine of copies: what moves, what does not, and what becomes of failures."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from copykit import Image, artifact, docker_archive, index_of, put_artifact, put_index
from fakeregistry import FakeRegistry
from tarkit import tar_of

from nacre.ground.work.budget import Budget
from nacre.images.arrows.copying import Choice, Copied, copy
from nacre.images.model.blobinfo import MOST, BlobInfoCache
from nacre.images.model.image import find
from nacre.images.places.layout import LayoutFolder
from nacre.images.places.local import StoreSink
from nacre.images.places.place import ANY, Place, Places
from nacre.services.client import Client, ClientConfig, Policy, TransportLimits
from nacre.services.client.uploadrecords import UploadFolder
from nacre.words.digest import Digest
from nacre.words.errors import (
    ContentError,
    DigestMismatch,
    InvalidName,
    NacreError,
    NotFound,
    TooLarge,
    Unsupported,
    UsageError,
)
from nacre.words.oci import OCI_INDEX, OCI_MANIFEST, Descriptor, Index, Platform
from nacre.words.reference import Reference

ALL = Choice(all=True)


@pytest.fixture
def image() -> Image:
    return Image("lower", "middle", "upper")


def name(registry: FakeRegistry, text: str = "team/app:1") -> Reference:
    return Reference.parse(f"{registry.host}/{text}")


class Two:
    """A registry to copy from and one to copy to."""

    def __init__(self, client: Client, fake: FakeRegistry, other: FakeRegistry) -> None:
        self.client, self.fake, self.other = client, fake, other

    def source(self, text: str = "team/app:1") -> Any:
        return self.client.repository(name(self.fake, text))

    def copy(self, choice: Choice | None = None, text: str = "team/app:1", to: str = "copy/app:2") -> Copied:
        reference, target = name(self.fake, text), name(self.other, to)
        self.fake.requests.clear()
        self.other.requests.clear()
        sink = self.client.repository(target)
        return copy(self.client.repository(reference), reference, sink, target.target, choice)

    def arrived(self, to: str = "copy/app", target: str = "2") -> bytes:
        return self.other.manifests[to, target][1]


@pytest.fixture
def two(client: Client, fake: FakeRegistry, other: FakeRegistry) -> Two:
    return Two(client, fake, other)


def test_everything_arrives_and_the_name_is_last(two: Two, image: Image) -> None:
    image.put(two.source(), "1")
    done = two.copy()
    assert two.arrived() == image.data
    assert (done.digest, done.changed, done.existing) == (image.descriptor.digest, True, 0)
    assert done.moved == sum(map(len, image.layers)) + len(image.config)
    assert two.other.requests[-1][:2] == ("PUT", "/v2/copy/app/manifests/2")
    for descriptor, data in image.blobs.items():
        assert two.other.blobs["copy/app", descriptor.digest] == data


def test_nothing_moves_the_second_time(two: Two, image: Image) -> None:
    image.put(two.source(), "1")
    two.copy()
    done = two.copy()
    assert (done.moved, done.changed) == (0, False)
    assert done.existing == sum(map(len, image.layers)) + len(image.config)
    assert [row[0] for row in two.other.requests] == ["HEAD"]
    assert [row[:2] for row in two.fake.requests] == [("GET", "/v2/team/app/manifests/1")]


def test_only_what_lacks_is_read(two: Two, image: Image) -> None:
    image.put(two.source(), "1")
    there = image.manifest.layers[0]
    two.other.add_blob("copy/app", image.layers[0])
    done = two.copy()
    assert done.existing == there.size
    assert not two.fake.sent("GET", there.digest)
    assert two.arrived() == image.data


def test_within_a_registry_blobs_are_mounted(client: Client, fake: FakeRegistry, image: Image) -> None:
    image.put(client.repository(name(fake)), "1")
    target = name(fake, "other/place:1")
    fake.requests.clear()
    done = copy(client.repository(name(fake)), name(fake), client.repository(target), "1")
    assert done.moved == 0
    assert done.mounted == sum(map(len, image.layers)) + len(image.config)
    assert not fake.sent("GET", "/blobs/")


def test_one_platform_of_an_index(two: Two) -> None:
    arm, amd = Image("a", architecture="arm64"), Image("b")
    put_index(two.source(), "1", amd, arm)
    done = two.copy(Choice(Platform("linux", "arm64")))
    assert two.arrived() == arm.data
    assert done.manifests == 1
    with pytest.raises(NotFound, match="no image for linux/s390x"):
        two.copy(Choice(Platform("linux", "s390x")))


def test_all_platforms_of_an_index(two: Two) -> None:
    images = [Image("shared", one, architecture=one) for one in ("amd64", "arm64", "s390x")]
    put_index(two.source(), "1", *images)
    done = two.copy(ALL)
    assert two.arrived() == index_of(*images)
    assert all(("copy/app", each.descriptor.digest) in two.other.manifests for each in images)
    assert done.manifests == 4
    order = [
        path.rpartition("/")[2] for verb, path, _ in two.other.requests if verb == "PUT" and "/man" in path
    ]
    assert order[-1] == "2"


def test_a_platform_that_is_there_is_left_alone(two: Two) -> None:
    images = [Image(one, architecture=one) for one in ("amd64", "arm64")]
    put_index(two.source(), "1", *images)
    images[0].put(two.client.repository(name(two.other, "copy/app:2")))
    done = two.copy(ALL)
    assert done.manifests == 2
    assert not two.fake.sent("GET", images[0].descriptor.digest)
    assert not two.fake.sent("GET", images[0].manifest.layers[0].digest)


def test_an_index_in_an_index(two: Two) -> None:
    inner, outer = Image("inner"), Image("outer", architecture="arm64")
    source = two.source()
    entry = put_index(source, Digest.of(index_of(inner)), inner)
    outer.put(source)
    data = Index(OCI_INDEX, (entry, outer.descriptor)).encode()
    source.put_manifest("1", data, OCI_INDEX)
    two.copy(ALL)
    assert {entry.digest, inner.descriptor.digest, outer.descriptor.digest, "2"} <= {
        target for _, target in two.other.manifests
    }


def test_a_name_is_asked_for_once_on_the_way_into_a_store(two: Two, image: Image, store: Any) -> None:
    image.put(two.source(), "1")
    two.fake.requests.clear()
    copy(two.source(), name(two.fake), StoreSink(store, Reference.parse("app:1")), "app:1", ALL)
    asked = [path for _, path, _ in two.fake.requests if "/manifests/" in path]
    assert len(asked) == 1, asked
    assert str(find(store, "app:1").descriptor.digest) == image.descriptor.digest


def test_indexes_nested_too_deep_are_refused(two: Two) -> None:
    source, entry = two.source(), None
    image = Image("x")
    image.put(source)
    entry = image.descriptor
    for _ in range(6):
        data = Index(OCI_INDEX, (entry,)).encode()
        entry = Descriptor.of(data, OCI_INDEX)
        source.put_manifest(entry.digest, data, OCI_INDEX)
    source.put_manifest("1", data, OCI_INDEX)
    with pytest.raises(TooLarge, match="levels of indexes"):
        two.copy(ALL)
    assert ("copy/app", "2") not in two.other.manifests


@pytest.mark.parametrize("all_of_it", [True, False])
def test_referrers_go_along_by_the_tag_where_there_is_no_api(two: Two, image: Image, all_of_it: bool) -> None:
    source = two.source()
    image.put(source, "1")
    signature = put_artifact(source, artifact(image.descriptor))
    about = put_artifact(source, artifact(signature, b"more"), b"more")
    done = two.copy(Choice(all=all_of_it, referrers=True))
    assert done.referrers == 2
    there = two.client.repository(name(two.other, "copy/app"))
    assert [each.digest for each in there.referrers(image.descriptor.digest)] == [signature.digest]
    assert [each.digest for each in there.referrers(signature.digest)] == [about.digest]
    assert two.copy(Choice(referrers=True)).referrers == 0


def test_referrers_of_platforms(two: Two) -> None:
    images = [Image(one, architecture=one) for one in ("amd64", "arm64")]
    source = two.source()
    top = put_index(source, "1", *images)
    for each in (top, images[1].descriptor):
        put_artifact(source, artifact(each, str(each.digest).encode()), str(each.digest).encode())
    assert two.copy(Choice(all=True, referrers=True)).referrers == 2


def test_what_cosign_attaches_by_tags_goes_along(two: Two, image: Image, tmp_path: Path) -> None:
    """Signatures without a subject: only the names of their tags say what they belong to."""
    source = two.source()
    image.put(source, "1")
    tag = f"sha256-{image.descriptor.digest.hex}.sig"
    signature = Image("signed")
    signature.put(source, tag)
    assert two.copy(Choice(referrers=True)).referrers == 1
    assert two.arrived(target=tag) == signature.data
    assert two.copy(Choice(referrers=True)).referrers == 0
    folder = LayoutFolder(str(tmp_path / "lay"), "kept")
    copy(source, name(two.fake), folder, "kept", Choice(referrers=True))
    back = name(two.other, "back:1")
    assert copy(folder, ANY, two.client.repository(back), "1", Choice(referrers=True)).referrers == 1
    folder.close()
    assert two.other.manifests["back", tag][1] == signature.data
    assert two.copy(to="plain:1").referrers == 0


def test_an_artifact_is_copied_as_it_is(two: Two, image: Image) -> None:
    source = two.source()
    image.put(source, "1")
    made = artifact(image.descriptor)
    put_artifact(source, made)
    source.put_manifest("sbom", made.encode(), made.media_type)
    two.copy(text="team/app:sbom")
    assert two.arrived() == made.encode()


# ---- failures


def lying(fake: FakeRegistry, digest: str, data: bytes) -> None:
    fake.blobs = {key: data if key[1] == digest else value for key, value in fake.blobs.items()}


def big_image(size: int) -> Image:
    """An image whose only layer has `size` bytes, more than goes in one request."""
    image = Image("y")
    image.layers[0] = (bytes(range(256)) * (size // 256 + 1))[:size]
    layer = Descriptor.of(image.layers[0], image.manifest.layers[0].media_type)
    image.manifest = image.manifest.replace(layers=(layer,))
    image.data = image.manifest.encode()
    return image


def test_wrong_bytes_are_never_committed(two: Two, image: Image) -> None:
    image.put(two.source(), "1")
    bad = image.manifest.layers[1]
    lying(two.fake, bad.digest, b"x" * bad.size)
    with pytest.raises(DigestMismatch, match=bad.digest.short):
        two.copy()
    assert ("copy/app", bad.digest) not in two.other.blobs
    assert ("copy/app", "2") not in two.other.manifests


def test_wrong_bytes_of_a_big_blob_never_reach_the_final_put(two: Two) -> None:
    image = big_image(7_000_000)
    image.put(two.source(), "1")
    bad = image.manifest.layers[0]
    lying(two.fake, bad.digest, image.layers[0][:-1] + b"?")
    with pytest.raises(DigestMismatch, match=bad.digest.short):
        two.copy()
    assert not [path for verb, path, _ in two.other.requests if verb == "PUT" and bad.digest.hex in path]
    assert ("copy/app", "2") not in two.other.manifests


@pytest.mark.parametrize(
    "target", ["oci:{0}/lay:1", "oci-archive:{0}/a.tar:1", "docker-archive:{0}/b.tar:app:1"]
)
def test_wrong_bytes_leave_no_image_on_disk(two: Two, image: Image, tmp_path: Path, target: str) -> None:
    image.put(two.source(), "1")
    bad = image.manifest.layers[1]
    lying(two.fake, bad.digest, b"x" * bad.size)
    place = Place.parse(target.format(tmp_path))
    places = Places(_none, two.client.repository, _none, str(tmp_path))
    with pytest.raises(ContentError), places.sink(place) as sink:
        copy(two.source(), name(two.fake), sink, places.target(place))
    assert not list(tmp_path.glob("*.tar*"))
    assert not list(tmp_path.glob("lay/index.json"))


def _none() -> Any:
    raise AssertionError("not wanted here")


def test_an_upload_that_breaks_goes_on(two: Two) -> None:
    big = big_image(7_680_000)
    big.put(two.source(), "1")

    def half(exchange: Any) -> bool:
        size = int(exchange.headers["content-length"]) // 2
        key = exchange.url.path.rpartition("/")[2]
        two.other.uploads[key] += exchange.rfile.read(size)
        return bool(exchange.cut())

    two.other.on("PATCH", "/uploads/", half)
    policy = Policy(sleep=lambda _s: None, chance=lambda: 0.0)
    with Client(ClientConfig(policy=policy, limits=TransportLimits(stall=60))) as client:
        two.client = client
        two.copy()
    assert two.other.blobs["copy/app", Digest.of(big.layers[0])] == big.layers[0]
    assert sum(len(h) > 0 for h in two.other.sent("PATCH")) == 2


def test_a_manifest_of_another_size_than_its_entry_is_refused(two: Two, image: Image) -> None:
    source = two.source()
    image.put(source)
    entry = image.descriptor.replace(size=image.descriptor.size + 1)
    source.put_manifest("1", Index(OCI_INDEX, (entry,)).encode(), OCI_INDEX)
    with pytest.raises(ContentError):
        two.copy(ALL)


def test_several_blobs_travel_at_once(two: Two) -> None:
    image = Image(*"abcd")
    image.put(two.source(), "1")
    meeting = threading.Barrier(3, timeout=30)

    def wait(_exchange: Any) -> bool:
        meeting.wait()
        return False

    two.fake.on("GET", "/blobs/", wait, times=3)
    two.copy(Choice(budget=Budget(2, transfers=3)))
    assert two.arrived() == image.data
    assert not meeting.broken


# ---- folders


def test_platforms_and_referrers_in_a_folder(two: Two, tmp_path: Path) -> None:
    images = [Image(one, architecture=one) for one in ("amd64", "arm64")]
    source = two.source()
    top = put_index(source, "1", *images)
    signature = put_artifact(source, artifact(top))
    folder = LayoutFolder(str(tmp_path / "lay"), "kept")
    copy(source, name(two.fake), folder, "kept", Choice(all=True, referrers=True))
    assert folder.resolve(ANY)[0].digest == top.digest
    assert [each.digest for each in folder.referrers(top.digest)] == [signature.digest]
    back = name(two.other, "back:1")
    done = copy(folder, ANY, two.client.repository(back), "1", Choice(all=True, referrers=True))
    folder.close()
    assert (done.manifests, done.referrers) == (4, 1)
    assert two.other.manifests["back", "1"][1] == index_of(*images)


def test_many_write_to_one_folder(tmp_path: Path) -> None:
    images = [Image(f"number {n}") for n in range(8)]

    def work(number: int) -> None:
        folder = LayoutFolder(str(tmp_path / "lay"))
        images[number].put(folder, f"n{number}")
        folder.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, image in enumerate(images):
        folder = LayoutFolder(str(tmp_path / "lay"), f"n{number}")
        assert folder.resolve(ANY)[1] == image.data
        folder.close()


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match="neither empty"):
        LayoutFolder(str(tmp_path))


def test_several_images_need_a_name(tmp_path: Path) -> None:
    folder = LayoutFolder(str(tmp_path / "lay"))
    Image("a").put(folder, "one")
    Image("b").put(folder, "two")
    with pytest.raises(NotFound, match="2 images") as caught:
        folder.resolve(ANY)
    assert "one, two" in caught.value.hint
    folder.close()


# ---- what docker writes


def test_an_old_docker_archive_is_compressed_on_its_way(two: Two, tmp_path: Path) -> None:
    plain = Image("a", "b", plain=True)
    path = docker_archive(tmp_path / "old.tar", plain, "app:1")
    places = Places(_none, two.client.repository, _none, str(tmp_path))
    source, target = Place.parse(f"docker-archive:{path}:app:1"), Place.parse(f"{two.other.host}/app:1")
    for exact, kind in ((False, "tar+gzip"), (True, "tar")):
        with places.source(source, target, exact=exact) as origin, places.sink(target) as sink:
            copy(origin, ANY, sink, "1")
        found = two.client.repository(name(two.other, "app:1")).resolve(name(two.other, "app:1"))[1]
        assert f'layer.v1.{kind}"'.encode() in found
        assert str(plain.manifest.config.digest).encode() in found
    assert not [each for each in tmp_path.iterdir() if each != path]


def test_a_layer_that_is_not_what_the_config_says(two: Two, tmp_path: Path) -> None:
    image = Image("a", plain=True)
    image.layers = Image("other", plain=True).layers
    path = docker_archive(tmp_path / "lie.tar", image, "app:1")
    places = Places(_none, two.client.repository, _none, str(tmp_path))
    for exact in (True, False):
        to = Place.parse(f"{two.other.host}/app:1")
        with (
            pytest.raises(ContentError),
            places.source(Place.parse(f"docker-archive:{path}"), to, exact=exact) as origin,
            places.sink(to) as sink,
        ):
            copy(origin, ANY, sink, "1")
    assert ("app", "1") not in two.other.manifests


def test_a_docker_archive_takes_one_platform(two: Two, tmp_path: Path) -> None:
    put_index(two.source(), "1", Image("a"), Image("b", architecture="arm64"))
    places = Places(_none, two.client.repository, _none, str(tmp_path))
    place = Place.parse(f"docker-archive:{tmp_path}/x.tar:app:1")
    with pytest.raises(Unsupported, match="one platform"), places.sink(place) as sink:
        copy(two.source(), name(two.fake), sink, places.target(place), ALL)
    assert not list(tmp_path.iterdir())


def test_a_docker_archive_takes_no_artifacts(two: Two, image: Image, tmp_path: Path) -> None:
    image.put(two.source(), "1")
    put_artifact(two.source(), artifact(image.descriptor))
    places = Places(_none, two.client.repository, _none, str(tmp_path))
    place = Place.parse(f"docker-archive:{tmp_path}/x.tar:app:1")
    with pytest.raises(Unsupported, match="no referrers"), places.sink(place) as sink:
        copy(two.source(), name(two.fake), sink, places.target(place), Choice(referrers=True))
    assert not list(tmp_path.iterdir())


# ---- places


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("app", Place("docker", "", "docker.io/library/app:latest")),
        ("docker://ghcr.io/a/b@sha256:" + "0" * 64, Place("docker", "", "ghcr.io/a/b@sha256:" + "0" * 64)),
        ("localhost:5000/app:1", Place("docker", "", "localhost:5000/app:1")),
        ("nacre:app:1", Place("nacre", "", "app:1")),
        ("oci:dir", Place("oci", "dir", "")),
        ("oci:dir:docker.io/app:1", Place("oci", "dir", "docker.io/app:1")),
        ("oci-archive:f.tar:x", Place("oci-archive", "f.tar", "x")),
        ("docker-archive:/a/f.tar", Place("docker-archive", "/a/f.tar", "")),
        ("docker-archive:f:app", Place("docker-archive", "f", "docker.io/library/app:latest")),
        ("docker-daemon:app:2", Place("docker-daemon", "", "docker.io/library/app:2")),
        ("host:python3", Place("host", "", "host:python3")),
    ],
)
def test_places(text: str, place: Place) -> None:
    found = Place.parse(text)
    assert found.replace(reference=None) == place
    assert found.reference is None or str(found.reference) == found.name
    assert Place.parse(str(place)) == found


@pytest.mark.parametrize(
    "text", ["", "oci:", "nacre:", "docker-daemon:", "docker://", "dir:x", "UPPER", "a b"]
)
def test_what_is_no_place(text: str) -> None:
    with pytest.raises((InvalidName, UsageError)):
        Place.parse(text)


# ---- hostile layouts


def layout(folder: Path, index: bytes, **blobs: bytes) -> Path:
    (folder / "blobs" / "sha256").mkdir(parents=True)
    (folder / "oci-layout").write_bytes(b'{"imageLayoutVersion":"1.0.0"}')
    (folder / "index.json").write_bytes(index)
    return folder


def _entry(**changes: object) -> bytes:
    import json

    entry = {"mediaType": OCI_MANIFEST, "digest": "sha256:" + "0" * 64, "size": 2, **changes}
    return json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()


_HOSTILE = {
    "climbing digest": _entry(digest="sha256:../../../../etc/passwd"),
    "no digest": _entry(digest=7),
    "huge size": _entry(size=1 << 63),
    "negative size": _entry(size=-1),
    "missing blob": _entry(),
    "too long": b" " * (5 << 20),
    "too deep": b'{"manifests":' + b"[" * 100_000,
    "not an object": b"[1]",
    "text": b"hello",
    "null": b"null",
    "too many": b'{"manifests":[' + b",".join([_entry()[31:-2]] * 1500) + b"]}",
    "both": b'{"manifests":[],"layers":[],"config":{}}',
    "empty": b'{"schemaVersion":2,"manifests":[]}',
}


@pytest.mark.parametrize("case", _HOSTILE)
def test_hostile_index(tmp_path: Path, case: str) -> None:
    folder = layout(tmp_path / "lay", _HOSTILE[case])
    places = Places(_none, _none, _none, str(tmp_path))
    with pytest.raises(NacreError) as caught, places.source(Place("oci", str(folder))) as source:
        source.resolve(ANY)
    assert len(caught.value.message) < 600


def test_a_blob_that_is_a_link_out_of_the_layout(tmp_path: Path) -> None:
    image = Image("a")
    (tmp_path / "secret").write_bytes(image.layers[0])
    folder = LayoutFolder(str(tmp_path / "lay"), "1")
    image.put(folder, "1")
    blob = tmp_path / "lay" / "blobs" / "sha256" / image.manifest.layers[0].digest.hex
    blob.unlink()
    blob.symlink_to(tmp_path / "secret")
    with pytest.raises(NotFound), folder.fetch(image.manifest.layers[0]):
        pass
    folder.close()


def test_nothing_is_written_outside_of_a_layout(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = LayoutFolder(str(tmp_path / "lay"), "1")
    (tmp_path / "lay" / "blobs").symlink_to(outside)
    with pytest.raises(NacreError):
        Image("a").put(folder, "1")
    folder.close()
    assert not list(outside.iterdir())


def test_a_blob_of_another_size_is_refused(tmp_path: Path) -> None:
    image = Image("a")
    folder = LayoutFolder(str(tmp_path / "lay"), "1")
    image.put(folder, "1")
    blob = tmp_path / "lay" / "blobs" / "sha256" / image.manifest.layers[0].digest.hex
    blob.write_bytes(b"short")
    with pytest.raises(ContentError), folder.fetch(image.manifest.layers[0]):
        pass
    assert not folder.has(image.manifest.layers[0])
    image.put(folder, "1")
    assert folder.has(image.manifest.layers[0])
    folder.close()


@pytest.mark.parametrize(
    "rows",
    [
        b'[{"Config":"../../etc/passwd","Layers":[]}]',
        b'[{"Config":5}]',
        b'[{"Config":"config.json","RepoTags":"app:1","Layers":[]}]',
        b'[{"Config":"config.json","RepoTags":["BAD NAME"],"Layers":["0/layer.tar"]}]',
        b'[{"Config":"config.json","RepoTags":["app:1"],"Layers":["nowhere"]}]',
        b'[{"Config":"config.json","RepoTags":["app:1"],"Layers":[]}]',
        b"[5]",
        b"{}",
    ],
)
def test_a_manifest_json_that_lies(tmp_path: Path, rows: bytes) -> None:
    image = Image("a", plain=True)
    files = {"config.json": image.config, "manifest.json": rows, "0/layer.tar": image.layers[0]}
    (tmp_path / "lie.tar").write_bytes(tar_of(**files))
    places = Places(_none, _none, _none, str(tmp_path))
    place = Place.parse(f"docker-archive:{tmp_path}/lie.tar:app:1")
    with pytest.raises(NacreError), places.source(place) as source:
        source.resolve(ANY)


# ---- what is remembered


def test_a_blob_seen_in_a_registry_is_mounted(two: Two, image: Image, tmp_path: Path) -> None:
    """Neither end says so: an earlier copy has brought it there."""
    image.put(two.source(), "1")
    choice = Choice(seen=BlobInfoCache(str(tmp_path / "seen")))
    two.copy(choice, to="first:1")
    done = two.copy(choice.replace(seen=BlobInfoCache(str(tmp_path / "seen"))), to="second:1")
    assert done.moved == 0
    assert done.mounted == sum(map(len, image.layers)) + len(image.config)
    assert not two.fake.sent("GET", "/blobs/")


def test_what_was_seen_and_is_gone(two: Two, image: Image, tmp_path: Path) -> None:
    image.put(two.source(), "1")
    choice = Choice(seen=BlobInfoCache(str(tmp_path / "seen")))
    two.copy(choice, to="first:1")
    two.other.blobs.clear()
    done = two.copy(choice.replace(seen=BlobInfoCache(str(tmp_path / "seen"))), to="second:1")
    assert done.mounted == 0
    assert two.other.manifests["second", "1"][1] == image.data
    assert len(two.other.blobs) == len(image.blobs)


def test_what_is_remembered_is_bounded(tmp_path: Path) -> None:
    seen, digests = BlobInfoCache(str(tmp_path / "seen")), [Digest.of(str(n).encode()) for n in range(14_000)]
    seen.add("host:1/some/app", digests)
    [path] = (tmp_path / "seen").iterdir()
    assert path.stat().st_size <= MOST
    assert BlobInfoCache(str(tmp_path / "seen")).repositories("host:1", digests[-1]) == ["host:1/some/app"]
    assert BlobInfoCache(str(tmp_path / "seen")).repositories("host:1", digests[0]) == []
    path.write_bytes(b"\xff\x00\n\n \nsha256: \n")
    assert BlobInfoCache(str(tmp_path / "seen")).repositories("host:1", digests[0]) == []


def test_another_process_goes_on_with_an_upload(two: Two, tmp_path: Path) -> None:
    """The source breaks off for good half way; later only the other half is read and sent."""
    image = big_image(8_000_000)
    image.put(two.source(), "1")
    [layer] = image.manifest.layers
    policy = Policy(sleep=lambda _s: None, chance=lambda: 0.0, attempts=2)

    def half(exchange: Any) -> bool:
        two.fake.on("GET", layer.digest, lambda x: x.cut(), times=100)
        exchange.reply(200, image.layers[0][:5_000_000], content_length=str(layer.size))
        return bool(exchange.cut())

    def attempt() -> Copied:
        config = ClientConfig(policy=policy, uploads=UploadFolder(str(tmp_path / "uploads")))
        with Client(config) as client:
            two.client = client
            return two.copy()

    received = threading.Event()

    def keep(exchange: Any) -> bool:
        two.other.uploads[exchange.url.path.rpartition("/")[2]] += exchange.body()
        received.set()
        return bool(exchange.cut())

    two.fake.on("GET", layer.digest, half)
    two.other.on("PATCH", "/uploads/", keep)
    with pytest.raises(NacreError):
        attempt()
    assert received.wait(60)
    there = max(map(len, two.other.uploads.values()))
    assert 0 < there <= 5_000_000
    two.fake._faults.clear()
    attempt()
    assert two.other.blobs["copy/app", layer.digest] == image.layers[0]
    [asked] = two.fake.sent("GET", layer.digest)
    assert asked["Range"] == f"bytes={there}-"
