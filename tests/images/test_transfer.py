"""Pull and push against a registry in memory."""

from __future__ import annotations

import gzip
import io
import os
import signal
import threading
from contextlib import ExitStack

import pytest
from imagekit import Registry, make_tar

from nacre.images.arrows.pull import pull
from nacre.images.arrows.push import push
from nacre.images.layers.compressed import CompressedForms, is_here
from nacre.images.layers.ingest import add_layer, commit_layer, ensure_tree, ingest_layer
from nacre.images.layers.job import LayerJob
from nacre.images.model.image import Image, find, repo_digests
from nacre.images.model.platforms import select
from nacre.stores.store import Store
from nacre.stores.sweep import sweep
from nacre.words.digest import Digest
from nacre.words.errors import (
    ContentError,
    DigestMismatch,
    InvalidArchive,
    InvalidDocument,
    NotFound,
    RegistryError,
    TooLarge,
    Unsupported,
)
from nacre.words.oci import (
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    Descriptor,
    Index,
    Manifest,
    Platform,
)
from nacre.words.progress import NullProgress
from nacre.words.reference import Reference

APP = Reference.parse("registry.test/app:1")
NOISE = os.urandom(3_000_000)


def stages() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "nacre-worker" and t.is_alive()]


def nothing_is_visible(store: Store) -> bool:
    assert store.refs.list() == []
    assert store.refs.images() == []
    assert stages() == []
    return True


def test_a_pull_brings_layers_config_and_name(registry: Registry, store: Store):
    manifest, config = registry.add_image("1", {"a/b": b"one"}, {"c": b"two"})
    result = pull(registry, APP, store)
    assert result.changed
    assert result.digest == result.image.digest == registry.tags["1"][0]
    assert result.image.id == manifest.config.digest
    assert result.moved == manifest.config.size + sum(layer.size for layer in manifest.layers)
    assert result.reused == 0
    assert result.image.names == (str(APP),)
    assert result.image.read("/a/b") == b"one"
    assert find(store, "registry.test/app:1") == result.image
    assert store.blobs.read(result.digest) == registry.blobs[result.digest]
    assert store.layers.sources(manifest.layers[0].digest) == [registry.where]
    assert [layer.diff_id for layer in result.image.layers] == list(config.diff_ids)


@pytest.mark.parametrize("others", [0, 1000])
def test_a_layer_comes_whole_and_is_checked_beside_any_number_of_others(
    registry: Registry, store: Store, others: int
) -> None:
    """Those decide how many threads it has."""
    manifest, config = registry.add_image("1", {"a": NOISE})
    bad, _ = registry.add_image("2", {"b": NOISE[1:]})
    registry.blobs[bad.layers[0].digest] = registry.blobs[manifest.layers[0].digest]
    with ExitStack() as stack:
        for _ in range(others):
            store.budget.begin_thread()
            stack.callback(store.budget.end_thread)
        assert pull(registry, APP, store).image.read("/a") == NOISE
        with pytest.raises(ContentError):
            pull(registry, APP.replace(tag="2"), store)
    assert store.trees.has(config.diff_ids[0])
    assert stages() == []
    assert store.budget.load.threads.used == 0


def test_a_second_tag_moves_nothing(registry: Registry, store: Store):
    manifest, _ = registry.add_image("1", {"a": b"one"})
    registry.tags["2"] = registry.tags["1"]
    pull(registry, APP, store)
    registry.fetched.clear()
    result = pull(registry, APP.replace(tag="2"), store)
    assert result.changed
    assert registry.fetched == []
    assert result.moved == 0
    assert result.reused == manifest.config.size + manifest.layers[0].size
    assert result.image.names == (str(APP), str(APP.replace(tag="2")))
    again = pull(registry, APP, store)
    assert (again.changed, again.status) == (False, "Image is up to date")


def test_only_new_layers_move(registry: Registry, store: Store):
    registry.add_image("1", {"base": NOISE[:1000]}, {"app": b"1"})
    manifest, _ = registry.add_image("2", {"base": NOISE[:1000]}, {"app": b"2"})
    pull(registry, APP, store)
    registry.fetched.clear()
    result = pull(registry, APP.replace(tag="2"), store)
    assert [digest for digest, _ in registry.fetched] == [manifest.config.digest, manifest.layers[1].digest]
    assert result.reused == manifest.layers[0].size


def test_a_layer_known_under_another_blob_is_not_fetched(registry: Registry, store: Store):
    registry.add_image("1", {"a": b"one"})
    plain, _ = registry.add_image("2", {"a": b"one"}, plain=True)
    pull(registry, APP, store)
    seen: list[str] = []

    class Watching(NullProgress):
        def task(self, key: str):
            task = super().task(key)
            task.done = seen.append  # type: ignore[method-assign]
            return task

    result = pull(registry, APP.replace(tag="2"), store, progress=Watching())
    assert seen[0].startswith("Already exists as ")
    assert not store.blobs.has(plain.layers[0].digest)
    assert result.image.read("a") == b"one"


def test_a_layer_that_is_there_twice_is_fetched_once(registry: Registry, store: Store):
    registry.add_image("1", {"a": b"x"}, {"b": b"y"}, {"a": b"x"})
    result = pull(registry, APP, store)
    assert len(registry.fetched) == 3
    assert len(result.image.layers) == 3
    assert result.reused == 0


def test_a_blob_without_its_tree_is_unpacked_from_disk(registry: Registry, store: Store):
    manifest, config = registry.add_image("1", {"a": b"one"})
    layer = manifest.layers[0]
    store.blobs.add(registry.blobs[layer.digest], layer.digest)
    done = ingest_layer(LayerJob(store, layer, config.diff_ids[0], registry, NullProgress().task("")))
    assert done.moved == 0
    assert registry.fetched == []
    assert store.trees.has(config.diff_ids[0])
    ensure_tree(store, layer, config.diff_ids[0])


@pytest.mark.parametrize("cut", [1, 70_000, 2_999_999])
def test_an_interrupted_pull_goes_on_where_it_was(registry: Registry, store: Store, cut: int):
    manifest, _ = registry.add_image("1", {"noise": NOISE})
    digest = manifest.layers[0].digest
    registry.cut[digest] = cut
    with pytest.raises(RegistryError, match="connection lost"):
        pull(registry, APP, store)
    assert nothing_is_visible(store)
    assert store.blobs.partial(digest) == cut
    registry.cut.clear()
    result = pull(registry, APP, store)
    assert registry.fetched[-1] == (digest, cut)
    assert result.moved == manifest.layers[0].size - cut
    assert result.image.read("noise") == NOISE


def test_a_resumed_blob_with_a_bad_beginning_is_fetched_again(registry: Registry, store: Store):
    manifest, _ = registry.add_image("1", {"noise": NOISE})
    digest = manifest.layers[0].digest
    good = registry.blobs[digest]
    registry.blobs[digest] = good[:5000] + b"!" * 5000 + good[10_000:]
    registry.cut[digest] = 2_000_000
    with pytest.raises(RegistryError):
        pull(registry, APP, store)
    registry.cut.clear()
    registry.blobs[digest] = good
    assert pull(registry, APP, store).image.read("noise") == NOISE
    assert registry.fetched[-1] == (digest, 0)


def test_content_that_is_not_what_its_digest_says(registry: Registry, store: Store):
    manifest, _ = registry.add_image("1", {"a": NOISE[:100_000]})
    digest = manifest.layers[0].digest
    registry.blobs[digest] = registry.blobs[digest][:-4] + b"evil"
    with pytest.raises(DigestMismatch, match=digest.short):
        pull(registry, APP, store)
    assert nothing_is_visible(store)
    assert not store.blobs.has(digest)


def test_content_longer_than_its_size(registry: Registry, store: Store):
    manifest, _ = registry.add_image("1", {"a": b"x"})
    registry.blobs[manifest.layers[0].digest] += b"more"
    with pytest.raises(TooLarge):
        pull(registry, APP, store)
    assert nothing_is_visible(store)


def test_a_lying_diff_id(registry: Registry, store: Store):
    manifest, config = registry.add_image("1", {"a": b"x"})
    other = Digest.of(b"something else")
    with pytest.raises(DigestMismatch):
        ingest_layer(LayerJob(store, manifest.layers[0], other, registry, NullProgress().task("")))
    assert not store.trees.has(other)
    assert not store.trees.has(config.diff_ids[0])
    assert not stages()


@pytest.mark.parametrize("data", [b"no tar at all" * 100, gzip.compress(b"x" * 5000), NOISE[:700_000]])
def test_a_layer_that_is_no_tar(registry: Registry, store: Store, data: bytes):
    layer = Descriptor.of(data, OCI_LAYER_GZIP)
    registry.add(data)
    plain = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    with pytest.raises(InvalidArchive, match=layer.digest.short):
        ingest_layer(LayerJob(store, layer, Digest.of(plain), registry, NullProgress().task("")))
    assert not store.trees.has(Digest.of(plain))
    assert not stages()


def test_a_truncated_gzip_with_the_right_digest(registry: Registry, store: Store):
    tar = make_tar({"a": NOISE[:300_000]})
    data = gzip.compress(tar)[:-100]
    registry.add(data)
    with pytest.raises(InvalidArchive):
        ingest_layer(
            LayerJob(
                store, Descriptor.of(data, OCI_LAYER_GZIP), Digest.of(tar), registry, NullProgress().task("")
            )
        )
    assert not store.trees.has(Digest.of(tar))


def test_layers_and_diff_ids_must_fit(registry: Registry, store: Store):
    manifest, _ = registry.add_image("1", {"a": b"x"})
    bad = manifest.replace(layers=manifest.layers * 2)
    registry.tag("1", bad.encode(), bad.media_type)
    with pytest.raises(InvalidDocument, match="2 layers"):
        pull(registry, APP, store)
    assert nothing_is_visible(store)


def test_a_config_that_is_too_large_is_not_fetched(registry: Registry, store: Store):
    manifest, _ = registry.add_image("1", {"a": b"x"})
    bad = manifest.replace(config=manifest.config.replace(size=5 << 20))
    registry.tag("1", bad.encode(), bad.media_type)
    with pytest.raises(TooLarge):
        pull(registry, APP, store)
    assert registry.fetched == []


@pytest.mark.parametrize(
    "kind", ["application/octet-stream", "application/json", "text/html", "text/plain; charset=utf-8", ""]
)
def test_a_config_whose_type_says_nothing(registry: Registry, store: Store, kind: str):
    """As registries of 2015 and 2016 stored it: the layers are those of an image, and the config is one."""
    manifest, _ = registry.add_image("1", {"a": b"one"})
    old = manifest.replace(media_type=DOCKER_MANIFEST, config=manifest.config.replace(media_type=kind))
    registry.tag("1", old.encode(), DOCKER_MANIFEST)
    image = pull(registry, APP, store).image
    assert image.read("/a") == b"one"
    assert find(store, str(APP)) == image
    other = Registry("registry.test/other")
    push(store, image.descriptor, other, "1")
    assert other.tags["1"] == registry.tags["1"]


@pytest.mark.parametrize(
    ("config", "layer"),
    [("application/json", "text/plain"), ("application/x", OCI_LAYER_GZIP), ("text/html", "")],
)
def test_a_config_of_something_else(registry: Registry, store: Store, config: str, layer: str):
    manifest, _ = registry.add_image("1", {"a": b"one"})
    (one,) = manifest.layers
    layers = (one.replace(media_type=layer),) if layer else ()
    other = manifest.replace(config=manifest.config.replace(media_type=config), layers=layers)
    registry.tag("1", other.encode(), other.media_type)
    with pytest.raises(Unsupported, match="not a container image"):
        pull(registry, APP, store)


def test_an_artifact_is_no_image(registry: Registry, store: Store):
    manifest, _ = registry.add_image("1", {"a": b"x"})
    config = manifest.config.replace(media_type="application/vnd.cncf.helm.config.v1+json")
    chart = manifest.replace(config=config)
    registry.tag("1", chart.encode(), chart.media_type)
    with pytest.raises(Unsupported, match="helm"):
        pull(registry, APP, store)


def test_docker_s_media_types_stay(registry: Registry, store: Store):
    manifest, _ = registry.add_image("1", {"a": b"x"})
    layers = tuple(layer.replace(media_type=DOCKER_LAYER_GZIP) for layer in manifest.layers)
    docker = manifest.replace(media_type=DOCKER_MANIFEST, layers=layers)
    registry.tag("1", docker.encode(), DOCKER_MANIFEST)
    result = pull(registry, APP, store)
    assert result.image.descriptor.media_type == DOCKER_MANIFEST
    assert result.image.manifest == docker
    far = Registry("far.test/app")
    push(store, result.image.descriptor, far, "1")
    assert far.tags["1"] == registry.tags["1"]


def test_an_interrupt_in_the_middle_leaves_nothing_running(registry: Registry, store: Store):
    registry.add_image("1", {"noise": NOISE}, {"more": NOISE[::-1]})
    once = iter([True])

    def interrupt(digest: str, offset: int) -> None:
        if offset > 1_000_000 and next(once, False):
            os.kill(os.getpid(), signal.SIGINT)

    registry.during = interrupt
    with pytest.raises(KeyboardInterrupt):
        pull(registry, APP, store)
    assert nothing_is_visible(store)
    assert pull(registry, APP, store).image.read("noise") == NOISE


def test_two_pulls_at_once_fetch_each_layer_once(registry: Registry, store: Store):
    registry.add_image("1", {"noise": NOISE}, {"more": b"x"})
    results = []
    threads = [threading.Thread(target=lambda: results.append(pull(registry, APP, store))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    layers = {layer.digest for layer in results[0].image.manifest.layers}
    assert sorted(d for d, _ in registry.fetched if d in layers) == sorted(layers)


def index_of(registry: Registry, tag: str, *entries: tuple[Platform | None, str]) -> Index:
    rows = []
    for platform, image in entries:
        digest, media_type = registry.tags[image]
        rows.append(Descriptor(media_type, Digest(digest), len(registry.blobs[digest]), platform))
    index = Index(OCI_INDEX, tuple(rows))
    registry.tag(tag, index.encode(), OCI_INDEX)
    return index


def test_the_entry_of_the_platform_is_taken(registry: Registry, store: Store):
    arm, amd = Platform("linux", "arm64"), Platform("linux", "amd64")
    registry.add_image("arm", {"a": b"arm"}, platform=arm)
    registry.add_image("amd", {"a": b"amd"}, platform=amd)
    index = index_of(registry, "1", (Platform("unknown", "unknown"), "arm"), (amd, "amd"), (arm, "arm"))
    result = pull(registry, APP, store, platform=arm)
    assert result.image.read("a") == b"arm"
    assert result.digest == Digest.of(index.encode())
    assert result.image.digest == registry.tags["arm"][0]
    far = Registry("far.test/x")
    assert push(store, result.image.descriptor, far, "1").digest == result.image.digest


def test_an_index_of_indexes(registry: Registry, store: Store):
    registry.add_image("inner", {"a": b"x"})
    index_of(registry, "middle", (Platform.host(), "inner"))
    index_of(registry, "1", (Platform.host(), "middle"))
    assert pull(registry, APP, store).image.read("a") == b"x"
    for depth in range(5):
        index_of(registry, f"d{depth}", (Platform.host(), f"d{depth - 1}" if depth else "inner"))
    with pytest.raises(Unsupported):
        pull(registry, APP.replace(tag="d4"), store)


def test_no_entry_fits(registry: Registry, store: Store):
    registry.add_image("x", {"a": b"x"})
    index_of(registry, "1", (Platform("linux", "s390x"), "x"), (Platform("linux", "ppc64le"), "x"))
    with pytest.raises(NotFound) as caught:
        pull(registry, APP, store, platform=Platform("linux", "riscv64"))
    assert "linux/riscv64" in caught.value.message
    assert "linux/ppc64le, linux/s390x" in caught.value.hint


@pytest.mark.parametrize(
    ("there", "wanted", "expected"),
    [
        (["arm/v5", "arm/v7", "arm/v6"], "arm/v7", 1),
        (["arm/v5", "arm/v6"], "arm/v7", 1),
        (["arm/v7", "arm"], "arm/v6", 1),
        (["arm64", "arm64/v8"], "arm64", 0),
        (["amd64", "amd64/v3"], "amd64", 0),
        (["amd64", "amd64/v3"], "amd64/v2", 0),
        (["386", "amd64"], "amd64", 1),
    ],
)
def test_variants(there: list[str], wanted: str, expected: int):
    entries = tuple(
        Descriptor(OCI_INDEX, Digest.of(str(n).encode()), n, Platform.parse(f"linux/{text}"))
        for n, text in enumerate(there)
    )
    assert select(Index(OCI_INDEX, entries), Platform.parse(f"linux/{wanted}"), "x") == entries[expected]


def test_a_pull_by_digest_is_named_by_digest(registry: Registry, store: Store):
    registry.add_image("1", {"a": b"x"})
    digest = Digest(registry.tags["1"][0])
    reference = Reference.parse(f"registry.test/app@{digest}")
    image = pull(registry, reference, store).image
    assert image.names == (f"registry.test/app@{digest}",)
    assert find(store, str(reference)) == image
    assert find(store, f"registry.test/app:7@{digest}") == image


def test_push_sends_only_what_is_missing(registry: Registry, store: Store):
    manifest, _ = registry.add_image("1", {"base": b"b"}, {"app": b"a"})
    image = pull(registry, APP, store).image
    far = Registry("far.test/app")
    first = push(store, image.descriptor, far, "1")
    sizes = {layer.digest: layer.size for layer in (*manifest.layers, manifest.config)}
    assert (first.moved, first.mounted, first.existing) == (sum(sizes.values()), 0, 0)
    assert set(far.put_blobs) == set(sizes)
    assert far.blobs[image.digest] == registry.blobs[image.digest]
    far.put_blobs.clear()
    second = push(store, image.descriptor, far, "2")
    assert (second.moved, second.existing) == (0, first.moved)
    assert far.put_blobs == []
    assert far.tags["2"] == far.tags["1"]


def test_push_mounts_from_where_the_layer_is_known(registry: Registry, store: Store):
    manifest, _ = registry.add_image("1", {"base": b"b"})
    image = pull(registry, APP, store).image
    far = Registry("registry.test/copy")
    far.mountable = {manifest.layers[0].digest: registry.where}
    result = push(store, image.descriptor, far, "1")
    assert result.mounted == manifest.layers[0].size
    assert far.put_blobs == [manifest.config.digest]
    assert store.layers.sources(manifest.layers[0].digest) == [far.where, registry.where]


def test_push_of_a_layer_that_is_not_here_says_so(registry: Registry, store: Store):
    registry.add_image("1", {"a": b"one"}, plain=True)
    registry.add_image("2", {"a": b"one"})
    pull(registry, APP, store)
    image = pull(registry, APP.replace(tag="2"), store).image
    with pytest.raises(NotFound, match="compressed form"):
        push(store, image.descriptor, Registry("far.test/x"), "2")


def test_a_committed_layer_is_a_layer(store: Store):
    _, diff_id = add_layer(store, io.BytesIO(make_tar({"etc/x": b"low", "etc/y": b"gone"})))
    active = store.actives.prepare("k1", [diff_id])
    with open(f"{active.upper}/new", "wb") as file:
        file.write(NOISE)
    descriptor, top, count = commit_layer(store, active)
    assert descriptor.media_type == OCI_LAYER_GZIP
    with CompressedForms(store).open(descriptor) as layer:
        tar = gzip.decompress(b"".join(iter(lambda: layer.read(1 << 20), b"")))
    assert Digest.of(tar) == top
    assert count == len(tar)
    found = store.trees.lookup([diff_id, top], b"new")
    assert found is not None
    with found.open() as file:
        assert file.read() == NOISE
    assert store.layers.diff_id(descriptor.digest) == top


def test_an_empty_commit_is_the_empty_layer(store: Store):
    _, diff_id = add_layer(store, io.BytesIO(make_tar({"a": b"x"})))
    descriptor, top, count = commit_layer(store, store.actives.prepare("k1", [diff_id]))
    assert count == 0
    assert top == "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
    assert is_here(store, descriptor)


def test_added_layers_are_equal_for_equal_tars(store: Store, other_store: Store):
    tar = make_tar({"a": NOISE})
    first = add_layer(store, io.BytesIO(tar))
    assert add_layer(other_store, io.BytesIO(tar)) == first
    assert add_layer(store, io.BytesIO(tar)) == first
    assert add_layer(store, io.BytesIO(b"not read"), expected=first[1]) == first
    zstd, _ = add_layer(store, io.BytesIO(tar), "zstd", expected=None)
    assert zstd.media_type == OCI_LAYER_ZSTD


def test_a_bad_tar_adds_nothing(store: Store):
    with pytest.raises(InvalidArchive):
        add_layer(store, io.BytesIO(b"x" * 3000))
    with pytest.raises(DigestMismatch):
        add_layer(store, io.BytesIO(make_tar({"a": b"x"})), expected=Digest.of(b"other"))
    assert not stages()


def test_an_image_is_a_view(registry: Registry, store: Store):
    registry.add_image("1", {"a/b": b"low", "a/c": b"2"}, {"a/b": b"high", "z": b""})
    image = pull(registry, APP, store).image
    assert image.read("a/b") == b"high"
    assert image.stat("/a").kind == "dir"
    assert [found.path for found in image.walk()] == [b"", b"a", b"a/b", b"a/c", b"z"]
    assert [found.path for found in image.walk("/a")] == [b"a", b"a/b", b"a/c"]
    assert [layer.created_by for layer in image.layers] == ["step 0", "step 1"]
    assert image.size == 3 + 1 + 4
    with pytest.raises(NotFound, match="/nope"):
        image.read("/nope")
    with pytest.raises(TooLarge):
        image.read("a/b", limit=3)
    with pytest.raises(NotFound):
        list(image.walk("/nope"))
    assert Image.load(store, image.descriptor) == image


def test_find_by_name_id_and_digest(registry: Registry, store: Store):
    registry.add_image("1", {"a": b"1"})
    registry.add_image("2", {"a": b"2"})
    one = pull(registry, APP, store).image
    two = pull(registry, APP.replace(tag="2"), store).image
    for text in ("registry.test/app:1", one.id, one.id.hex, one.id.short, one.digest, one.digest.hex):
        assert find(store, text) == one, text
    assert find(store, two.id.hex[:20]) == two
    for text in ("registry.test/app:3", "nope", "0" * 64, "sha256:" + "0" * 64):
        with pytest.raises(NotFound, match="No such image"):
            find(store, text)
    assert isinstance(one.manifest, Manifest)


def put_index(registry: Registry, tag: str, *platforms: Platform) -> tuple[Digest, list[Digest]]:
    """The digest of an index and those of its manifests."""
    rows = []
    for platform in platforms:
        manifest, _ = registry.add_image("x", {str(platform).replace("/", "-"): b"x"}, platform=platform)
        data = manifest.encode()
        rows.append(Descriptor(manifest.media_type, Digest.of(data), len(data), platform))
    top = registry.tag(tag, Index(OCI_INDEX, tuple(rows)).encode(), OCI_INDEX)
    return top.digest, [row.digest for row in rows]


def test_the_digests_of_an_image_are_those_that_pull_and_push_printed(registry: Registry, store: Store):
    """Of an index its own: pinned by it, the image is the right one on another machine, too."""
    index, (_, manifest) = put_index(registry, "1", Platform("linux", "s390x"), Platform.host())
    image = pull(registry, APP, store).image
    assert image.digest == manifest
    assert repo_digests(image) == [f"registry.test/app@{index}"]
    assert find(store, f"registry.test/app@{index}") == image
    store.refs.set("registry.test/mine:1", image.descriptor)
    assert repo_digests(image) == [f"registry.test/app@{index}"]
    push(store, image.descriptor, Registry("registry.test/mine"), "1")
    assert repo_digests(image) == [f"registry.test/app@{index}", f"registry.test/mine@{manifest}"]
    pinned = APP.replace(tag="", digest=manifest)
    pull(registry, pinned, store)
    assert repo_digests(image)[:2] == sorted(f"registry.test/app@{digest}" for digest in (index, manifest))


def test_what_a_digest_named_is_forgotten_with_the_image(registry: Registry, store: Store):
    far = Platform("linux", "s390x")
    index, (here, there) = put_index(registry, "1", Platform.host(), far)
    pull(registry, APP, store)
    assert store.refs.digests("registry.test/app", here) == [index]
    assert store.refs.digests("registry.test/app", there) == []
    assert store.refs.digests("registry.test/ap", here) == []
    pull(registry, APP, store, platform=far)
    assert find(store, f"registry.test/app@{index}").digest == there
    assert store.refs.digests("registry.test/app", here) == [index]
    store.refs.forget(there)
    sweep(store, images="dangling")
    assert store.refs.digests("registry.test/app", there) == []
    with pytest.raises(NotFound):  # no name of that repository is left
        find(store, f"registry.test/app@{index}")
