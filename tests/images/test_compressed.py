"""One copy at rest: a layer whose tree gives its tar is not kept compressed too, and moves all the same."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
from imagekit import Registry, make_tar

from nacre.ground import userns
from nacre.ground.files import install_trace
from nacre.ground.work.budget import Budget
from nacre.images.arrows.archive import load, save
from nacre.images.arrows.pull import pull
from nacre.images.arrows.push import Sending, push
from nacre.images.layers import compressed
from nacre.images.layers.compressed import CompressedForms, RecompressedLayer, is_here
from nacre.images.layers.ingest import add_layer, commit_layer
from nacre.images.model.edit import append_layer, new_config, write_image
from nacre.images.model.image import Image
from nacre.services.build.cache import Cache
from nacre.stores.steps import StepRecord
from nacre.stores.store import Store
from nacre.words.digest import Digest
from nacre.words.errors import DigestMismatch, NacreError, NotFound, RegistryError, Unsupported
from nacre.words.oci import OCI_LAYER, Descriptor, Platform
from nacre.words.progress import NullProgress
from nacre.words.reference import Reference

pytestmark = pytest.mark.skipif(not userns.mapped(), reason="needs root that may mount")

APP = Reference.parse("registry.test/app:1")
NOISE = os.urandom(2_500_000)
Opener = Callable[..., Store]


@pytest.fixture
def opener(tmp_path: Path) -> Iterator[Opener]:
    """Opens stores whose trees give their tars; `opener(name, layer_blobs="drop")`."""
    opened = []

    def make(name: str = "tars", layer_blobs: str = "keep") -> Store:
        store = Store.open(str(tmp_path / name), driver="erofs", layer_blobs=layer_blobs)
        opened.append(store)
        if ", but " in store.driver.why:
            pytest.skip(store.driver.why)
        return store

    yield make
    for store in opened:
        store.close()


def blobs(store: Store) -> set[str]:
    return set(os.listdir(f"{store.root}/blobs/sha256"))


def built(store: Store, *layers: bytes, codec: str = "gzip") -> Image:
    """An image made here, kept by a lease of the store."""
    config, descriptors = new_config(Platform.host(), created="2024-01-01T00:00:00Z"), []
    for number, data in enumerate(layers):
        layer, diff_id = add_layer(store, io.BytesIO(data), codec)
        descriptors.append(layer)
        config = append_layer(config, diff_id, f"step {number}")
    descriptor = write_image(store, config, descriptors)
    store.refs.set(str(APP), descriptor)
    return Image.load(store, descriptor)


def content(store: Store, layer: Descriptor, **options: object) -> bytes:
    with CompressedForms(store, **options).open(layer) as file:  # type: ignore[arg-type]
        return b"".join(iter(lambda: file.read(100_000), b""))


class Lines(NullProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def line(self, text: str) -> None:
        self.said.append(text)


@pytest.mark.parametrize("codec", ["gzip", "zstd", "none"])
def test_what_was_compressed_here_is_made_again(opener: Opener, codec: str) -> None:
    store = opener()
    tar = make_tar({"a": NOISE, "b": b"text " * 200_000})
    layer, diff_id = add_layer(store, io.BytesIO(tar), codec)
    assert blobs(store) == set()
    assert is_here(store, layer)
    data = content(store, layer)
    assert Digest.of(data) == layer.digest
    assert len(data) == layer.size
    assert add_layer(store, io.BytesIO(b"not read"), codec, expected=diff_id)[0] == layer


def test_what_exists_nowhere_else_is_synced_with_its_image(opener: Opener, registry: Registry) -> None:
    store = opener(layer_blobs="drop")
    registry.add_image("1", {"a": NOISE})
    pull(registry, APP, store)
    image = built(store, make_tar({"a": b"1"}), make_tar({"b": b"2"}))
    synced = dict(store.db.execute("SELECT diff_id, synced FROM tree"))
    assert [synced.pop(diff_id) for diff_id in image.diff_ids] == [1, 1]
    assert set(synced.values()) == {0}  # a registry has it


def test_a_commit_keeps_the_tree_alone(opener: Opener) -> None:
    store = opener()
    _, diff_id = add_layer(store, io.BytesIO(make_tar({"a": b"x"})))
    active = store.actives.prepare("k1", [diff_id])
    Path(active.upper, "new").write_bytes(NOISE)
    layer, top, _ = commit_layer(store, active)
    assert blobs(store) == set()
    assert Digest.of(gzip.decompress(content(store, layer))) == top


def test_seeking_begins_anew_and_goes_on(opener: Opener) -> None:
    store = opener()
    layer, _ = add_layer(store, io.BytesIO(make_tar({"a": NOISE})))
    whole = content(store, layer)
    with CompressedForms(store).open(layer) as file:
        assert file.read(10) == whole[:10]
        assert file.seek(1_000_000) == 1_000_000
        assert file.read(10) == whole[1_000_000:1_000_010]
        assert file.seek(5) == 5
        assert file.seek(0, 1) == 5
        assert b"".join(iter(lambda: file.read(-1), b"")) == whole[5:]


def test_push_and_save_of_a_built_image(opener: Opener, tmp_path: Path) -> None:
    store, far = opener(), Registry("far.test/app")
    image = built(store, make_tar({"a": NOISE}), make_tar({"b": b"two"}))
    done = push(store, image.descriptor, far, "1")
    assert done.moved == sum(layer.size for layer in image.manifest.layers) + image.manifest.config.size
    assert far.tags["1"][0] == image.digest
    pieces: list[bytes] = []
    save(store, [str(APP)], pieces.append)
    other = opener("other")
    assert load(other, io.BytesIO(b"".join(pieces)))[0].image.digest == image.digest


def test_a_recipe_of_another_version_fails_before_the_manifest(opener: Opener) -> None:
    store, far = opener(), Registry("far.test/app")
    image = built(store, make_tar({"a": b"text " * 100_000}))
    store.db.change("UPDATE layer SET recipe = 'gzip/isa-l-1.0/0/1048576'")
    (layer,) = image.manifest.layers
    assert not is_here(store, layer)
    with pytest.raises(Unsupported, match=r"with gzip/isa-l-1\.0/0/1048576.*would change") as caught:
        push(store, image.descriptor, far, "1")
    assert "nacre save" in caught.value.hint
    assert far.tags == {}
    lines, pieces = Lines(), list[bytes]()
    save(store, [str(APP)], pieces.append, progress=lines)  # as a plain tar, which is always to be had
    assert any("saved as" in line for line in lines.said)
    loaded = load(opener("other"), io.BytesIO(b"".join(pieces)))[0].image
    assert loaded.id == image.id
    assert loaded.manifest.layers[0].media_type == OCI_LAYER


def test_versions_are_compared_again_after_an_installation(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opener()
    layer, _ = add_layer(store, io.BytesIO(make_tar({"a": b"text"})))
    assert is_here(store, layer)
    monkeypatch.setattr("nacre.grammars.codecs.recipe.recipe", lambda *_: "gzip/isa-l-9.9/2/262144")
    assert is_here(store, layer)
    store.db.change("UPDATE meta SET value = 'of another installation' WHERE key LIKE 'current:%'")
    assert not is_here(store, layer)


def test_the_build_cache_compresses_anew_what_another_version_did(opener: Opener) -> None:
    store = opener()
    layer, diff_id = add_layer(store, io.BytesIO(make_tar({"a": b"text " * 100_000})))
    store.steps.put(StepRecord("0" * 64, "", layer, diff_id, "{}"))
    cache, key = Cache(store), SimpleNamespace(digest="0" * 64)
    store.db.change("UPDATE step SET used = 1")
    found = cache.find(key)  # type: ignore[arg-type]
    assert found is not None
    assert store.db.one("SELECT used > 1 FROM step") == (1,)
    assert found.layer == (layer, diff_id)
    store.db.change(
        "UPDATE layer SET recipe = 'gzip/isa-l-1.0/0/1048576', digest = ?", ("sha256:" + "1" * 64,)
    )
    store.steps.put(
        StepRecord("0" * 64, "", layer.replace(digest=Digest("sha256:" + "1" * 64)), diff_id, "{}")
    )
    again = cache.find(key)  # type: ignore[arg-type]
    assert again is not None
    assert again.layer == (layer, diff_id)


def test_two_pulls_at_once_fetch_a_dropped_layer_once(opener: Opener, registry: Registry) -> None:
    store = opener(layer_blobs="drop")
    manifest, _ = registry.add_image("1", {"a": NOISE})
    pulls = [Thread(target=pull, args=(registry, APP, store)) for _ in range(4)]
    for thread in pulls:
        thread.start()
    for thread in pulls:
        thread.join()
    digests = [digest for digest, _ in registry.fetched]
    assert digests.count(manifest.layers[0].digest) == 1
    assert manifest.layers[0].digest.hex not in blobs(store)


def test_an_older_version_that_gives_the_same_bytes_will_do(opener: Opener) -> None:
    store, far = opener(), Registry("far.test/app")
    image = built(store, make_tar({"a": b"text " * 100_000}))
    store.db.change("UPDATE layer SET recipe = 'gzip/isa-l-2.0/2/1048576'")
    assert push(store, image.descriptor, far, "1").digest == image.digest


def test_a_damaged_tree_is_not_sent(opener: Opener) -> None:
    store, far = opener(), Registry("far.test/app")
    image = built(store, make_tar({"a": NOISE}))
    path = Path(store.trees.rows.folder(image.diff_ids[0]), "layer.tar")
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(5000)
        file.write(b"damage")
    with pytest.raises(Unsupported, match="cannot be reproduced"):
        push(store, image.descriptor, far, "1")
    assert far.tags == {}


@pytest.mark.parametrize(("policy", "kept"), [("keep", True), ("drop", False)])
def test_pulled_layers_follow_the_policy(opener: Opener, registry: Registry, policy: str, kept: bool) -> None:
    store = opener(layer_blobs=policy)
    manifest, _ = registry.add_image("1", {"a": NOISE}, {"b": b"two"})
    result = pull(registry, APP, store)
    assert {layer.digest.hex in blobs(store) for layer in manifest.layers} == {kept}
    assert os.listdir(f"{store.root}/ingest") == []
    assert result.image.read("b") == b"two"
    registry.fetched.clear()
    assert pull(registry, APP, store).moved == 0
    assert registry.fetched == []


def test_auto_follows_the_room_on_the_disk(
    opener: Opener, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opener(layer_blobs="auto")
    manifest, _ = registry.add_image("1", {"a": b"1"})
    space = (9 << 30, 20 << 30)
    monkeypatch.setattr(store.keeping, "_space", lambda: space)
    assert "dropped, 9.7 GB (45%)" in store.keeping.why
    pull(registry, APP, store)
    assert manifest.layers[0].digest.hex not in blobs(store)
    space = (11 << 30, 60 << 30)
    assert not store.keeping.keeps
    space = (11 << 30, 50 << 30)
    assert store.keeping.keeps


def test_a_plain_layer_is_its_tree_under_every_policy(opener: Opener, registry: Registry) -> None:
    store, far = opener(), Registry("far.test/app")
    manifest, _ = registry.add_image("1", {"a": NOISE}, plain=True)
    image = pull(registry, APP, store).image
    assert manifest.layers[0].digest.hex not in blobs(store)
    push(store, image.descriptor, far, "1")
    assert far.blobs[manifest.layers[0].digest] == registry.blobs[manifest.layers[0].digest]


def test_trees_that_cannot_give_their_tar_keep_the_blob(tmp_path: Path, registry: Registry) -> None:
    with Store.open(str(tmp_path / "folders"), driver="overlay", layer_blobs="drop") as store:
        manifest, config = registry.add_image("1", {"a": b"1"})
        pull(registry, APP, store)
        one_copy = store.trees.can_tar(config.diff_ids[0])
        assert (manifest.layers[0].digest.hex in blobs(store)) is not one_copy
        layer, _ = add_layer(store, io.BytesIO(make_tar({"b": b"2"})))
        assert (layer.digest.hex in blobs(store)) is not one_copy
        assert is_here(store, layer)


def test_an_interrupted_pull_is_resumed_and_dropped(opener: Opener, registry: Registry) -> None:
    store = opener(layer_blobs="drop")
    manifest, _ = registry.add_image("1", {"a": NOISE})
    (layer,) = manifest.layers
    registry.cut[layer.digest] = layer.size // 2
    with pytest.raises(RegistryError):
        pull(registry, APP, store)
    half = store.blobs.partial(layer.digest)
    assert half > 0
    registry.cut.clear()
    registry.fetched.clear()
    assert pull(registry, APP, store).image.read("a") == NOISE
    assert (layer.digest, half) in registry.fetched
    assert layer.digest.hex not in blobs(store)


def test_a_kill_before_the_drop_loses_nothing(opener: Opener, registry: Registry) -> None:
    store = opener(layer_blobs="drop")
    registry.add_image("1", {"a": NOISE})

    def stop(point: str) -> None:
        if point == "layer:unpacked":
            raise KeyboardInterrupt

    install_trace(stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            pull(registry, APP, store)
    finally:
        install_trace(None)
    registry.fetched.clear()
    assert pull(registry, APP, store).image.read("a") == NOISE
    assert len(registry.fetched) <= 1  # the config


def dropped(opener: Opener, registry: Registry) -> tuple[Store, Image, Descriptor]:
    store = opener(layer_blobs="drop")
    registry.add_image("1", {"a": NOISE})
    image = pull(registry, APP, store).image
    return store, image, image.manifest.layers[0]


def test_a_dropped_layer_goes_from_where_it_came(opener: Opener, registry: Registry) -> None:
    store, image, layer = dropped(opener, registry)
    far = Registry("far.test/app")
    result = push(
        store, image.descriptor, far, "1", Sending(sources=lambda name: {registry.where: registry}[name])
    )
    assert result.digest == image.digest
    assert far.blobs[layer.digest] == registry.blobs[layer.digest]
    assert layer.digest.hex not in blobs(store)
    again = push(store, image.descriptor, far, "2")
    assert again.moved == 0


def test_a_dropped_layer_is_mounted(opener: Opener, registry: Registry) -> None:
    store, image, layer = dropped(opener, registry)
    far = Registry("registry.test/copy")
    far.mountable = {layer.digest: registry.where}
    assert push(store, image.descriptor, far, "1").mounted == layer.size


def test_a_source_that_lies_is_found_out(opener: Opener, registry: Registry) -> None:
    store, image, layer = dropped(opener, registry)
    registry.blobs[layer.digest] = b"x" * layer.size
    far = Registry("far.test/app")
    with pytest.raises(DigestMismatch):
        push(store, image.descriptor, far, "1", Sending(sources=lambda _name: registry))
    assert far.tags == {}


def test_a_dropped_layer_that_is_nowhere(opener: Opener, registry: Registry) -> None:
    store, image, layer = dropped(opener, registry)
    del registry.blobs[layer.digest]
    with pytest.raises(NotFound, match=r"compressed form.*would change") as caught:
        push(store, image.descriptor, Registry("far.test/app"), "1", Sending(sources=lambda _name: registry))
    assert "nacre save" in caught.value.hint
    assert store.layers.sources(layer.digest) == []


def test_save_fetches_or_says_what_it_writes_instead(opener: Opener, registry: Registry) -> None:
    store, image, layer = dropped(opener, registry)
    pieces: list[bytes] = []
    save(store, [str(APP)], pieces.append, sources=lambda _name: registry)
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        assert f"blobs/sha256/{layer.digest.hex}" in tar.getnames()
    lines, pieces = Lines(), []
    save(store, [str(APP)], pieces.append, progress=lines)
    assert any(str(image.digest) in line for line in lines.said)
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        member = tar.extractfile("manifest.json")
        assert member is not None
        (row,) = json.load(member)
        assert row["Layers"] == [f"blobs/sha256/{image.diff_ids[0].hex}"]


@pytest.mark.parametrize("recipe", ["gzip/x/2/1", "zstd:chunked/x/3/1"])
def test_closing_early_ends_the_threads(opener: Opener, recipe: str) -> None:
    store = opener()
    layer, diff_id = add_layer(store, io.BytesIO(make_tar({str(n): NOISE for n in range(4)})))
    before = threads()
    file = RecompressedLayer(layer, recipe, lambda: store.trees.tar(diff_id), Budget(3))
    while threads() == before:
        assert file.read(1000)
    file.close()
    file.close()
    assert threads() == before


def threads() -> int:
    """Of those that compress."""
    return sum(thread.name.startswith(("nacre-block", "nacre-worker")) for thread in threading.enumerate())


def test_errors_of_the_tree_come_through(opener: Opener) -> None:
    store = opener()
    layer, diff_id = add_layer(store, io.BytesIO(make_tar({"a": NOISE})))

    def broken() -> object:
        raise NotFound("the tree is gone")

    remade = RecompressedLayer(layer, "none", broken, store.budget)  # type: ignore[arg-type]
    with pytest.raises(NacreError, match="the tree is gone"), remade as file:
        file.read(10)
    with pytest.raises(Unsupported, match="recipe"):
        RecompressedLayer(layer, "lzma/9", lambda: store.trees.tar(diff_id), store.budget)
    assert compressed.NEW_DIGEST


def test_a_layer_out_of_an_archive_stays(opener: Opener, registry: Registry) -> None:
    """Nobody is known to have it, so under no policy it is dropped."""
    store = opener()
    registry.add_image("1", {"a": NOISE})
    image = pull(registry, APP, store).image
    pieces: list[bytes] = []
    save(store, [str(APP)], pieces.append)
    other, far = opener("other", "drop"), Registry("far.test/app")
    loaded = load(other, io.BytesIO(b"".join(pieces)))[0].image
    assert image.manifest.layers[0].digest.hex in blobs(other)
    assert push(other, loaded.descriptor, far, "1").digest == image.digest
