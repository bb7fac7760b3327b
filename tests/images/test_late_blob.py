"""The partial blob of a pull whose blob is not kept: written only for a transfer that takes long."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from imagekit import Registry

from nacre.images.arrows.pull import pull
from nacre.images.layers import ingest as layers
from nacre.images.layers.ingest import PartialBlob
from nacre.stores.store import Store
from nacre.stores.trees.committed import Trees
from nacre.words.digest import Digest
from nacre.words.errors import DigestMismatch, RegistryError, TooLarge
from nacre.words.reference import Reference

APP = Reference.parse("registry.test/app:1")
DATA = os.urandom(10_000_000)
DIGEST = Digest.of(DATA)
PIECE = 1 << 18


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path / "store"), layer_blobs="drop") as opened:
        yield opened


def content(store: Store, digest: Digest) -> bytes:
    with store.blobs.open(digest) as file:
        return file.read(1 << 30)


def feed(partial: PartialBlob, count: int, seconds: float) -> None:
    """Each piece is waited for."""
    for start in range(0, count, PIECE):
        partial.write(DATA[start : min(start + PIECE, count)], seconds)


def written(store: Store, step: float, count: int, *, fail: bool = False) -> int:
    """Bytes on disk after `count` bytes, each piece of which took `step` seconds."""
    with store.blobs.ingest(DIGEST, len(DATA)) as ingest:
        partial = PartialBlob(ingest, len(DATA))
        feed(partial, count, step)
        if fail:
            partial.keep()
        else:
            size = os.path.getsize(f"{store.root}/ingest/{DIGEST.hex}/data")
            assert ingest.offset == count
            return size
    return store.blobs.partial(DIGEST)


@pytest.mark.parametrize(
    ("step", "count", "size"),
    [
        (0.01, 1_000_000, 0),  # nothing is known yet
        (0.01, 5_000_000, 0),  # it will be here in half a second
        (0.1, 5_000_000, 0),  # in less than five
        (0.2, 5_000_000, 5_000_000),  # it takes seven
        (0.6, 2 * PIECE, 2 * PIECE),  # slow from the beginning
        (3.0, PIECE, PIECE),
    ],
)
def test_what_is_written(store: Store, step: float, count: int, size: int) -> None:
    assert written(store, step, count) == size


@pytest.mark.parametrize(
    ("step", "count", "kept"),
    [(0.01, 1_000_000, 1_000_000), (0.01, 5_000_000, 0), (0.6, 5_000_000, 5_000_000), (0.01, 0, 0)],
)
def test_what_is_left_when_it_breaks_off(store: Store, step: float, count: int, kept: int) -> None:
    """A plain beginning, or nothing at all, no folder either."""
    assert written(store, step, count, fail=True) == kept
    assert os.path.isdir(f"{store.root}/ingest/{DIGEST.hex}") == bool(kept)
    with store.blobs.ingest(DIGEST, len(DATA)) as ingest:
        assert ingest.offset == kept
        ingest.write(DATA[kept:])
        ingest.commit()
    assert content(store, DIGEST) == DATA


def test_what_is_written_late_is_verified_like_anything_else(store: Store) -> None:
    with store.blobs.ingest(DIGEST, len(DATA)) as ingest:
        partial = PartialBlob(ingest, len(DATA))
        feed(partial, len(DATA), 0.6)
        assert ingest.is_written
        ingest.commit()
    assert content(store, DIGEST) == DATA


@pytest.mark.parametrize("step", [0.01, 0.6])
def test_a_byte_too_many(store: Store, step: float) -> None:
    with store.blobs.ingest(DIGEST, len(DATA) - 1) as ingest:
        partial = PartialBlob(ingest, len(DATA) - 1)
        with pytest.raises(TooLarge):
            feed(partial, len(DATA), step)
    assert store.blobs.partial(DIGEST) == 0


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What is written of blobs."""
    from nacre.stores import blobs, ingest

    found: list[int] = []
    write_all: Callable[[int, bytes], None] = blobs.write_all

    def counted(fd: int, data: bytes) -> None:
        found.append(len(data))
        write_all(fd, data)

    for module in (blobs, ingest):
        monkeypatch.setattr(module, "write_all", counted)
    return found


def test_a_fast_pull_writes_no_layer_twice(registry: Registry, store: Store, writes: list[int]) -> None:
    manifest, _ = registry.add_image("1", {"a": DATA}, {"b": b"small"})
    assert pull(registry, APP, store).image.read("a") == DATA
    assert sum(writes) < 10_000
    assert not list(Path(store.root, "ingest").iterdir())
    assert not store.blobs.has(manifest.layers[0].digest)


def test_a_blob_that_is_kept_is_written(registry: Registry, tmp_path: Path, writes: list[int]) -> None:
    with Store.open(str(tmp_path / "store"), layer_blobs="keep") as store:
        manifest, _ = registry.add_image("1", {"a": DATA})
        pull(registry, APP, store)
        assert store.blobs.has(manifest.layers[0].digest)
        assert sum(writes) > len(DATA)


def test_a_slow_pull_goes_on_where_it_was(
    registry: Registry, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "_LONG", 0.0)  # any transfer takes long
    manifest, _ = registry.add_image("1", {"a": DATA})
    (layer,) = manifest.layers
    registry.cut[layer.digest] = 7_000_000
    with pytest.raises(RegistryError):
        pull(registry, APP, store)
    assert store.blobs.partial(layer.digest) == 7_000_000
    registry.cut.clear()
    registry.fetched.clear()
    assert pull(registry, APP, store).image.read("a") == DATA
    assert (layer.digest, 7_000_000) in registry.fetched


def test_a_fast_pull_that_breaks_off_begins_again(registry: Registry, store: Store) -> None:
    manifest, _ = registry.add_image("1", {"a": DATA})
    (layer,) = manifest.layers
    registry.cut[layer.digest] = 7_000_000
    with pytest.raises(RegistryError):
        pull(registry, APP, store)
    assert not list(Path(store.root, "ingest").iterdir())
    registry.cut.clear()
    assert pull(registry, APP, store).image.read("a") == DATA


def test_a_tree_that_does_not_give_its_tar_after_all(
    registry: Registry, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the blob has to stay, and what was not written comes once more."""
    manifest, _ = registry.add_image("1", {"a": DATA})
    (layer,) = manifest.layers
    monkeypatch.setattr(Trees, "can_tar", lambda _self, _diff_id: False)
    done = pull(registry, APP, store)
    assert content(store, layer.digest) == registry.blobs[layer.digest]
    assert done.moved == 2 * layer.size + manifest.config.size
    assert [digest for digest, _ in registry.fetched].count(layer.digest) == 2


def test_wrong_content_leaves_nothing(registry: Registry, store: Store) -> None:
    manifest, _ = registry.add_image("1", {"a": DATA})
    (layer,) = manifest.layers
    data = bytearray(registry.blobs[layer.digest])
    data[-1] ^= 1
    registry.blobs[layer.digest] = bytes(data)
    with pytest.raises(DigestMismatch):
        pull(registry, APP, store)
    assert not list(Path(store.root, "ingest").iterdir())
