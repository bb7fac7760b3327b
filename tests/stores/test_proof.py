"""A tree is proven by its tar: whatever is changed in it is found, and nothing else is."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from storekit import file, folder, layer, link

from nacre.grammars.tar.entry import Entry
from nacre.ground import userns
from nacre.stores import Store
from nacre.words.digest import Digest

NS = 1_700_000_000_000_000_000
TAR = layer(
    folder("d", mtime_ns=NS),
    file("d/one", b"one" * 4000, mtime_ns=NS, mode=0o4755),
    Entry(b"d/two", "hardlink", link=b"d/one"),
    file("d/three", b"three", uid=7, gid=9, mtime_ns=NS + 5),
    link("l", "d/one"),
    Entry(b"fifo", "fifo", 0o600),
    Entry(b".wh.gone"),
    folder("o"),
    Entry(b"o/.wh..wh..opq"),
    file("deep/implied/x", b"x"),
    file("x", b"y", xattrs=((b"user.note", b"hello"),)),
    tail=b"\0" * 3000,
)
DIFF = Digest.of(TAR)


@pytest.fixture(params=["erofs", "overlay"])
def kept(request: pytest.FixtureRequest, root: str) -> Iterator[Store]:
    """A store with the tree of TAR."""
    if request.param == "erofs" and not userns.mapped():
        pytest.skip("needs root that may mount")
    with Store.open(root, driver=request.param) as store:
        if store.driver.name == "erofs" and ", but " in store.driver.why:
            pytest.skip(store.driver.why)
        store.trees.ingest(io.BytesIO(TAR), DIFF)
        yield store


def fault(store: Store) -> str | None:
    return store.trees.repair.prove(DIFF, blob=lambda: io.BytesIO(TAR))


def rewrite(path: Path, change: Callable[[bytearray], object]) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.chmod(0o600)
    path.write_bytes(data)


def test_a_whole_tree_is_whole(kept: Store) -> None:
    assert fault(kept) == ""
    counts: list[int] = []
    kept.trees.repair.prove(DIFF, counts.append, lambda: io.BytesIO(TAR))
    assert sum(counts) == len(TAR)


@pytest.mark.parametrize("kept", ["erofs"], indirect=True)
def test_a_damaged_tar(kept: Store) -> None:
    rewrite(
        Path(kept.trees.rows.folder(DIFF), "layer.tar"), lambda data: data.__setitem__(5000, data[5000] ^ 1)
    )
    assert "digest" in str(fault(kept))


@pytest.mark.parametrize("kept", ["erofs"], indirect=True)
@pytest.mark.parametrize("at", range(1024, 4096, 383))
def test_a_damaged_index(kept: Store, at: int) -> None:
    """Every byte that says something is missed; those that say nothing are few."""
    path = Path(kept.trees.rows.folder(DIFF), "index.erofs")
    size = path.stat().st_size
    rewrite(path, lambda data: data.__setitem__(slice(at % size, at % size + 97), bytes(97)))
    padding = not any(path.read_bytes()[at % size : at % size + 97])
    assert fault(kept) or padding


@pytest.mark.parametrize("kept", ["erofs"], indirect=True)
def test_an_index_of_another_layer(kept: Store, tmp_path: Path) -> None:
    other = layer(file("other", b"x"))
    kept.trees.ingest(io.BytesIO(other))
    index = Path(kept.trees.rows.folder(Digest.of(other)), "index.erofs").read_bytes()
    path = Path(kept.trees.rows.folder(DIFF), "index.erofs")
    path.chmod(0o600)
    path.write_bytes(index)
    assert fault(kept)


@pytest.mark.parametrize("kept", ["overlay"], indirect=True)
@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda top: (top / "d/three").write_bytes(b"throo"), "content"),
        (lambda top: (top / "d/three").write_bytes(b"longer"), "bytes"),
        (lambda top: (top / "d/three").chmod(0o600), "mode"),
        (lambda top: os.chown(top / "d/three", 0, 0), "owner"),
        (lambda top: os.utime(top / "d/three", ns=(NS, NS)), "time"),
        (lambda top: (top / "d/three").unlink(), "names"),
        (lambda top: (top / "more").write_bytes(b""), "names"),
        (lambda top: (top / "gone").unlink(), "names"),
        (lambda top: os.setxattr(top / "x", "user.note", b"bye"), "attributes"),
        (lambda top: os.setxattr(top / "d", "trusted.overlay.opaque", b"y"), "covers another"),
    ],
)
def test_a_changed_folder(kept: Store, change: Callable[[Path], object], word: str) -> None:
    top = Path(kept.trees.rows.folder(DIFF), "fs")
    if word in ("covers another", "owner") and os.geteuid():
        pytest.skip("needs root")
    (top.parent / "skeleton").unlink()  # or the digest of its tar is all that is told
    change(top)
    if word in ("names", "attributes", "content", "bytes", "mode", "owner", "covers another"):
        stamp = (top / "x").lstat().st_mtime_ns
        os.utime(top / "d", ns=(NS, NS))
        os.utime(top / "x", ns=(stamp, stamp))
        if word in ("content",):
            os.utime(top / "d/three", ns=(NS + 5, NS + 5))
    assert word in str(fault(kept)), fault(kept)


def test_a_tree_of_an_earlier_boot_is_proven_or_absent(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nacre.stores.trees.catalog.boot_id", lambda: "another boot")
    assert kept.trees.has(DIFF)
    assert kept.db.one("SELECT synced FROM tree") == (1,)
    kept.db.change("UPDATE tree SET synced = 0")
    folder = Path(kept.trees.rows.folder(DIFF))
    torn = folder / ("layer.tar" if (folder / "layer.tar").exists() else "fs/d/three")
    rewrite(torn, lambda data: data.__setitem__(min(700, len(data) - 1), 1))
    assert not kept.trees.has(DIFF)
