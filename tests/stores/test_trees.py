"""The contract of trees. A further driver is one more entry of VARIANTS."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import NamedTuple

import pytest
from storekit import file, folder, layer, leftovers, link
from treekit import Kit, drop_tree

from nacre.grammars.tar.entry import Entry
from nacre.grammars.tar.read import read_tar
from nacre.ground import mounts, userns
from nacre.ground.work.budget import Budget
from nacre.stores import Store
from nacre.stores.trees.actives import Active
from nacre.stores.trees.drivers import NAMES, UNPACKING, Drivers
from nacre.stores.trees.forms import owners
from nacre.stores.trees.forms.owners import RecordedOwner
from nacre.stores.trees.model import Mode
from nacre.words.digest import Digest
from nacre.words.errors import (
    Conflict,
    DigestMismatch,
    DiskFull,
    InvalidArchive,
    NotFound,
    StoreError,
    Unsupported,
    UsageError,
)
from nacre.words.mount import Directory, Mount, Overlay

IS_ROOT = os.geteuid() == 0
EMPTY = Digest.of(bytes(1024))


class Variant(NamedTuple):
    driver: str
    mode: Mode
    owners: bool  # the file system keeps them


VARIANTS = {
    "overlay": Variant("overlay", Mode(), True),
    "overlay-userxattr": Variant("overlay", Mode(userxattr=True, devices=False), True),
    "erofs": Variant("erofs", Mode(), True),
    "plain": Variant("plain", Mode(), True),
    "plain-single": Variant("plain", Mode(userxattr=True, single=True, devices=False), False),
    "overlay-single": Variant("overlay", Mode(userxattr=True, single=True, devices=False), False),
}


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> Variant:
    found = VARIANTS[request.param]
    if found.owners and not IS_ROOT:
        pytest.skip("only root may chown")
    return found


@pytest.fixture
def kit(variant: Variant, store: Store) -> Kit:
    made = Kit(store, driver=variant.driver, mode=variant.mode)
    if variant.driver == "erofs" and ", but " in made.driver.why:
        pytest.skip(made.driver.why)
    return made


def ingest(kit: Kit, *members: Entry | tuple[Entry, bytes], tail: bytes = b"") -> Digest:
    data = layer(*members, tail=tail)
    return kit.trees.ingest(io.BytesIO(data), Digest.of(data))


def tidy(kit: Kit, *allowed: str) -> bool:
    return {name for name in leftovers(kit.root) if not name.startswith("leases/")} == set(allowed)


def can_view(kit: Kit) -> bool:
    """Where plain is all there is, layers are read without a mount."""
    return kit.driver.name != "plain" or not kit.mode.userxattr


def views(kit: Kit, layers: list[Digest]) -> list[Mount]:
    return [kit.trees.view(layers)] if can_view(kit) else []


def content(kit: Kit, layers: list[Digest], path: bytes) -> bytes | None:
    with kit.trees.open(layers) as view:
        found = view.lookup(path)
        if found is None:
            return None
        with found.open() as opened:
            return opened.read()


# ---- ingest


def test_ingest(kit: Kit) -> None:
    data = layer(folder("d"), file("d/f", b"hello", mode=0o4711, mtime_ns=5_000_000_007))
    assert kit.trees.ingest(io.BytesIO(data)) == Digest.of(data)
    assert kit.trees.has(Digest.of(data))
    assert kit.trees.missing([Digest.of(data), EMPTY]) == [EMPTY]
    assert kit.trees.rows.size(Digest.of(data)) == 5
    found = kit.trees.lookup([Digest.of(data)], b"d/f")
    assert found is not None
    assert (found.kind, found.mode, found.mtime_ns, found.size) == ("file", 0o4711, 5_000_000_007, 5)
    assert tidy(kit)


def test_ingest_of_what_is_here_reads_nothing(kit: Kit) -> None:
    diff_id = ingest(kit, file("f", b"1"))
    assert kit.trees.ingest(io.BytesIO(b"not read"), diff_id) == diff_id


def test_the_digest_is_over_the_whole_stream(kit: Kit) -> None:
    tail = b"after the end marker" * 40000
    assert ingest(kit, file("f", b"1"), tail=tail) == Digest.of(layer(file("f", b"1"), tail=tail))


def test_the_tar_comes_back_to_the_bit(kit: Kit) -> None:
    members = [folder("d"), file("d/f", b"hello" * 1000), file("d/g", b"hello" * 1000)]
    shared = [file("e", b"hello" * 1000), *members[1:], file("h", b"h" * 3_000_000)]
    for data in (layer(*members, tail=b"tail"), layer(*shared), layer(*shared[::-1], tail=b"x" * 99)):
        diff_id = kit.trees.ingest(io.BytesIO(data))
        with kit.trees.tar(diff_id) as file_:
            assert file_.read() == data
    with pytest.raises(NotFound):
        kit.trees.tar(EMPTY)


def test_the_tar_of_a_commit_comes_back(kit: Kit, stack: list[Digest]) -> None:
    for clamp in (None, 5):
        active = kit.actives.prepare(f"k{clamp or 0}", stack)
        write_change(active)
        Path(f"{active.upper}/large").write_bytes(b"x" * 700_001)
        os.truncate(f"{active.upper}/large", 3 << 20)
        out = io.BytesIO()
        with kit.trees.tar(kit.actives.commit(active, out.write, clamp=clamp)) as file_:
            assert file_.read() == out.getvalue()


def test_ingest_of_other_content_leaves_nothing(kit: Kit) -> None:
    data = layer(file("f", b"1"))
    with pytest.raises(DigestMismatch):
        kit.trees.ingest(io.BytesIO(data + b"\0"), Digest.of(data))
    assert not kit.trees.has(Digest.of(data))
    assert not kit.trees.has(Digest.of(data + b"\0"))
    assert tidy(kit)


@pytest.mark.parametrize(
    "data", [b"no tar at all" * 100, layer(file("f", b"x" * 5000))[:2000], layer(file("../../f", b"1"))]
)
def test_ingest_of_a_bad_archive_leaves_nothing(kit: Kit, data: bytes) -> None:
    with pytest.raises(InvalidArchive):
        kit.trees.ingest(io.BytesIO(data))
    assert tidy(kit)
    assert [name for name in os.listdir(f"{kit.root}/trees") if name != ".empty"] == []


def test_full_disk(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nacre.ground.extract.extract", full)
    monkeypatch.setattr("nacre.stores.trees.forms.indexing.write_at", full)
    with pytest.raises(StoreError, match="no space left on device"):
        ingest(kit, file("f", b"1"))
    assert tidy(kit)


def test_a_torn_tree_of_an_earlier_boot_is_made_again(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    diff_id = ingest(kit, file("f", b"1"))
    tar = Path(kit.trees.rows.folder(diff_id), "layer.tar")
    torn = tar if tar.exists() else Path(kit.trees.rows.folder(diff_id), "fs", "f")
    torn.chmod(0o600)
    torn.write_bytes(b"torn")
    with monkeypatch.context() as patch:
        patch.setattr("nacre.stores.trees.catalog.boot_id", lambda: "another boot")
        assert not kit.trees.has(diff_id)
        assert ingest(kit, file("f", b"1")) == diff_id
        assert kit.trees.has(diff_id)
        assert content(kit, [diff_id], b"f") == b"1"


# ---- reading through layers


@pytest.fixture
def stack(kit: Kit) -> list[Digest]:
    low = ingest(
        kit,
        folder("etc"),
        file("etc/passwd", b"low"),
        file("etc/gone", b"low"),
        folder("var"),
        folder("var/a"),
        file("var/a/low", b"low"),
        folder("usr"),
        folder("usr/bin"),
        file("usr/bin/sh", b"shell"),
        link("bin", "usr/bin"),
        file("was-file", b"1"),
        folder("was-dir"),
        file("was-dir/x", b"1"),
    )
    middle = ingest(
        kit,
        folder("etc", mode=0o750),
        file("etc/passwd", b"middle"),
        file("etc/.wh.gone"),
        folder("var"),
        folder("var/a"),
        file("var/a/.wh..wh..opq"),
        file("var/a/new", b"middle"),
        file("was-dir", b"now a file"),
        file(".wh.was-file"),
    )
    high = ingest(
        kit,
        link("loop", "loop2"),
        link("loop2", "loop"),
        link("up", "../../../etc/passwd"),
        link("abs", "/bin/sh"),
        link("deep", "var/../bin/../bin/sh"),
        link("dangling", "/nowhere"),
        folder("was-file"),
        file("was-file/y", b"2"),
    )
    return [low, middle, high]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"etc/passwd", b"middle"),
        (b"/etc//./passwd", b"middle"),
        (b"etc/gone", None),
        (b"var/a/low", None),
        (b"var/a/new", b"middle"),
        (b"bin/sh", b"shell"),
        (b"usr/bin/sh", b"shell"),
        (b"abs", b"shell"),
        (b"up", b"middle"),
        (b"deep", b"shell"),
        (b"loop", None),
        (b"dangling", None),
        (b"etc/passwd/x", None),
        (b"../../../../etc/passwd", b"middle"),
        (b"was-dir", b"now a file"),
        (b"was-dir/x", None),
        (b"was-file/y", b"2"),
        (b"etc/.wh.gone", None),
        (b"etc/../etc/passwd", b"middle"),
        (b"nowhere/..", None),
    ],
)
def test_lookup(kit: Kit, stack: list[Digest], path: bytes, expected: bytes | None) -> None:
    assert content(kit, stack, path) == expected


def test_lookup_says_what_and_where(kit: Kit, stack: list[Digest]) -> None:
    with kit.trees.open(stack) as view:
        etc, passwd, low = view.lookup(b"etc"), view.lookup(b"/up"), view.lookup(b"bin/sh")
        raw = view.lookup(b"bin", follow=False)
        top = view.lookup(b"")
    assert etc is not None
    assert (etc.kind, etc.mode, etc.layer) == ("dir", 0o750, stack[1])
    assert passwd is not None
    assert (passwd.path, passwd.layer) == (b"etc/passwd", stack[1])
    assert low is not None
    assert (low.path, low.layer) == (b"usr/bin/sh", stack[0])
    assert raw is not None
    assert (raw.kind, raw.link) == ("symlink", b"usr/bin")
    assert top is not None
    assert (top.path, top.kind) == (b"", "dir")


def test_names(kit: Kit, stack: list[Digest]) -> None:
    with kit.trees.open(stack) as view:
        assert view.names(b"etc") == [b"passwd"]
        assert view.names(b"var/a") == [b"new"]
        assert view.names(b"bin") == [b"sh"]
        assert view.names(b"was-file") == [b"y"]
        assert view.names(b"etc/passwd") == view.names(b"absent") == []
        assert {b"etc", b"bin", b"was-dir", b"loop"} < set(view.names())


def test_open_refuses_what_is_no_file(kit: Kit, stack: list[Digest]) -> None:
    found = kit.trees.lookup(stack, b"etc")
    assert found is not None
    with pytest.raises(NotFound, match="not a regular file"):
        found.open()


def test_one_lookup_can_be_opened(kit: Kit, stack: list[Digest]) -> None:
    found = kit.trees.lookup(stack, b"etc/passwd")
    assert found is not None
    with found.open() as opened:
        assert opened.read() == b"middle"


def test_owners_devices_and_attributes_are_kept_in_every_mode(kit: Kit) -> None:
    owned = {"uid": 33, "gid": 44}
    diff_id = ingest(
        kit,
        folder("d", **owned),
        file("d/f", b"1", **owned, xattrs=((b"user.x", b"\xff"),)),
        Entry(b"null", "char", 0o666, major=1, minor=3),
    )
    with kit.trees.open([diff_id]) as view:
        found = [view.lookup(path) for path in (b"d", b"d/f", b"null")]
        d, f, null = (entry for entry in found if entry is not None)
        assert (d.uid, d.gid, f.uid, f.gid) == (33, 44, 33, 44)
        assert f.xattrs == ((b"user.x", b"\xff"),)
        if kit.driver.name != "overlay" or kit.mode.devices or (null.kind == "char"):
            assert (null.kind, null.major, null.minor) == ("char", 1, 3)


def test_missing_layers_are_named(kit: Kit) -> None:
    for ask in (kit.trees.view, kit.trees.open, lambda layers: kit.actives.prepare("k", layers)):
        with pytest.raises(NotFound, match=EMPTY.hex):
            ask([EMPTY])
    assert kit.actives.find("k") is None


def test_a_tree_of_an_unknown_driver_is_not_here(kit: Kit) -> None:
    """A newer nacre may have made it."""
    diff_id = ingest(kit, file("f", b"1"))
    kit.db.change("UPDATE tree SET driver = 'newer' WHERE diff_id = ?", (diff_id,))
    assert not kit.trees.has(diff_id)
    assert not kit.trees.repair.is_in_use(diff_id)
    with pytest.raises(NotFound, match=diff_id.hex):
        kit.trees.view([diff_id])
    assert ingest(kit, file("f", b"1")) == diff_id
    assert kit.trees.has(diff_id)


def test_drivers_that_unpack(kit: Kit) -> None:
    """The list spares the making of forms that are not used."""
    drivers = Drivers(kit.root, kit.mode, Budget.of_machine)
    assert tuple(name for name in NAMES if drivers.get(name).form.keeps_files) == UNPACKING


# ---- views, actives


def test_view_is_topmost_first(kit: Kit, stack: list[Digest]) -> None:
    if not can_view(kit):
        with pytest.raises(Unsupported, match="mounts are not permitted"):
            kit.trees.view(stack)
        return
    mount = kit.trees.view(stack)
    assert isinstance(mount, Overlay)
    top = mount.lowers[0]
    assert (top if isinstance(top, str) else top.index).startswith(f"{kit.trees.rows.folder(stack[-1])}/")
    assert not mount.upper


def test_active(kit: Kit, stack: list[Digest]) -> None:
    active = kit.actives.prepare("abc1", stack)
    assert kit.actives.find("abc1") == active
    assert active.layers == tuple(stack)
    with pytest.raises(Conflict):
        kit.actives.prepare("abc1", stack)
    kit.actives.discard("abc1")
    kit.actives.discard("abc1")
    assert kit.actives.find("abc1") is None
    assert tidy(kit)


@pytest.mark.parametrize("key", ["", "../x", "A", "a/b", "a" * 200])
def test_bad_keys(kit: Kit, key: str) -> None:
    with pytest.raises(UsageError):
        kit.actives.prepare(key, [])


def test_the_root_of_an_active_looks_like_that_of_the_image(kit: Kit) -> None:
    first = ingest(kit, Entry(b"", "dir", 0o711), file("f", b"1"))
    second = ingest(kit, file("g", b"1"))
    assert stat.S_IMODE(os.stat(kit.actives.prepare("a", [first, second]).upper).st_mode) == 0o711
    assert stat.S_IMODE(os.stat(kit.actives.prepare("b", [second]).upper).st_mode) == 0o755


def test_nothing_changed_is_the_empty_tar(kit: Kit) -> None:
    for layers in ([], [ingest(kit, Entry(b"", "dir", 0o700), file("f", b"1"))]):
        out = io.BytesIO()
        active = kit.actives.prepare("empty", layers)
        assert kit.actives.commit(active, out.write) == EMPTY
        assert out.getvalue() == bytes(1024)
    assert kit.trees.has(EMPTY)
    assert tidy(kit)


def write_change(active: Active) -> None:
    """Into the upper folder of an overlay, or the merged one of plain, which holds the lower layers too."""
    upper = active.upper
    if isinstance(active.mount, Directory):
        os.unlink(f"{upper}/bin")
    else:
        os.mkdir(f"{upper}/etc")
        os.mknod(f"{upper}/bin", stat.S_IFCHR, 0)
    os.chmod(f"{upper}/etc", 0o750)
    Path(f"{upper}/etc/new").write_bytes(b"new")
    os.link(f"{upper}/etc/new", f"{upper}/etc/same")
    os.symlink("new", f"{upper}/etc/link")
    for path in ("etc/new", "etc", "etc/link"):
        os.utime(f"{upper}/{path}", ns=(0, 7_123_456_789), follow_symlinks=False)


def test_commit(kit: Kit, stack: list[Digest]) -> None:
    out = io.BytesIO()
    active = kit.actives.prepare("change", stack)
    write_change(active)
    diff_id = kit.actives.commit(active, out.write)
    assert diff_id == Digest.of(out.getvalue())
    assert kit.actives.find("change") is None
    assert tidy(kit)
    names = [entry.path for entry, _ in read_tar(io.BytesIO(out.getvalue()))]
    assert names == [b".wh.bin", b"etc", b"etc/link", b"etc/new", b"etc/same"]
    assert content(kit, [*stack, diff_id], b"etc/same") == b"new"
    assert content(kit, [*stack, diff_id], b"bin/sh") is None


def test_a_committed_tree_equals_its_tar(kit: Kit, stack: list[Digest]) -> None:
    """The upper folder that was renamed is what extracting the tar would have given."""
    out = io.BytesIO()
    active = kit.actives.prepare("change", stack)
    write_change(active)
    diff_id = kit.actives.commit(active, out.write)

    def looks() -> list[object]:
        with kit.trees.open([diff_id]) as view:
            found = [
                view.lookup(path, follow=False) for path in (b"etc", b"etc/new", b"etc/link", b"etc/same")
            ]
            return [(f.kind, f.mode, f.uid, f.gid, f.mtime_ns, f.size, f.link) for f in found if f]

    committed = looks()
    drop_tree(kit, diff_id)
    assert kit.trees.ingest(io.BytesIO(out.getvalue()), diff_id) == diff_id
    assert looks() == committed
    assert kit.trees.rows.size(diff_id) == 3


def test_commit_is_deterministic_and_joins(kit: Kit, stack: list[Digest]) -> None:
    outs = [io.BytesIO(), io.BytesIO()]
    digests = []
    for number, out in enumerate(outs):
        active = kit.actives.prepare(f"n{number}", stack)
        write_change(active)
        digests.append(kit.actives.commit(active, out.write, clamp=5))
    assert digests[0] == digests[1]
    assert outs[0].getvalue() == outs[1].getvalue()
    times = {entry.mtime_ns for entry, _ in read_tar(io.BytesIO(outs[0].getvalue()))}
    assert times <= {0, 5_000_000_000}
    assert tidy(kit)


def test_pack_keeps_the_active(kit: Kit, stack: list[Digest]) -> None:
    active = kit.actives.prepare("k", stack)
    write_change(active)
    first, second = io.BytesIO(), io.BytesIO()
    assert kit.actives.pack(active, first.write) == kit.actives.commit(active, second.write)
    assert first.getvalue() == second.getvalue()


def test_a_failed_commit_keeps_the_active(kit: Kit, stack: list[Digest]) -> None:
    active = kit.actives.prepare("k", stack)
    write_change(active)

    def full(_data: bytes) -> None:
        raise DiskFull("cannot write: no space left on device")

    with pytest.raises(StoreError):
        kit.actives.commit(active, full)
    assert kit.actives.find("k") == active
    assert tidy(kit, "active/k")
    kit.actives.commit(active, io.BytesIO().write)


def test_a_changed_root_is_in_the_layer(kit: Kit) -> None:
    active = kit.actives.prepare("k", [])
    os.chmod(active.upper, 0o1777)
    out = io.BytesIO()
    diff_id = kit.actives.commit(active, out.write)
    entries = [(entry.path, entry.mode) for entry, _ in read_tar(io.BytesIO(out.getvalue()))]
    assert entries == [(b"", 0o1777)]
    assert stat.S_IMODE(os.stat(kit.actives.prepare("m", [diff_id]).upper).st_mode) == 0o1777


def test_owners_survive_a_copy_up(kit: Kit, variant: Variant) -> None:
    """Where the system cannot keep an owner, a changed file still carries the one it had."""
    base = ingest(kit, folder("srv", uid=33, gid=33), file("srv/data", b"1", uid=33, gid=33))
    active = kit.actives.prepare("k", [base])
    os.makedirs(f"{active.upper}/srv", exist_ok=True)
    Path(f"{active.upper}/srv/data").write_bytes(b"2")
    Path(f"{active.upper}/srv/given").write_bytes(b"3")
    if variant.mode.single:
        kept = owners.load(os.path.dirname(active.upper))
        owners.save(os.path.dirname(active.upper), {**kept, b"srv/given": RecordedOwner(7, 8)})
    else:
        os.chown(f"{active.upper}/srv/given", 7, 8)
    if variant.owners:
        for path in ("srv", "srv/data"):
            os.chown(f"{active.upper}/{path}", 33, 33)
    out = io.BytesIO()
    diff_id = kit.actives.commit(active, out.write)
    found_owners = {entry.path: (entry.uid, entry.gid) for entry, _ in read_tar(io.BytesIO(out.getvalue()))}
    assert found_owners == {b"srv": (33, 33), b"srv/data": (33, 33), b"srv/given": (7, 8)}
    found = kit.trees.lookup([base, diff_id], b"srv/given")
    assert found is not None
    assert (found.uid, found.gid) == (7, 8)


# ---- with the kernel

needs_mounts = pytest.mark.skipif(not userns.mapped(), reason="needs root that may mount")


@needs_mounts
def test_mounted_view_is_what_lookup_says(kit: Kit, stack: list[Digest]) -> None:
    if not can_view(kit):
        pytest.skip("no mount without rights")
    fd = mounts.opened(kit.trees.view(stack))
    try:
        with kit.trees.open(stack) as view:
            for path in ("", "etc", "var/a", "was-file"):
                at = os.open(path or ".", os.O_RDONLY, dir_fd=fd)
                assert sorted(map(os.fsencode, os.listdir(at))) == view.names(path.encode())
                os.close(at)
        assert Path(f"/proc/self/fd/{fd}/etc/passwd").read_bytes() == b"middle"
    finally:
        os.close(fd)


@needs_mounts
def test_an_opaque_root_hides_everything(kit: Kit) -> None:
    low, high = ingest(kit, file("low", b"1")), ingest(kit, file("high", b"3"))
    middle = ingest(kit, file(".wh..wh..opq"), file("middle", b"2"))
    for layers in ([low, middle], [low, middle, high], [low, middle, low], [middle, high]):
        expected = {low: b"low", middle: b"middle", high: b"high"}
        names = sorted(expected[d] for d in layers[layers.index(middle) :])
        active = kit.actives.prepare(f"k{len(names)}x{len(layers)}", layers)
        for mount in (*views(kit, layers), active.mount):
            fd = mounts.opened(mount)
            try:
                assert sorted(map(os.fsencode, os.listdir(f"/proc/self/fd/{fd}"))) == names
            finally:
                os.close(fd)
        with kit.trees.open(layers) as view:
            assert view.names() == names
        kit.actives.discard(f"k{len(names)}x{len(layers)}")


@needs_mounts
def test_a_layer_may_come_twice(kit: Kit) -> None:
    """As the empty layer does in many images."""
    base = ingest(kit, folder("d", mode=0o711), file("d/a", b"base"), file("d/b", b"base"))
    twice = ingest(kit, file("d/a", b"twice"), file("d/.wh.b"))
    between = ingest(kit, folder("d", mode=0o700), file("d/a", b"between"), file("d/b", b"between"))
    empty = ingest(kit)
    layers = [empty, base, empty, twice, between, twice, empty, empty]
    hollow = views(kit, [empty, empty])
    for mount in (kit.actives.prepare("k", layers).mount, *views(kit, layers), *hollow):
        fd = mounts.opened(mount)
        try:
            if mount not in hollow:
                assert os.listdir(f"/proc/self/fd/{fd}/d") == ["a"]
                assert Path(f"/proc/self/fd/{fd}/d/a").read_bytes() == b"twice"
                assert stat.S_IMODE(os.stat(f"/proc/self/fd/{fd}/d").st_mode) == 0o700
        finally:
            os.close(fd)


@needs_mounts
def test_127_layers(kit: Kit) -> None:
    contents = [(f"f{number}", b"%d" % number) for number in range(127)]
    layers = [ingest(kit, file(name, data), file("same", data)) for name, data in contents]
    active = kit.actives.prepare("k", layers)
    assert content(kit, layers, b"same") == b"126"
    for mount in (active.mount, *views(kit, layers)):
        fd = mounts.opened(mount)
        try:
            assert len(os.listdir(f"/proc/self/fd/{fd}")) == 128
            assert Path(f"/proc/self/fd/{fd}/same").read_bytes() == b"126"
        finally:
            os.close(fd)


@needs_mounts
def test_changes_through_a_mount(kit: Kit, stack: list[Digest]) -> None:
    active = kit.actives.prepare("k", stack)
    fd = mounts.opened(active.mount)
    try:
        top = f"/proc/self/fd/{fd}"
        os.unlink(f"{top}/usr/bin/sh")
        os.rename(f"{top}/etc/passwd", f"{top}/etc/shadow")
        Path(f"{top}/var/a/new").write_bytes(b"changed")
        os.unlink(f"{top}/was-file/y")
        os.rmdir(f"{top}/was-file")
        os.mkdir(f"{top}/was-file")
    finally:
        os.close(fd)
    out = io.BytesIO()
    layers = [*stack, kit.actives.commit(active, out.write)]
    assert content(kit, layers, b"usr/bin/sh") is None
    assert content(kit, layers, b"etc/passwd") is None
    assert content(kit, layers, b"etc/shadow") == b"middle"
    assert content(kit, layers, b"var/a/new") == b"changed"
    with kit.trees.open(layers) as view:
        assert view.names(b"was-file") == []
    drop_tree(kit, layers[-1])
    assert kit.trees.ingest(io.BytesIO(out.getvalue())) == layers[-1]
    assert content(kit, layers, b"etc/shadow") == b"middle"


def test_probe_is_asked_once_per_boot(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.driver.name in ("erofs", "overlay", "plain")
    first = store.driver.why
    monkeypatch.setattr("nacre.ground.mounts.detached", lambda *_args: 1 / 0)
    assert store.driver.why == first
    assert first.startswith("chosen")


def test_unknown_driver(root: str) -> None:
    with pytest.raises(UsageError, match="unknown storage driver 'zfs'"):
        Store.open(root, driver="zfs")
    assert not [name for name in _open_files() if name.startswith(root)]


def _open_files() -> list[str]:
    names = os.listdir("/proc/self/fd")
    return [
        os.readlink(f"/proc/self/fd/{name}") for name in names if os.path.lexists(f"/proc/self/fd/{name}")
    ]
