"""What the driver `plain` alone has: a laid-out root, its record, and what counts as changed in it."""

from __future__ import annotations

import io
import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from storekit import file, folder, layer, link
from treekit import Kit

from nacre.grammars.tar.entry import Entry
from nacre.grammars.tar.read import read_tar
from nacre.ground import clone as cloning
from nacre.ground import userns
from nacre.stores import Store
from nacre.stores.trees.actives import Active
from nacre.stores.trees.model import Mode
from nacre.words.digest import Digest
from nacre.words.errors import StoreError, Unsupported

IS_ROOT = os.geteuid() == 0
MODE = Mode() if IS_ROOT else Mode(userxattr=True, single=True, devices=False)


@pytest.fixture
def kit(store: Store) -> Kit:
    return Kit(store, driver="plain", mode=MODE)


def ingest(kit: Kit, *members: Entry | tuple[Entry, bytes]) -> Digest:
    return kit.trees.ingest(io.BytesIO(layer(*members)))


def hardlink(path: str, target: str) -> Entry:
    return Entry(path.encode(), "hardlink", link=target.encode())


def packed(kit: Kit, active: Active) -> list[tuple[str, str]]:
    out = io.BytesIO()
    kit.actives.pack(active, out.write)
    return [(entry.path.decode(), entry.kind) for entry, _ in read_tar(io.BytesIO(out.getvalue()))]


@pytest.fixture
def active(kit: Kit) -> Active:
    base = ingest(
        kit, folder("d"), file("d/f", b"one", mode=0o640), folder("d/e"), file("d/e/x", b"x"),
        link("l", "d/f"), file("h1", b"hard"), hardlink("h2", "h1"), file("big", b"b" * 5000),
        file("same", b"hard"),
    )  # fmt: skip
    return kit.actives.prepare("k", [base])


def test_hard_links_stay_and_nothing_is_shared_with_the_store(kit: Kit, active: Active) -> None:
    one, other, same = (os.stat(f"{active.upper}/{name}") for name in ("h1", "h2", "same"))
    assert one.st_ino == other.st_ino != same.st_ino
    assert (one.st_nlink, same.st_nlink) == (2, 1)
    Path(active.upper, "d/f").write_bytes(b"two")
    found = kit.trees.lookup(active.layers, b"d/f")
    assert found is not None
    with found.open() as opened:
        assert opened.read() == b"one"


def test_nothing_changed(kit: Kit, active: Active) -> None:
    assert packed(kit, active) == []


def test_touched_is_not_changed(kit: Kit, active: Active) -> None:
    os.utime(f"{active.upper}/d/f")
    data = Path(active.upper, "big").read_bytes()
    Path(active.upper, "big").unlink()
    Path(active.upper, "big").write_bytes(data)
    os.chmod(f"{active.upper}/big", 0o644)
    os.utime(f"{active.upper}", ns=(0, 0))
    assert packed(kit, active) == []


def test_the_same_size_and_time_is_no_proof(kit: Kit, active: Active) -> None:
    path, before = Path(active.upper, "d/f"), os.stat(f"{active.upper}/d/f")
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert packed(kit, active) == [("d", "dir"), ("d/f", "file")]


def test_one_name_of_a_hard_link_brings_the_others(kit: Kit, active: Active) -> None:
    os.chmod(f"{active.upper}/h2", 0o600)
    assert packed(kit, active) == [("h1", "file"), ("h2", "hardlink")]


def test_a_new_name_brings_the_file(kit: Kit, active: Active) -> None:
    os.link(f"{active.upper}/big", f"{active.upper}/d/big")
    assert packed(kit, active) == [("big", "file"), ("d", "dir"), ("d/big", "hardlink")]


def test_a_folder_that_took_the_place_of_another_hides_it(kit: Kit, active: Active) -> None:
    """Also when the file system gives it the same inode number."""
    shutil.rmtree(f"{active.upper}/d/e")
    os.mkdir(f"{active.upper}/d/e")
    os.mkdir(f"{active.upper}/new")
    assert packed(kit, active) == [
        ("d", "dir"), ("d/e", "dir"), ("d/e/.wh..wh..opq", "file"), ("new", "dir")
    ]  # fmt: skip


def test_kinds_that_change(kit: Kit, active: Active) -> None:
    os.unlink(f"{active.upper}/l")
    os.mkdir(f"{active.upper}/l")
    Path(active.upper, "l/in").write_bytes(b"1")
    shutil.rmtree(f"{active.upper}/d")
    os.symlink("l", f"{active.upper}/d")
    names = packed(kit, active)
    assert names == [("d", "symlink"), ("l", "dir"), ("l/.wh..wh..opq", "file"), ("l/in", "file")]


def test_an_attribute_is_a_change(kit: Kit, active: Active) -> None:
    try:
        os.setxattr(f"{active.upper}/big", "user.x", b"1")
    except OSError:
        pytest.skip("no extended attributes here")
    assert packed(kit, active) == [("big", "file")]


def test_a_damaged_record_is_said(kit: Kit, active: Active) -> None:
    record = Path(active.upper).parent / "record"
    data = record.read_bytes()
    for bad in (b"", data[:50], data[:-1]):
        record.write_bytes(bad)
        with pytest.raises(StoreError, match="is damaged"):
            kit.actives.pack(active, lambda _data: None)


def test_names_that_no_layer_can_hold(kit: Kit, active: Active) -> None:
    Path(active.upper, ".wh.x").write_bytes(b"")
    with pytest.raises(Unsupported, match="marks whiteouts"):
        packed(kit, active)


def test_modes_that_lock_their_owner_out(kit: Kit) -> None:
    """Root reads everything; for anybody else such files are wider on disk, and only there."""
    base = ingest(
        kit, folder("d", mode=0o500), file("d/secret", b"s", mode=0o000), file("su", b"", mode=0o4111)
    )
    active = kit.actives.prepare("k", [base])
    assert Path(active.upper, "d/secret").read_bytes() == b"s"
    assert packed(kit, active) == []
    Path(active.upper, "d/new").write_bytes(b"1")
    Path(active.upper, "d/secret").write_bytes(b"t")
    out = io.BytesIO()
    kit.actives.commit(active, out.write)
    modes = {entry.path: entry.mode for entry, _ in read_tar(io.BytesIO(out.getvalue()))}
    assert (modes[b"d"], modes[b"d/secret"]) == (0o500, 0o000)


def test_holes_stay(kit: Kit) -> None:
    size = 64 << 20
    sparse = Entry(b"s", size=size, sparse=((size - 4096, 4096),))
    out = io.BytesIO()
    from nacre.grammars.tar.write import TarWriter

    writer = TarWriter(out.write)
    writer.add(sparse, io.BytesIO(b"e" * 4096))
    writer.close()
    diff_id = kit.trees.ingest(io.BytesIO(out.getvalue()))
    active = kit.actives.prepare("k", [diff_id])
    found = os.stat(f"{active.upper}/s")
    assert found.st_size == size
    assert found.st_blocks * 512 < size // 4
    assert Path(active.upper, "s").read_bytes()[-4097:] == b"\0" + b"e" * 4096


def looks(active: Active) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(Path(active.upper).rglob("*")):
        info = path.lstat()
        inside: object = os.readlink(path) if path.is_symlink() else None
        if path.is_file() and not path.is_symlink():
            inside = path.read_bytes(), info.st_nlink
        name = str(path.relative_to(active.upper))
        found[name] = info.st_mode, info.st_uid, info.st_gid, info.st_mtime_ns, inside
    root = os.stat(active.upper)
    return found | {"": (root.st_mode, root.st_uid, root.st_gid, root.st_mtime_ns)}


@pytest.mark.skipif(not IS_ROOT, reason="where programs can be run at all, this is root")
def test_a_root_is_handed_on_as_it_would_be_laid_out(store: Store, kit: Kit, active: Active) -> None:
    kit.actives.keep_roots()
    upper = Path(active.upper)
    kept = os.stat(upper / "same").st_ino
    for change in ("touch big", "rm -r d/e && mkdir d/e d/new", "chown 3:4 d/f", "rm h1 && echo 1 > h1"):
        subprocess.run(["sh", "-c", change], cwd=upper, check=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(upper / "d/socket"))
    run = kit.actives.commit(active, lambda _data: None)
    copy = ingest(
        kit, Entry(b"", "dir", 0o711, mtime_ns=5), folder("d", mode=0o700, mtime_ns=7_000_000_000),
        file("d/.wh.f"), folder("d/new"), file("d/new/.wh..wh..opq"), file("d/new/n", b"n"),
        file("l/in", b"1"), file(".wh.h2"), file("implied/x", b"x"), hardlink("big2", "implied/x"),
    )  # fmt: skip
    layers = [*active.layers, run, copy]
    handed = kit.actives.prepare("handed", layers)
    assert os.stat(f"{handed.upper}/same").st_ino == kept
    fresh = Kit(store, driver="plain", mode=MODE).actives.prepare("fresh", layers)
    assert looks(handed) == looks(fresh)
    assert packed(kit, handed) == packed(kit, fresh) == []
    kit.actives.commit(handed, lambda _data: None)  # nothing changed: it holds what it held
    again = kit.actives.prepare("again", layers)
    assert os.stat(f"{again.upper}/same").st_ino == kept
    kit.actives.commit(again, lambda _data: None)
    kit.actives.discard("fresh")
    kit.actives.drop_roots()
    assert os.listdir(f"{store.root}/active") == []
    assert store.db.one("SELECT count(*) FROM active") == (0,)


def test_a_folder_of_overlay_is_laid_out_too(store: Store, kit: Kit) -> None:
    other = Kit(store, driver="overlay", mode=MODE)
    low = ingest(other, folder("d"), file("d/a", b"1"), file("d/b", b"1"), file("f", b"low"))
    high = ingest(kit, folder("d"), file("d/.wh.a"), file("f", b"high"))
    top = ingest(other, file(".wh.nothing"), folder("d"), file("d/.wh..wh..opq"), file("d/c", b"3"))
    active = kit.actives.prepare("k", [low, high, top])
    assert sorted(os.listdir(f"{active.upper}/d")) == ["c"]
    assert Path(active.upper, "f").read_bytes() == b"high"
    assert packed(kit, active) == []


def test_clone_between_file_systems_and_too_short(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"0123456789" * 1000)
    fd, target = os.open(source, os.O_RDONLY), os.memfd_create("t")
    try:
        cloning.clone(fd, target, 10, 5000)
        assert os.pread(target, 9000, 0) == (b"0123456789" * 1000)[10:5010]
        with pytest.raises(OSError, match="truncated"):
            cloning.clone(fd, target, 9000, 5000)
    finally:
        os.close(fd)
        os.close(target)


@pytest.fixture
def sharing(tmp_path: Path) -> Iterator[Path]:
    """A file system whose files can share blocks."""
    if not userns.mapped():
        pytest.skip("needs root")
    made = {"btrfs": ["-q"], "xfs": ["-q", "-m", "reflink=1"]}
    kind = next((name for name in made if shutil.which(f"mkfs.{name}")), "")
    if not kind:
        pytest.skip("neither mkfs.btrfs nor mkfs.xfs is installed")
    image, place = tmp_path / "image", tmp_path / "place"
    place.mkdir()
    with image.open("wb") as stream:
        stream.truncate(320 << 20)
    for words in ([f"mkfs.{kind}", *made[kind], str(image)], ["mount", "-o", "loop", str(image), str(place)]):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{words[0]}: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)  # a mount of another test may hold it


def test_blocks_are_shared_where_that_is_possible(sharing: Path) -> None:
    with Store.open(str(sharing / "store"), driver="plain") as store:
        data = os.urandom(32 << 20)
        diff_id = ingest(store, file("big", data))
        assert os.path.isdir(f"{store.trees.rows.folder(diff_id)}/fs")
        os.sync()
        before = os.statvfs(sharing).f_bfree
        actives = [store.actives.prepare(f"k{number}", [diff_id]) for number in range(4)]
        os.sync()
        used = (before - os.statvfs(sharing).f_bfree) * os.statvfs(sharing).f_frsize
        assert used < 16 << 20
        assert Path(actives[3].upper, "big").read_bytes() == data
        Path(actives[3].upper, "big").write_bytes(b"1")
        assert packed(store, actives[3]) == [("big", "file")]
        assert Path(actives[2].upper, "big").read_bytes() == data
        assert stat.S_IMODE(os.stat(actives[2].upper).st_mode) == 0o755
