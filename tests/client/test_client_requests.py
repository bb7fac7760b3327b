"""How many requests things take: each is a round trip."""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakeregistry import Exchange, FakeRegistry, digest_of

from nacre.grammars.tar.entry import Entry
from nacre.grammars.tar.write import TarWriter
from nacre.grammars.wire.auth import Credentials
from nacre.images.arrows.pull import pull
from nacre.images.arrows.push import push
from nacre.images.layers import ingest as layers
from nacre.images.model.edit import append_layer, make_manifest, new_config
from nacre.services.client import Client, TransportLimits
from nacre.services.client.ranges import Ranges
from nacre.stores.store import Store
from nacre.words.digest import Digest
from nacre.words.errors import Unauthorized
from nacre.words.oci import OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor, Index, Platform
from nacre.words.reference import Reference

LAYERS = 5
Connect = Callable[..., Client]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path / "store"), layer_blobs="keep") as opened:
        yield opened


@pytest.fixture
def client(connect: Connect) -> Client:
    return connect(limits=TransportLimits())


def layer(number: int, size: int = 10) -> bytes:
    parts: list[bytes] = []
    tar = TarWriter(parts.append)
    data = str(number).encode() * size
    tar.add(Entry(f"f{number}".encode(), "file", 0o644, size=len(data)), io.BytesIO(data))
    tar.close()
    return b"".join(parts)


def add_image(fake: FakeRegistry, tag: str, name: str = "app", count: int = LAYERS) -> Digest:
    config, descriptors = new_config(Platform.host(), created="2024-01-01T00:00:00Z"), []
    for number in range(count):
        tar = layer(number)
        packed = gzip.compress(tar, mtime=0)
        fake.add_blob(name, packed)
        descriptors.append(Descriptor.of(packed, OCI_LAYER_GZIP))
        config = append_layer(config, Digest.of(tar), "step")
    manifest, data = make_manifest(config, descriptors)
    fake.add_blob(name, data)
    return Digest(fake.add_manifest(name, tag, manifest.encode(), OCI_MANIFEST))


def seen(fake: FakeRegistry) -> list[str]:
    """Requests since the last call, without the question that only loopback needs (TLS or not)."""
    found = [f"{verb} {path.split('/')[3]}" for verb, path, _ in fake.requests if path != "/v2/"]
    fake.requests.clear()
    return found


def of(fake: FakeRegistry, tag: str = "1", name: str = "app") -> Reference:
    return Reference.parse(f"{fake.host}/{name}:{tag}")


def test_pull(fake: FakeRegistry, client: Client, store: Store) -> None:
    add_image(fake, "1")
    pull(client.repository(of(fake)), of(fake), store)
    assert sorted(seen(fake)) == ["GET blobs"] * (LAYERS + 1) + ["GET manifests"]
    pull(client.repository(of(fake)), of(fake), store)
    assert seen(fake) == ["HEAD manifests"]


def test_pull_by_digest(fake: FakeRegistry, client: Client, store: Store) -> None:
    """What is here already under its digest needs nobody to be asked."""
    digest = add_image(fake, "1")
    pinned = Reference.parse(f"{fake.host}/app@{digest}")
    assert pull(client.repository(pinned), pinned, store).changed
    seen(fake)
    assert not pull(client.repository(pinned), pinned, store).changed
    assert seen(fake) == []


def test_a_pull_in_parts_that_fails_is_gone_on_with(
    fake: FakeRegistry, connect: Connect, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What several connections brought is a plain beginning; another pull asks for the rest alone."""
    monkeypatch.setattr(layers, "_LONG", 0.0)  # slow enough for a partial blob, however fast it is
    tar = layer(0, size=9_000_000)
    digest = fake.add_blob("app", tar)
    config = append_layer(new_config(Platform.host()), Digest.of(tar), "step")
    manifest, data = make_manifest(config, [Descriptor.of(tar, OCI_LAYER_GZIP)])
    fake.add_blob("app", data)
    fake.add_manifest("app", "1", manifest.encode(), OCI_MANIFEST)

    def end(x: Exchange) -> bool:
        """Parts behind the middle are refused, and so is the rest when it is asked for then."""
        found = re.match(r"bytes=(\d+)-(\d*)", x.headers.get("range", ""))
        return bool(found) and (not found[2] or int(found[1]) > 4_000_000) and x.reply(403)

    fake.on("GET", digest, end, times=1000)
    eager = Ranges(4, slow=1e18, seconds=0.0)
    with pytest.raises(Unauthorized):
        pull(connect(limits=TransportLimits(), ranges=eager).repository(of(fake)), of(fake), store)
    kept = store.blobs.partial(Digest(digest))
    assert kept > 3_000_000
    fake._faults.clear()
    fake.requests.clear()
    result = pull(connect(limits=TransportLimits()).repository(of(fake)), of(fake), store)
    assert [headers.get("Range") for headers in fake.sent("GET", digest)] == [f"bytes={kept}-"]
    assert result.image.read("f0") == b"0" * 9_000_000


def test_pull_of_a_changed_image(fake: FakeRegistry, client: Client, store: Store) -> None:
    add_image(fake, "1", count=2)
    pull(client.repository(of(fake)), of(fake), store)
    seen(fake)
    add_image(fake, "1", count=3)
    pull(client.repository(of(fake)), of(fake), store)
    assert sorted(seen(fake)) == ["GET blobs", "GET blobs", "GET manifests", "HEAD manifests"]


def test_pull_through_an_index(fake: FakeRegistry, client: Client, store: Store) -> None:
    digest = add_image(fake, "x")
    size = len(fake.manifests["app", digest][1])
    entry = Descriptor(OCI_MANIFEST, digest, size, Platform.host())
    fake.add_manifest("app", "1", Index(OCI_INDEX, (entry,)).encode(), OCI_INDEX)
    pull(client.repository(of(fake)), of(fake), store)
    assert seen(fake).count("GET manifests") == 2
    pull(client.repository(of(fake)), of(fake), store)
    assert seen(fake) == ["HEAD manifests"]


def test_many_tags_of_one_image(fake: FakeRegistry, client: Client, store: Store) -> None:
    tags = [f"t{number}" for number in range(40)]
    for tag in tags:
        add_image(fake, tag, count=1)
    repository = client.repository(of(fake))
    for _ in range(2):
        for tag in tags:
            pull(repository, of(fake, tag), store)
        first = seen(fake)
    assert first == ["HEAD manifests"] * len(tags)


def test_a_layer_in_another_form_is_not_read(fake: FakeRegistry, client: Client, store: Store) -> None:
    add_image(fake, "1", count=2)
    pull(client.repository(of(fake)), of(fake), store)
    manifest = json.loads(fake.manifests["app", "1"][1])
    plain = [layer(number) for number in range(2)]
    manifest["layers"] = [Descriptor.of(tar, OCI_LAYER_GZIP).to_json() for tar in plain]
    config = json.loads(fake.blobs["app", manifest["config"]["digest"]])
    data = json.dumps(config | {"author": "another"}).encode()
    manifest["config"] = Descriptor.of(data, manifest["config"]["mediaType"]).to_json()
    for blob in (*plain, data):
        fake.add_blob("app", blob)
    fake.add_manifest("app", "2", json.dumps(manifest).encode(), OCI_MANIFEST)
    result = pull(client.repository(of(fake, "2")), of(fake, "2"), store)
    assert result.moved == len(data)


def test_push(fake: FakeRegistry, client: Client, store: Store) -> None:
    add_image(fake, "1", "source")
    image = pull(client.repository(of(fake, name="source")), of(fake, name="source"), store).image
    fake.blobs.clear()
    fake.manifests.clear()
    for layer in image.manifest.layers:
        store.layers.drop_source(layer.digest, f"{fake.host}/source")
    store.layers.drop_source(image.manifest.config.digest, f"{fake.host}/source")
    fake.single = True
    seen(fake)
    sink = client.repository(of(fake, name="sink"))
    result = push(store, image.descriptor, sink, "1")
    assert result.moved
    blobs = ["HEAD blobs"] * (LAYERS + 1) + ["POST blobs"] * (LAYERS + 1)
    assert sorted(seen(fake)) == sorted([*blobs, "HEAD manifests", "PUT manifests"])
    asked = [*["HEAD blobs"] * (LAYERS + 1), "HEAD manifests"]
    assert push(store, image.descriptor, sink, "1").existing == result.moved
    assert sorted(seen(fake)) == asked
    push(store, image.descriptor, sink, "2")
    assert sorted(seen(fake)) == [*asked, "PUT manifests"]


def test_a_push_mends_what_a_registry_has_lost(fake: FakeRegistry, client: Client, store: Store) -> None:
    """A tag that means the image is no proof that its layers are still there."""
    add_image(fake, "1", "source")
    image = pull(client.repository(of(fake, name="source")), of(fake, name="source"), store).image
    lost = image.manifest.layers[1]
    data = fake.blobs.pop(("source", lost.digest))
    result = push(store, image.descriptor, client.repository(of(fake, name="source")), "1")
    assert result.moved == lost.size
    assert fake.blobs["source", lost.digest] == data


def test_a_source_that_no_longer_has_it_is_forgotten(
    fake: FakeRegistry, client: Client, store: Store
) -> None:
    add_image(fake, "1", "source", count=1)
    image = pull(client.repository(of(fake, name="source")), of(fake, name="source"), store).image
    (blob,) = image.manifest.layers
    store.layers.add_source(blob.digest, f"{fake.host}/gone")
    store.layers.add_source(blob.digest, "other.example/kept")
    assert push(store, image.descriptor, client.repository(of(fake, name="sink")), "1").mounted
    known = store.layers.sources(blob.digest)
    assert f"{fake.host}/gone" not in known
    assert {f"{fake.host}/source", f"{fake.host}/sink", "other.example/kept"} == set(known)


def test_a_token_is_asked_for_once(fake: FakeRegistry, connect: Connect, store: Store) -> None:
    """One 401 and one token for a pull, however many blobs come at once."""
    add_image(fake, "1")
    tokens: list[str] = []

    def guard(x: Exchange) -> bool:
        if x.headers.get("authorization") == "Bearer good":
            return False
        realm = f'Bearer realm="http://{fake.host}/token",service="s",scope="repository:app:pull"'
        return x.reply(401, www_authenticate=realm)

    def token(x: Exchange) -> bool:
        tokens.append(x.path)
        return x.reply(200, b'{"token":"good"}')

    fake.on("GET", "/token", token, times=1000)
    fake.on("GET", "/v2/app/", guard, times=1000)
    client = connect(limits=TransportLimits(), credentials=lambda _name: Credentials("me", "pw"))
    pull(client.repository(of(fake)), of(fake), store)
    assert len(tokens) == 1
    assert len(fake.sent("GET", "/v2/app/")) == 1 + LAYERS + 2


def test_a_mirror_that_lies_about_a_layer(fake: FakeRegistry, connect: Connect, store: Store) -> None:
    """The layer comes again from the registry, and the pull is none the worse for it."""
    from nacre.grammars.config import MirrorSettings, RegistrySection, Settings

    mirror = FakeRegistry()
    try:
        tar = layer(0, size=9_000_000)
        for registry in (fake, mirror):
            registry.add_blob("app", tar)
        config = append_layer(new_config(Platform.host()), Digest.of(tar), "step")
        manifest, data = make_manifest(config, [Descriptor.of(tar, OCI_LAYER_GZIP)])
        for registry in (fake, mirror):
            registry.add_blob("app", data)
            registry.add_manifest("app", "1", manifest.encode(), OCI_MANIFEST)
        mirror.blobs["app", digest_of(tar)] = bytes(len(tar))
        notices: list[Any] = []
        settings = Settings((RegistrySection(fake.host, mirrors=(MirrorSettings(mirror.host),)),))
        client = connect(limits=TransportLimits(), settings=settings, notice=notices.append)
        result = pull(client.repository(of(fake)), of(fake), store)
        assert result.image.read("f0")[:1] == b"0"
        assert len(notices) == 1
        assert "digest" in notices[0]
    finally:
        mirror.close()
