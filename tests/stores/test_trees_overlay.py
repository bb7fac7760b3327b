"""Trees as folders: what they share with each other, and their tars."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from storekit import file, folder, layer, link
from treekit import Kit, drop_tree

from nacre.grammars.tar.entry import Entry
from nacre.ground.extract import extraction
from nacre.ground.files import disk_usage
from nacre.stores import Store
from nacre.stores.trees.model import Mode
from nacre.words.digest import Digest
from nacre.words.errors import DigestMismatch, InvalidArchive, StoreError, Unsupported

TIME = {"mtime_ns": 3_000_000_000}


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    """Of a mode that also an ordinary user can have."""
    mode = Mode(userxattr=os.geteuid() != 0, single=os.geteuid() != 0, devices=os.geteuid() == 0)
    with Store.open(str(tmp_path / "store"), driver="overlay") as store:
        yield Kit(store, driver="overlay", mode=mode)


def ingest(kit: Kit, data: bytes) -> Digest:
    return kit.trees.ingest(io.BytesIO(data), Digest.of(data))


def inode(kit: Kit, diff_id: Digest, path: str) -> int:
    return Path(kit.trees.rows.folder(diff_id), "fs", path).lstat().st_ino


def tar(kit: Kit, diff_id: Digest) -> bytes:
    with kit.trees.tar(diff_id) as stream:
        return stream.read()


def version(number: int) -> bytes:
    """One of two versions of a layer: all but one file are the same."""
    files = [file(f"usr/lib/{name}", name.encode() * 50_000, **TIME) for name in ("a", "b", "c")]
    return layer(folder("usr"), folder("usr/lib"), *files, file("usr/version", b"%d" % number, **TIME))


def test_versions_share_what_did_not_change(kit: Kit) -> None:
    one, two = ingest(kit, version(1)), ingest(kit, version(2))
    for name in "abc":
        assert inode(kit, one, f"usr/lib/{name}") == inode(kit, two, f"usr/lib/{name}")
    assert inode(kit, one, "usr/version") != inode(kit, two, "usr/version")
    assert tar(kit, one) == version(1)
    assert tar(kit, two) == version(2)


def test_a_tree_outlives_the_one_it_shares_with(kit: Kit) -> None:
    one, two = ingest(kit, version(1)), ingest(kit, version(2))
    both = disk_usage(kit.root + "/trees")
    freed = drop_tree(kit, one)
    assert freed < 50_000
    assert disk_usage(kit.root + "/trees") == both - freed
    assert tar(kit, two) == version(2)


def test_a_commit_shares(kit: Kit) -> None:
    one = ingest(kit, version(1))
    active = kit.actives.prepare("k", [])
    os.makedirs(f"{active.upper}/usr/lib")
    for name in "abd":
        path = Path(f"{active.upper}/usr/lib/{name}")
        path.write_bytes(name.encode() * 50_000)
        path.chmod(0o644)
        os.utime(path, ns=(3_700_000_000, 3_700_000_000))
    out = io.BytesIO()
    two = kit.actives.commit(active, out.write)
    assert inode(kit, two, "usr/lib/a") == inode(kit, one, "usr/lib/a")
    assert inode(kit, two, "usr/lib/d") not in {inode(kit, one, f"usr/lib/{name}") for name in "abc"}
    assert tar(kit, two) == out.getvalue()
    drop_tree(kit, two)
    assert ingest(kit, out.getvalue()) == two
    assert tar(kit, two) == out.getvalue()


@pytest.mark.parametrize("many", [1, 1000], ids=["helped", "alone"])
def test_a_tar_of_everything(kit: Kit, many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "MANY_FILES", many)
    chance = random.Random(7)
    members: list[Entry | tuple[Entry, bytes]] = [
        folder("d"),
        link("through", "d"),
        file("through/inside", b"behind a link"),
        file("d/.wh.gone", b"content of a whiteout"),
        Entry(b"same", "hardlink", link=b"d/plain"),
        file("etc/" + "n" * 90 + "/" + "m" * 150, b"long", mtime_ns=123),
    ]
    members.insert(1, file("d/plain", b"plain" * 1000))
    members += [file(f"many/{n}", chance.randbytes(chance.choice([0, 1, 512, 300_000]))) for n in range(200)]
    data = layer(*members, tail=b"behind the end" * 99)
    assert tar(kit, ingest(kit, data)) == data


def test_no_tar_where_content_was_replaced(kit: Kit) -> None:
    for members in (
        [file("f", b"1"), file("f", b"2")],
        [folder("d"), file("d/f", b"1"), file("d", b"2")],
        [file("f", b"1"), link("f", "g")],
    ):
        diff_id = ingest(kit, layer(*members))
        with pytest.raises(Unsupported, match=diff_id.hex):
            kit.trees.tar(diff_id)


def test_a_damaged_skeleton_or_file_is_named(kit: Kit) -> None:
    diff_id = ingest(kit, version(1))
    place = kit.trees.rows.folder(diff_id)
    Path(place, "fs/usr/lib/b").write_bytes(b"short")
    with pytest.raises(StoreError, match=f"{diff_id.hex}.*shorter"):
        tar(kit, diff_id)
    Path(place, "fs/usr/lib/b").unlink()
    with pytest.raises(StoreError, match=diff_id.hex):
        tar(kit, diff_id)
    Path(place, "skeleton").write_bytes(Path(place, "skeleton").read_bytes()[:-8])
    with pytest.raises(StoreError, match=diff_id.hex):
        tar(kit, diff_id)


def test_names_of_one_file_have_one_owner(tmp_path: Path, kit: Kit) -> None:
    """Where owners are kept beside, a copy of any of the names carries them."""
    single = Kit(kit, driver="overlay",
        mode=Mode(userxattr=True, single=True, devices=False),
    )  # fmt: skip
    data = layer(file("a", b"1", uid=33, gid=34), Entry(b"b", "hardlink", link=b"a", uid=33, gid=34))
    base = ingest(single, data)
    active = single.actives.prepare("k", [base])
    Path(f"{active.upper}/b").write_bytes(b"2")
    top = single.actives.commit(active, io.BytesIO().write)
    for layers in ([base], [base, top]):
        found = single.trees.lookup(layers, b"b")
        assert found is not None
        assert (found.uid, found.gid) == (33, 34)
    assert tar(single, base) == data


def test_a_failed_ingest_leaves_nothing(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "MANY_FILES", 1)
    data = layer(*(file(f"f{n}", b"1") for n in range(3000)))[:-2048]
    with pytest.raises((InvalidArchive, DigestMismatch)):
        kit.trees.ingest(io.BytesIO(data[: len(data) // 2 + 100]), Digest.of(data))
    assert os.listdir(f"{kit.root}/ingest") == []
