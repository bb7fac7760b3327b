"""What `system df` says is what a sweep then frees, to the block."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from imagekit import Registry, make_tar

from nacre.ground import userns
from nacre.images.arrows.pull import pull
from nacre.images.audit.usage import DiskUsage, disk_usage
from nacre.images.layers.ingest import add_layer
from nacre.images.model.edit import append_layer, new_config, write_image
from nacre.stores import blocks, volumes
from nacre.stores.containers import ContainerRow
from nacre.stores.eventlog import read_events
from nacre.stores.reclaimable import Reclaimable
from nacre.stores.steps import StepRecord
from nacre.stores.store import Store
from nacre.stores.sweep import sweep
from nacre.words.digest import Digest
from nacre.words.oci import Descriptor, Platform
from nacre.words.reference import Reference

APP = Reference.parse("registry.test/app:1")
ID = "c" * 64
DRIVERS = ["overlay", "erofs"]


@pytest.fixture(params=DRIVERS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store that holds a bit of everything."""
    if request.param == "erofs" and not userns.mapped():
        pytest.skip("needs root that may mount")
    root = str(tmp_path / "store")
    with Store.open(root, driver="overlay", layer_blobs="keep") as first:
        _pulled(first, "1", {"a": b"a" * 9000, "b/c": b"c" * 70_000}, {"d": b"d" * 5000})
    with Store.open(root, driver=request.param, layer_blobs="drop") as store:
        if store.driver.name == "erofs" and ", but " in store.driver.why:
            pytest.skip(store.driver.why)
        _pulled(store, "2", {"a": b"a" * 9000, "b/c": b"c" * 70_000}, {"e": b"e" * 50_000})
        _built(store)
        _contained(store)
        yield store


def _pulled(store: Store, tag: str, *layers: dict[str, bytes | None]) -> None:
    registry = Registry()
    registry.add_image(tag, *layers)
    pull(registry, APP.replace(tag=tag), store)


def _layer(store: Store, name: str) -> tuple[Descriptor, Digest]:
    layer, diff_id = add_layer(store, io.BytesIO(make_tar({name: name.encode() * 8000})))
    store.steps.put(StepRecord(f"key-{name}", "", layer, diff_id, "{}"))
    return layer, diff_id


def _built(store: Store) -> None:
    """An image with two steps, a step that no image has, and a cache mount."""
    config, layers = new_config(Platform.host(), created="2024-01-01T00:00:00Z"), []
    for name in ("one", "two"):
        layer, diff_id = _layer(store, name)
        layers.append(layer)
        config = append_layer(config, diff_id, name)
    store.refs.set("docker.io/library/built:1", write_image(store, config, layers))
    _layer(store, "alone")
    folder = Path(store.root, "build/cache/abc")
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(b"x" * 10_000)


def _contained(store: Store) -> None:
    """A container, volumes, an interrupted download, what a kill left."""
    image = store.refs.get(str(APP.replace(tag="2")))
    assert image is not None
    store.containers.insert(ContainerRow(ID, "box", image.digest, "x", 1.0, state="exited"))
    store.actives.prepare(ID, [])
    Path(store.root, "active", ID, "upper", "written").write_bytes(b"w" * 20_000)
    os.mkdir(store.containers.folder(ID))
    Path(volumes.make(store.root, "data"), "f").write_bytes(b"v" * 30_000)
    Path(volumes.make(store.root, "d" * 64), "f").write_bytes(b"v" * 5_000)
    with store.blobs.ingest(Digest.of(b"another")) as ingest:
        ingest.write(b"x" * 12_345)
    store.leases.release_all()


def left(store: Store) -> int:
    """Bytes of disk of everything but the database, which no sweep is about."""
    paths = [f"{store.root}/{name}" for name in os.listdir(store.root) if not name.startswith("nacre.db")]
    return sum(blocks.union(paths).values())


def figures(usage: DiskUsage) -> dict[str, tuple[int, int]]:
    return {kind.name: (kind.stored, kind.reclaimable) for kind in usage.kinds}


@pytest.mark.parametrize(
    ("kind", "wishes"),
    [
        ("Images", {"images": "all"}),
        ("Containers", {"containers": "stopped"}),
        ("Build Cache", {"build_cache": True}),
        ("Leftovers", {"max_age": -1.0}),
    ],
)
def test_a_prune_frees_what_was_said(store: Store, kind: str, wishes: dict[str, object]) -> None:
    said = figures(disk_usage(store))[kind][1]
    before = left(store)
    freed = sweep(store, **wishes)
    assert freed.bytes == said == before - left(store)
    assert said > 0
    assert figures(disk_usage(store))[kind][1] == 0


def test_volumes(store: Store) -> None:
    said = figures(disk_usage(store))["Local Volumes"][1]
    before = left(store)
    assert sum(volumes.remove(store, one.name) for one in volumes.every(store)) == said
    assert said == before - left(store)


def test_the_whole_prune(store: Store) -> None:
    said = disk_usage(store).prunable
    before = left(store)
    freed = sweep(store, images="all", containers="stopped", build_cache=True, max_age=-1.0, shed=True)
    rest = sum(volumes.remove(store, one.name) for one in volumes.every(store) if one.anonymous)
    assert freed.bytes + rest == said == before - left(store)
    after = disk_usage(store)
    assert after.prunable == 0
    assert [kind.stored for kind in after.kinds if kind.name != "Local Volumes"] == [0, 0, 0, 0]


def test_the_kinds_and_the_rest_are_the_whole(store: Store) -> None:
    usage = disk_usage(store)
    assert sum(kind.stored for kind in usage.kinds) + usage.other == usage.total
    folders = [
        f"{store.root}/{name}" for name in ("blobs", "trees", "active", "containers", "ingest", "volumes")
    ]
    apart = sum(os.lstat(folder).st_blocks * 512 for folder in folders)
    apart += sum(
        os.lstat(f"{store.root}/{name}").st_blocks * 512 for name in ("blobs/sha256", "trees/.empty")
    )
    content = sum(blocks.union([*folders, f"{store.root}/build/cache/abc"]).values())
    assert sum(kind.stored for kind in usage.kinds) == content - apart


def test_foresight_changes_nothing(store: Store) -> None:
    tables = ("ref", "image", "blob", "tree", "step", "container", "layer", "source", "active")
    rows = [store.db.execute(f"SELECT count(*) FROM {table}") for table in tables]
    before = left(store)
    for _ in range(2):
        told = Reclaimable(store).of(images="all", containers="stopped", build_cache=True, max_age=-1.0)
        assert told[1] > 0
    assert [store.db.execute(f"SELECT count(*) FROM {table}") for table in tables] == rows
    assert left(store) == before
    assert {event.kind for event in read_events(store.root, 0.0, time.time())} == {"volume"}  # made
    assert sweep(store).bytes == 0


def test_what_images_share(store: Store) -> None:
    usage = disk_usage(store)
    one, two = (next(i for i in usage.images if str(APP.replace(tag=tag)) in i.names) for tag in "12")
    assert one.shared == two.shared > 0
    assert (one.containers, two.containers) == (0, 1)
    assert one.size == 9000 + 70_000 + 5000
    shared = [layer for layer in usage.layers if layer.images == 2]
    assert len(shared) == 1
    assert shared[0].blob > 0  # it came while blobs were kept
    dropped = [layer for layer in usage.layers if layer.driver == "erofs"]
    assert not any(layer.blob for layer in dropped)


def test_hard_links_are_counted_once_and_freed_with_the_last(tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
    (tmp_path / "x/f").write_bytes(b"f" * 50_000)
    os.link(tmp_path / "x/f", tmp_path / "y/g")
    x, y = str(tmp_path / "x"), str(tmp_path / "y")
    file = os.stat(tmp_path / "x/f").st_blocks * 512
    folder = os.stat(x).st_blocks * 512
    assert sum(blocks.union([x, y]).values()) == file + 2 * folder
    assert blocks.freed([x]) == folder
    assert blocks.freed([x, y, x]) == file + 2 * folder
    assert blocks.freed([f"{x}/nothing"]) == 0
    sparse = tmp_path / "holes"
    with sparse.open("wb") as out:
        out.truncate(1 << 30)
    assert blocks.freed([str(sparse)]) < 1 << 20
