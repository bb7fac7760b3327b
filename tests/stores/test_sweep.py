"""The sweep frees what nothing reaches, all of it, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from storekit import Process, file, is_whole, layer, leftovers, make_image, until

from nacre.ground.files import disk_usage
from nacre.stores import Store
from nacre.stores.containers import ContainerRow
from nacre.stores.steps import StepRecord
from nacre.stores.sweep import sweep
from nacre.words.digest import Digest
from nacre.words.errors import NotFound, StoreError
from nacre.words.oci import OCI_INDEX, OCI_LAYER, Descriptor, Index, Manifest, parse_document

ONE, TWO, THREE = (layer(file(name, name.encode() * 9000)) for name in ("one", "two", "three"))
ID = "c" * 64


def kinds(store: Store, **options: object) -> list[str]:
    return sorted(kind for kind, _, _ in sweep(store, **options).items)  # type: ignore[arg-type]


def test_nothing_to_do(store: Store) -> None:
    image = make_image(store, ONE, TWO, name="a")
    assert sweep(store).items == ()
    assert is_whole(store, image)


def test_images(store: Store) -> None:
    named = make_image(store, ONE, TWO, name="a")
    dangling = make_image(store, ONE, THREE)
    store.refs.remember(dangling)
    assert kinds(store) == []
    assert kinds(store, images="dangling") == ["blob"] * 3 + ["image", "tree"]
    assert is_whole(store, named)
    assert not store.trees.has(Digest.of(THREE))
    assert sorted(set(kinds(store, images="all"))) == ["blob", "image", "tree"]
    assert store.refs.list() == store.refs.images() == []
    assert os.listdir(f"{store.root}/blobs/sha256") == []
    assert os.listdir(f"{store.root}/trees") == [".empty"]


def test_moving_a_name_leaves_a_dangling_image(store: Store) -> None:
    first = make_image(store, ONE, name="a")
    make_image(store, TWO, name="a")
    assert kinds(store) == []
    assert is_whole(store, first)
    assert "image" in kinds(store, images="dangling")


def test_a_folder_that_goes_meanwhile(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that ends removes its own."""
    folder = Path(store.root, "containers", ID)
    folder.mkdir(parents=True)

    def name() -> str:
        folder.rmdir()
        return "new"

    monkeypatch.setattr("nacre.stores.sweep.random_name", name)
    assert kinds(store) == []
    assert not folder.exists()


def test_an_index_keeps_its_images(store: Store) -> None:
    image = make_image(store, ONE)
    data = Index(OCI_INDEX, (image, Descriptor.of(b"another platform", OCI_INDEX))).encode()
    store.blobs.add(data)
    store.refs.set("a", Descriptor.of(data, OCI_INDEX))
    assert kinds(store, images="dangling") == []
    assert is_whole(store, image)


def test_an_index_goes_with_a_name(store: Store) -> None:
    image, said = make_image(store, ONE, name="a"), make_image(store, TWO)
    data = Index(OCI_INDEX, (image, said)).encode()
    index = Descriptor.of(data, OCI_INDEX)
    with pytest.raises(NotFound):
        store.refs.set("a", image, index)
    assert store.refs.index("a") is None
    store.blobs.add(data)
    store.refs.set("a", image, index)
    store.refs.set("b", image, index)
    store.leases.release_all()
    assert store.refs.delete("b")
    assert kinds(store, images="dangling") == []
    assert (store.refs.index("a"), store.refs.index("b")) == (index, None)
    assert is_whole(store, said)
    store.refs.set("a", image)
    assert "tree" in kinds(store)
    assert is_whole(store, image)
    assert not store.blobs.has(said.digest)


def test_a_container_keeps_its_image_and_its_files(store: Store) -> None:
    image = make_image(store, ONE)
    store.containers.insert(ContainerRow(ID, "c", image.digest, "a", 1.0, state="exited"))
    store.actives.prepare(ID, [Digest.of(ONE)])
    os.mkdir(store.containers.folder(ID))
    store.leases.release_all()
    assert kinds(store, images="all", build_cache=True) == []
    assert store.actives.find(ID) is not None
    assert is_whole(store, image)
    assert {"active", "blob", "container", "folder", "tree"} == set(kinds(store, containers="stopped"))
    assert leftovers(store.root) == []


def test_a_container_that_is_about_to_start_is_not_left_behind(root: str, store: Store) -> None:
    """Another process sweeps between `create` and `start` of one `run`."""
    image = make_image(store, ONE)
    starting = store.containers.begin(ContainerRow(ID, "c", image.digest, "a", 1.0))
    with Store.open(root) as other:
        assert "container" not in kinds(other, containers="stopped")
    assert store.containers.get(ID).state == "created"
    starting.release()
    assert "container" in kinds(store, containers="stopped")
    assert not os.path.exists(store.containers.folder(ID))


def test_a_kept_step_keeps_its_layer(store: Store) -> None:
    made = Descriptor.of(ONE, OCI_LAYER)
    make_image(store, ONE)
    store.steps.put(StepRecord("k", "", made, made.digest, "{}"))
    assert set(kinds(store, images="all")) == {"blob"}
    assert store.steps.get("k") is not None
    assert store.trees.has(made.digest)
    assert set(kinds(store, build_cache=True)) == {"blob", "step", "tree"}
    assert not store.trees.has(made.digest)


@pytest.mark.parametrize("items", [None, frozenset(("k", "other"))])
def test_a_step_of_a_build_at_work_stays(root: str, store: Store, items: frozenset[str] | None) -> None:
    """Another process prunes the cache before the step above has read what this one made."""
    for key in ("k", "other"):
        store.steps.put(StepRecord(key, "", None, None, "{}"))
    lease = store.leases.hold()
    lease.add("step", "k")
    with Store.open(root) as other:
        assert kinds(other, build_cache=True, cache_items=items) == ["step"]
    assert store.steps.get("other") is None
    assert store.steps.get("k") is not None
    lease.close()
    assert kinds(store, build_cache=True, cache_items=items) == ["step"]


def test_a_lease_of_another_process_spares_what_it_made(root: str, store: Store) -> None:
    ready, go = os.pipe()
    end, stop = os.pipe()

    def work() -> None:
        with Store.open(root) as other:
            image = make_image(other, ONE)
            with other.leases.hold():
                assert is_whole(other, image)
                os.write(go, b"x")
                os.read(end, 1)
                other.refs.set("late", image)
                assert is_whole(other, image)

    process = Process(work)
    os.read(ready, 1)
    assert kinds(store, images="all") == []
    os.write(stop, b"x")
    assert process.wait() == 0
    assert store.refs.get("late") is not None
    for fd in (ready, go, end, stop):
        os.close(fd)


def test_a_lease_of_the_dead_spares_nothing(root: str, store: Store) -> None:
    ready, go = os.pipe()

    def work() -> None:
        other = Store.open(root)
        other.leases.hold()
        make_image(other, ONE)
        other.actives.prepare("dead1", [Digest.of(ONE)])
        with other.blobs.ingest() as ingest:
            ingest.write(b"partial")
            os.write(go, b"x")
            os.read(ready, 0)
            until(lambda: False, 60)

    process = Process(work)
    os.read(ready, 1)
    assert kinds(store, images="all") == []
    process.kill()
    process.wait()
    assert set(kinds(store)) == {"active", "blob", "ingest", "tree"}
    assert leftovers(store.root) == []
    os.close(ready)
    os.close(go)


def test_an_interrupted_download_is_kept_for_a_while(store: Store) -> None:
    with store.blobs.ingest(Digest.of(ONE)) as ingest:
        ingest.write(ONE[:5000])
    with store.blobs.ingest(key="up-1") as ingest:
        ingest.write(b"part")
    assert kinds(store) == []
    assert store.blobs.partial(Digest.of(ONE)) == 5000
    assert kinds(store, max_age=-1.0) == ["ingest", "ingest"]
    assert leftovers(store.root) == []


def test_orphans_of_every_kind(store: Store) -> None:
    """What a kill may leave: files without rows, rows without files, trash, lease files."""
    Path(store.root, "blobs/sha256", "a" * 64).write_bytes(b"x" * 5000)
    Path(store.root, "trees", "b" * 64).mkdir()
    Path(store.root, "active/gone").mkdir()
    Path(store.root, "containers", ID).mkdir()
    Path(store.root, "trash/old").mkdir()
    Path(store.root, "leases/never").write_bytes(b"")
    Path(store.root, "ingest/tree-x").mkdir()
    os.unlink(store.blobs.path(store.blobs.add(b"lost")))
    freed = sweep(store)
    assert sorted(kind for kind, _, _ in freed.items) == ["active", "blob", "folder", "ingest", "tree"]
    assert freed.bytes >= 8192
    assert leftovers(store.root) == []


def test_sizes_are_true(store: Store) -> None:
    make_image(store, ONE, TWO, name="a")
    folders = [f"{store.root}/{name}" for name in ("blobs", "trees")]
    before = sum(map(disk_usage, folders))
    freed = sweep(store, images="all")
    assert freed.bytes == before - sum(map(disk_usage, folders))
    assert freed.count == len(freed.items)


def test_own_implicit_lease_is_no_obstacle(store: Store) -> None:
    store.blobs.add(b"unreachable")
    assert kinds(store) == ["blob"]


def test_strays_go_when_they_are_old(store: Store) -> None:
    make_image(store, ONE, name="a")
    tree = store.trees.rows.folder(Digest.of(ONE))
    new, old = (Path(tree, f"brow-x.{digit * 16}") for digit in "ab")
    for path in (new, old):
        path.mkdir()
        (path / "f").write_bytes(b"x")
    os.utime(old, (1, 1))
    Path(store.root, "build/cache").mkdir(parents=True)
    Path(store.root, "build/cache/gone.lock").touch()
    assert kinds(store) == ["stray"]
    assert new.exists()
    assert not old.exists()
    assert os.listdir(f"{store.root}/build/cache") == []


def test_a_download_whose_tree_is_here_is_not_resumed(store: Store) -> None:
    make_image(store, ONE, name="a")
    blob = Digest.of(b"compressed")
    with store.blobs.ingest(blob) as ingest:
        ingest.write(b"compres")
    store.layers.record(blob, Digest.of(ONE), OCI_LAYER, 10)
    store.leases.release_all()
    assert kinds(store) == ["ingest"]


@pytest.mark.parametrize(
    ("policy", "synced", "source", "recipe", "shed"),
    [
        ("drop", 1, "r.test/x", "", True),
        ("keep", 1, "r.test/x", "", False),
        ("drop", 0, "r.test/x", "", False),
        ("drop", 1, "", "", False),
        ("drop", 1, "", "gzip/other/1/1", False),
    ],
)
def test_blobs_that_can_be_had_again_are_shed(
    root: str, policy: str, synced: int, source: str, recipe: str, shed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(root, layer_blobs=policy) as store:
        make_image(store, ONE, name="a")
        blob = store.blobs.add(b"a compressed form of it")
        store.layers.record(blob, Digest.of(ONE), OCI_LAYER, 23, recipe)
        monkeypatch.setattr(store.trees, "can_tar", lambda diff_id: True)
        monkeypatch.setattr("nacre.stores.sweep._Sweep._collect_blobs", lambda self: None)
        store.db.change("UPDATE tree SET synced = ?", (synced,))
        store.db.change("DELETE FROM layer WHERE digest <> ?", (blob,))
        if source:
            store.layers.add_source(blob, source)
        store.leases.release_all()
        assert kinds(store) == []
        assert kinds(store, shed=True) == (["blob"] if shed else [])
        assert store.blobs.has(blob) is not shed


@pytest.mark.parametrize("spared", [True, False])
def test_settling(store: Store, monkeypatch: pytest.MonkeyPatch, spared: bool) -> None:
    """What was written a minute ago is synced and marked when the next work begins."""
    from nacre.stores.syncing import mark_synced

    digest = store.blobs.add(ONE, Digest.of(ONE))
    assert mark_synced(store.root, store.db, age=3600.0 if spared else -1.0) == (0 if spared else 1)
    monkeypatch.setattr("nacre.stores.blobs.boot_id", lambda: "another boot")
    os.chmod(store.blobs.path(digest), 0o600)
    with open(store.blobs.path(digest), "r+b") as file:
        file.write(b"damaged")
    assert store.blobs.has(digest) is not spared


def _replaced_by_a_folder(path: str) -> None:
    """A file that is there and cannot be read, for root as for anybody."""
    os.unlink(path)
    os.mkdir(path)


@pytest.mark.parametrize("which", ["manifest", "config"])
def test_what_cannot_be_read_now_frees_nothing(store: Store, which: str) -> None:
    """No descriptors, an error of the disk: what an image needs is not known, so all of it may be needed."""
    image = make_image(store, ONE, TWO, name="a")
    store.leases.release_all()
    kept = store.blobs.read(image.digest)
    document = parse_document(kept)
    assert isinstance(document, Manifest)
    path = store.blobs.path(image.digest if which == "manifest" else document.config.digest)
    data = Path(path).read_bytes()
    _replaced_by_a_folder(path)
    with pytest.raises(StoreError, match="cannot read blob"):
        sweep(store, images="dangling")
    os.rmdir(path)
    Path(path).write_bytes(data)
    assert kinds(store) == []
    assert is_whole(store, image)


@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_an_image_that_has_lost_its_config_keeps_its_layers(store: Store, how: str) -> None:
    image = make_image(store, ONE, TWO, name="a")
    store.leases.release_all()
    document = parse_document(store.blobs.read(image.digest))
    assert isinstance(document, Manifest)
    path = Path(store.blobs.path(document.config.digest))
    path.unlink()
    if how == "damaged":
        path.write_bytes(b"{}")
    assert "tree" not in kinds(store)
    assert store.trees.missing([Digest.of(ONE), Digest.of(TWO)]) == []


def test_a_sweep_that_was_killed_after_it_moved_files(root: str, store: Store) -> None:
    """Its rows are there still and their files are not: the next one deletes the rows as well."""
    kept = make_image(store, ONE, name="kept")
    make_image(store, TWO, THREE)
    store.leases.release_all()

    def killed() -> None:
        from nacre.ground.files import install_trace

        moved = []

        def hook(name: str) -> None:
            if name == "sweep:marked":
                moved.append(name)
            if moved and name == "database:ending":
                os._exit(9)

        install_trace(hook)
        with Store.open(root) as other:
            sweep(other)

    assert Process(killed).wait() == 9
    lost = [
        d for (d,) in store.db.execute("SELECT digest FROM blob") if not os.path.exists(store.blobs.path(d))
    ]
    assert len(lost) == 4
    assert "tree" not in kinds(store)  # its folder went with the first
    assert {row[0] for row in store.db.execute("SELECT diff_id FROM tree")} == {Digest.of(ONE)}
    assert all(os.path.exists(store.blobs.path(d)) for (d,) in store.db.execute("SELECT digest FROM blob"))
    assert is_whole(store, kept)
    assert leftovers(root) == []


def test_a_row_of_what_is_needed_stays_without_its_file(store: Store) -> None:
    """A check tells of it, and a repair knows its size."""
    image = make_image(store, ONE, name="a")
    os.unlink(store.blobs.path(image.digest))
    store.leases.release_all()
    sweep(store)
    assert store.db.one("SELECT 1 FROM blob WHERE digest = ?", (image.digest,))
