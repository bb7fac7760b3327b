"""Several processes load, tag, save, remove and sweep in one store at the same time."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest
from imagekit import Registry
from treekit import drop_tree

from nacre.images.arrows.archive import save
from nacre.images.arrows.pull import pull
from nacre.images.layers.ingest import ensure_tree
from nacre.images.model.image import find
from nacre.stores.store import Store
from nacre.words.digest import Digest
from nacre.words.reference import Reference

ROUNDS = 8
WORKER = """
import io, sys
from nacre.images.arrows.archive import load, save
from nacre.images.model.image import find
from nacre.stores.store import Store
from nacre.stores.sweep import sweep
root, archive, me, rounds = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
with Store.open(root) as store:
    for number in range(rounds):
        with open(archive, "rb") as file:
            (loaded,) = load(store, file)
        mine = f"docker.io/library/{me}:{number}"
        store.refs.set(mine, loaded.image.descriptor)
        assert find(store, f"{me}:{number}").read("shared/file")[:3] == b"one"
        save(store, [f"{me}:{number}"], io.BytesIO().write)
        if number % 2:
            store.refs.delete(mine)
            store.refs.delete(f"docker.io/library/common:1")
            store.refs.forget(loaded.image.digest, named=False)
            sweep(store)
"""


def test_nothing_is_lost_and_nobody_fails(registry: Registry, store: Store, tmp_path: Path):
    registry.add_image("1", {"shared/file": b"one" * 100_000}, {"top": b"x"})
    image = pull(registry, Reference.parse("common:1"), store).image
    archive = tmp_path / "a.tar"
    out = io.BytesIO()
    save(store, ["common:1"], out.write)
    archive.write_bytes(out.getvalue())
    root = str(tmp_path / "shared")
    names = ["a", "b", "c"]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, root, str(archive), name, str(ROUNDS)],
            stderr=subprocess.PIPE, text=True,
        )
        for name in names
    ]  # fmt: skip
    complaints = [worker.communicate(timeout=120)[1] for worker in workers]
    assert complaints == [""] * len(names)
    with Store.open(root) as shared:
        for name in names:
            for number in range(0, ROUNDS, 2):
                found = find(shared, f"{name}:{number}")
                assert found.digest == image.digest
                assert found.read("shared/file") == b"one" * 100_000


def test_a_blob_that_another_process_drops_once_it_has_unpacked_it(
    registry: Registry, store: Store, monkeypatch: pytest.MonkeyPatch
):
    """Two pull one image; the one that comes second finds the tree where it has just seen the blob."""
    registry.add_image("1", {"file": b"one" * 1000})
    image = pull(registry, Reference.parse("common:1"), store).image
    (layer,), (diff_id,) = image.manifest.layers, image.diff_ids
    assert store.blobs.has(layer.digest)
    with store.trees.tar(diff_id) as opened:
        tree = opened.read()
    drop_tree(store, diff_id)
    real = store.blobs.open

    def meanwhile(digest: Digest) -> BinaryIO:
        monkeypatch.setattr(store.blobs, "open", real)
        store.trees.ingest(io.BytesIO(tree), diff_id)
        store.blobs.delete(digest)
        return real(digest)

    monkeypatch.setattr(store.blobs, "open", meanwhile)
    ensure_tree(store, layer, diff_id)
    assert store.trees.has(diff_id)
    assert not store.blobs.has(layer.digest)
