"""Layers that are mounted without being unpacked show what unpacking them gives, to the last bit."""

from __future__ import annotations

import io
import os
import random
import signal
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from storekit import Process, file, folder, layer, leftovers, link
from tarmaker import DIALECTS, apart, damaged
from treekit import Kit

from nacre.grammars.codecs.stream import decompress
from nacre.grammars.tar.entry import Entry
from nacre.grammars.tar.write import TarWriter
from nacre.ground import linux, mounts, userns
from nacre.ground.files import install_trace
from nacre.stores import Store
from nacre.stores.sweep import sweep
from nacre.words.digest import Digest
from nacre.words.errors import InvalidArchive, StoreError, Unsupported
from nacre.words.mount import Erofs, Mount, Overlay

pytestmark = pytest.mark.skipif(not userns.mapped(), reason="needs root that may mount")

GIB = 1 << 30
_SYS_ADMIN = 21
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
ACL = b"\2\0\0\0" + b"".join(
    struct.pack("<HHi", *rule) for rule in ((1, 7, -1), (2, 5, 70_000), (4, 1, -1), (16, 5, -1), (32, 0, -1))
)


@pytest.fixture
def kit(store: Store) -> Kit:
    made = Kit(store, driver="erofs")
    if ", but " in made.driver.why:
        pytest.skip(made.driver.why)
    return made


@pytest.fixture
def unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kit]:
    """Layers as folders, each on its own: link counts are those of the layer."""
    monkeypatch.setattr("nacre.ground.twins.MAX_TREES", 0)
    with Store.open(str(tmp_path / "unpacked"), driver="overlay") as store:
        yield Kit(store)


class Mounted:
    """A mount that is attached nowhere."""

    def __init__(self, mount: Mount) -> None:
        self.fd = mounts.detached(mount)
        self.path = Path(f"/proc/self/fd/{self.fd}")

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_exc: object) -> None:
        os.close(self.fd)


def facts(top: Path) -> dict[bytes, dict[str, Any]]:
    """All that can be told of every file below `top`."""
    found: dict[bytes, dict[str, Any]] = {}
    names: dict[tuple[int, int], list[bytes]] = {}
    root = os.fsencode(top) + b"/."
    for above, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = os.path.join(above, name)
            info = os.lstat(path)
            inner = path[len(root) + 1 :]
            found[inner] = _fact(path, info)
            if not stat.S_ISDIR(info.st_mode):
                names.setdefault((info.st_dev, info.st_ino), []).append(inner)
    for group in names.values():
        for name in group:
            found[name]["names"] = sorted(group)
    return found


def _fact(path: bytes, info: os.stat_result) -> dict[str, Any]:
    keys = os.listxattr(path, follow_symlinks=False)
    small = stat.S_ISREG(info.st_mode) and info.st_size < 1 << 24
    return {
        "mode": oct(info.st_mode), "owner": (info.st_uid, info.st_gid), "mtime": info.st_mtime_ns,
        "size": 0 if stat.S_ISDIR(info.st_mode) else info.st_size,
        "links": 0 if stat.S_ISDIR(info.st_mode) else info.st_nlink,
        "rdev": info.st_rdev if info.st_mode & 0o170000 in (stat.S_IFCHR, stat.S_IFBLK) else 0,
        "link": os.readlink(path) if stat.S_ISLNK(info.st_mode) else b"",
        "xattrs": {key: os.getxattr(path, key, follow_symlinks=False) for key in keys},
        "data": Path(os.fsdecode(path)).read_bytes() if small else b"",
    }  # fmt: skip


def same(kit: Kit, unpacked: Kit, *layers: bytes) -> dict[bytes, dict[str, Any]]:
    """Both drivers show the same; gives what that is."""
    for data in layers:
        for each in (kit, unpacked):
            each.trees.ingest(io.BytesIO(data))
    diff_ids = [Digest.of(data) for data in layers]
    with Mounted(kit.trees.view(diff_ids)) as ours, Mounted(unpacked.trees.view(diff_ids)) as theirs:
        found, expected = facts(ours), facts(theirs)
    assert found.keys() == expected.keys()
    assert {p: (found[p], expected[p]) for p in found if found[p] != expected[p]} == {}
    _same_without_mounting(kit, diff_ids, found)
    return found


def _same_without_mounting(kit: Kit, diff_ids: list[Digest], found: dict[bytes, dict[str, Any]]) -> None:
    with kit.trees.open(diff_ids) as view:
        paths = [b""]
        for path in paths:
            base = path + b"/" if path else b""
            paths += [base + name for name in view.names(path)] if _is_folder(view, path) else []
        assert set(paths) - {b""} == found.keys()
        for path in paths[1:]:
            seen, fact = view.lookup(path, follow=False), found[path]
            assert seen is not None
            assert (seen.mtime_ns, seen.uid, seen.gid) == (fact["mtime"], *fact["owner"])
            assert seen.mode == int(fact["mode"], 8) & 0o7777
            assert {os.fsdecode(name): value for name, value in seen.xattrs} == fact["xattrs"]
            if seen.kind == "file" and seen.size < 1 << 24:
                with seen.open() as opened:
                    assert opened.read() == fact["data"]


def _is_folder(view: Any, path: bytes) -> bool:
    found = view.lookup(path, follow=False)
    return found is not None and found.kind == "dir"


def torture() -> bytes:
    """One layer with everything in it."""
    chance = random.Random(7)
    xattrs = tuple(sorted({
        b"security.capability": CAPABILITY, b"user.note": b"x" * 900, b"user.\xff=\n": b"\0\xff",
        b"trusted.note": b"", b"system.posix_acl_access": ACL,
    }.items()))  # fmt: skip
    members: list[Entry | tuple[Entry, bytes]] = [
        folder("d", mode=0o1777, uid=70_000, gid=4_000_000_000, mtime_ns=-1_500_000_000),
        folder("acl", xattrs=tuple((b"system.posix_acl_" + n, ACL) for n in (b"access", b"default"))),
        folder("noted", xattrs=xattrs[-1:]),
        (Entry(b"capable", mode=0o4750, uid=1, mtime_ns=1_600_000_000_123_456_789, xattrs=xattrs), b"c"),
        (Entry(b"d/\xff\xfe bad \n name"), b"bytes"), (Entry(b"n" * 255), b"long"),
        (Entry(b"/".join([b"deep" * 20] * 40)), b"deep"), file("future", b"f", mtime_ns=1 << 62),
        link("l", "t" * 4000), link("d/abs", "/etc/passwd"), link("short", "x"),
        Entry(b"null", "char", 0o666, major=1, minor=3), Entry(b"loop", "block", major=7, minor=300_000),
        Entry(b"pipe", "fifo", 0o600, mtime_ns=5), Entry(b"d/again", "hardlink", link=b"capable"),
        Entry(b"l2", "hardlink", link=b"l"), Entry(b"null2", "hardlink", link=b"null"), file("empty"),
        Entry(b"empty2", "hardlink", link=b"empty"), folder("void", mode=0),
    ]  # fmt: skip
    for number in range(300):
        size = chance.choice([0, 1, 511, 512, 513, 4095, 4096, 4097, 70_000])
        data = chance.randbytes(size)
        members.append((Entry(b"files/%d" % number, mode=chance.randrange(0o10000) | 0o400), data))
    for number in range(60):  # links around the size at which they no longer fit beside their inode
        members.append(link(f"links/{number}", "y" * (380 + 4 * number)))
    return layer(*members)


def test_a_torture_layer(kit: Kit, unpacked: Kit) -> None:
    found = same(kit, unpacked, torture())
    assert found[b"capable"]["xattrs"]["security.capability"] == CAPABILITY
    assert found[b"capable"]["names"] == [b"capable", b"d/again"]
    assert found[b"loop"]["rdev"] == os.makedev(7, 300_000)


def test_layers_that_borrow(kit: Kit, unpacked: Kit) -> None:
    data = torture()
    for tail in (b"", b"1", b"2"):
        same(kit, unpacked, data + tail)
    borrower = Path(kit.trees.rows.folder(Digest.of(data + b"2")))
    assert {"cuts", "lent-00"} <= set(os.listdir(borrower))
    assert (borrower / "layer.tar").stat().st_size < len(data) / 4
    members = [(Entry(b"moved/%d" % n), b"%d" % n * 2000) for n in range(40)]
    low = layer(*members[:30], file("s", b"3" * 2000))
    same(kit, unpacked, low, layer(*members[::-1], file("moved/.wh.3"), link("l", "moved")))


def test_whiteouts_across_three_layers(kit: Kit, unpacked: Kit) -> None:
    low = layer(
        folder("d"), file("d/keep", b"1"), file("d/gone", b"1"), folder("o"), file("o/old", b"1"),
        folder("o/sub"), file("o/sub/old", b"1"), file("turns", b"1"), folder("was"), file("was/x", b"1"),
        link("s", "d"), file("back", b"1"), file("touched", b"1", mode=0o600), file(".wh.nothing"),
    )  # fmt: skip
    middle = layer(
        file("d/.wh.gone"), folder("o", mode=0o700), file("o/.wh..wh..opq"), file("o/new", b"2"),
        folder("turns"), file("turns/in", b"2"), file("was", b"2"), file(".wh.s"), file(".wh.back"),
        file("touched", b"22", mode=0o4755), folder("only"), file("only/.wh.never"),
    )  # fmt: skip
    high = layer(
        file("d/gone/again", b"3"), file(".wh.o"), file("o/third", b"3"), file("turns/.wh.in"),
        folder("was"), file("was/y", b"3"), folder("s"), file("back", b"3"),
        Entry(b"turns/null", "char", major=1),
    )  # fmt: skip
    found = same(kit, unpacked, low, middle, high)
    assert sorted(found) == [
        b"back", b"d", b"d/gone", b"d/gone/again", b"d/keep", b"o", b"o/third", b"only", b"s", b"touched",
        b"turns", b"turns/null", b"was", b"was/y",
    ]  # fmt: skip


def test_implied_folders_keep_their_looks(kit: Kit, unpacked: Kit) -> None:
    low = layer(
        folder("d", mode=0o711, uid=7, mtime_ns=5), folder("d/e", mode=0o1777, gid=8), file("d/e/f", b"1")
    )
    high = layer(file("d/e/g", b"2"), file("d/new/h", b"3"))
    found = same(kit, unpacked, low, high)
    assert (found[b"d"]["mode"], found[b"d"]["owner"], found[b"d"]["mtime"]) == ("0o40711", (7, 0), 5)
    assert found[b"d/e"]["mode"] == "0o41777"


def test_127_layers_alternating(kit: Kit, unpacked: Kit) -> None:
    layers = [
        layer(
            folder("d"), file(f"d/{n}", b"%d" % n), file(f"d/.wh.{n - 2}"),
            file("same", b"%d" % n, mode=0o600 + n % 8),
        )
        for n in range(127)
    ]  # fmt: skip
    found = same(kit, unpacked, *layers)
    assert sorted(found) == [b"d", b"d/125", b"d/126", b"same"]


def test_a_folder_of_100000_names(kit: Kit) -> None:
    out = io.BytesIO()
    writer = TarWriter(out.write)
    for number in range(100_000):
        writer.add(Entry(b"d/%06d" % (number * 7 % 100_000)))
    writer.close()
    diff_id = kit.trees.ingest(io.BytesIO(out.getvalue()))
    with Mounted(kit.trees.view([diff_id])) as top:
        assert len(os.listdir(top / "d")) == 100_000
        for name in ("000000", "033333", "099999"):
            assert os.stat(top / "d" / name).st_size == 0
    with kit.trees.open([diff_id]) as view:
        assert len(view.names(b"d")) == 100_000
        assert view.lookup(b"d/099999") is not None
        assert view.lookup(b"d/100000") is None


# ---- sparse files


def sparse(path: bytes, size: int, *segments: tuple[int, bytes]) -> tuple[Entry, bytes]:
    parts = tuple((offset, len(data)) for offset, data in segments)
    return Entry(path, size=size, sparse=parts), b"".join(data for _, data in segments)


def sparse_layer(*members: tuple[Entry, bytes]) -> bytes:
    out = io.BytesIO()
    writer = TarWriter(out.write)
    for entry, data in members:
        writer.add(entry, io.BytesIO(data))
    writer.close()
    return out.getvalue()


def test_sparse_files_and_files_over_8_gib(kit: Kit, unpacked: Kit) -> None:
    data = sparse_layer(
        sparse(b"holes", 5_000_001, (4096, b"a" * 4096), (3_000_000, b"b" * 777)),
        sparse(b"large", 9 * GIB + 17, (0, b"begin"), (8 * GIB + 4096, b"beyond"), (9 * GIB, b"end")),
        sparse(b"nothing", 1 << 20), (Entry(b"plain", size=3), b"abc"),
        sparse(b"whole", 600, (0, b"w" * 600)),
    )  # fmt: skip
    found = same(kit, unpacked, data)
    assert found[b"large"]["size"] == 9 * GIB + 17
    diff_id = Digest.of(data)
    with Mounted(kit.trees.view([diff_id])) as top, open(top / "large", "rb") as opened:
        for at, expected in (
            (0, b"begin\0"),
            (8 * GIB + 4096, b"beyond\0"),
            (9 * GIB, b"end"),
            (4 * GIB, b"\0"),
        ):
            assert os.pread(opened.fileno(), len(expected), at) == expected
    large = kit.trees.lookup([diff_id], b"large")
    assert large is not None
    with large.open() as opened:
        opened.seek(8 * GIB + 4094)
        assert opened.read(10) == b"\0\0beyond\0\0"
        assert opened.seek(-14, os.SEEK_END) == 9 * GIB + 3
        assert opened.read() == bytes(14)
    assert os.stat(f"{kit.trees.rows.folder(diff_id)}/sparse").st_blocks * 512 < 1 << 20


def test_sparse_files_of_terabytes_are_refused(kit: Kit) -> None:
    for size in (1 << 42, 1 << 62):
        with pytest.raises((InvalidArchive, StoreError)):
            kit.trees.ingest(io.BytesIO(sparse_layer(sparse(b"x", size, (0, b"1")))))
    assert os.listdir(f"{kit.root}/ingest") == []


def test_sparse_changes_are_committed(kit: Kit) -> None:
    active = kit.actives.prepare("k", [])
    with open(f"{active.upper}/holes", "wb") as opened:
        opened.truncate(3 * GIB)
        os.pwrite(opened.fileno(), b"here", GIB)
    Path(f"{active.upper}/plain").write_bytes(b"p" * 100_000)
    out = io.BytesIO()
    diff_id = kit.actives.commit(active, out.write)
    assert len(out.getvalue()) < 1 << 20
    assert Path(kit.trees.rows.folder(diff_id), "layer.tar").read_bytes() == out.getvalue()
    with Mounted(kit.trees.view([diff_id])) as top:
        assert (top / "holes").stat().st_size == 3 * GIB
        with open(top / "holes", "rb") as opened:
            assert os.pread(opened.fileno(), 6, GIB - 1) == b"\0here\0"
        assert (top / "plain").read_bytes() == b"p" * 100_000


# ---- tars as they come


def test_the_tar_is_kept_as_it_came(kit: Kit) -> None:
    for tail in (b"", b"x" * 700_001, bytes(10_240)):
        data = layer(file("f", b"%d" % len(tail) * 5000), tail=tail)
        diff_id = kit.trees.ingest(io.BytesIO(data))
        assert Path(kit.trees.rows.folder(diff_id), "layer.tar").read_bytes() == data


def test_a_tar_that_ends_in_its_last_file(kit: Kit, unpacked: Kit) -> None:
    """No end marker, no padding: the last block of the content is not there in full."""
    whole = layer(file("a", b"a" * 1000), file("f", b"f" * 700))
    found = same(kit, unpacked, whole[: len(whole) - 1024 - (1024 - 700)])
    assert found[b"f"]["data"] == b"f" * 700


def test_empty_tars(kit: Kit) -> None:
    for data in (bytes(1024), b""):
        diff_id = kit.trees.ingest(io.BytesIO(data))
        for layers in ([diff_id], [diff_id, diff_id]):
            with Mounted(kit.trees.view(layers)) as top:
                assert os.listdir(top) == []


class Slow:
    """Gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self.rest, self.chance = data, random.Random(3)

    def read(self, count: int = -1, /) -> bytes:
        size = min(self.chance.randrange(1, 3000), count if count >= 0 else 3000)
        data, self.rest = self.rest[:size], self.rest[size:]
        return data


def test_small_reads(kit: Kit) -> None:
    data = torture()
    assert kit.trees.ingest(Slow(data)) == Digest.of(data)
    assert Path(kit.trees.rows.folder(Digest.of(data)), "layer.tar").read_bytes() == data


@pytest.mark.parametrize("cut", [1, 600, 5000, 20_000])
def test_a_truncated_layer_leaves_nothing(kit: Kit, cut: int) -> None:
    data = layer(*(file(f"f{n}", b"x" * 3000) for n in range(10)))[:cut]
    with pytest.raises(InvalidArchive):
        kit.trees.ingest(io.BytesIO(data))
    assert os.listdir(f"{kit.root}/ingest") == []
    assert os.listdir(f"{kit.root}/trees") == [".empty"]


# ---- the folder of a tree


def test_files_are_nobody_elses(kit: Kit) -> None:
    diff_id = kit.trees.ingest(io.BytesIO(sparse_layer(sparse(b"s", 1 << 20), (Entry(b"f", size=1), b"1"))))
    top = Path(kit.trees.rows.folder(diff_id))
    assert stat.S_IMODE(top.stat().st_mode) == 0o700
    assert {f.name: oct(stat.S_IMODE(f.stat().st_mode)) for f in top.iterdir()} == {
        "layer.tar": "0o400", "index.erofs": "0o400", "sparse": "0o400",
    }  # fmt: skip
    mount = kit.trees.view([diff_id])
    assert isinstance(mount, Overlay)
    assert mount.lowers[0] == Erofs(f"{top}/index.erofs", (f"{top}/layer.tar", f"{top}/sparse"))


@pytest.mark.parametrize("damage", ["index", "empty", "tar", "away"])
def test_a_damaged_tree_is_an_error_of_the_store(kit: Kit, damage: str) -> None:
    diff_id = kit.trees.ingest(io.BytesIO(layer(file("f", b"1" * 5000))))
    top = Path(kit.trees.rows.folder(diff_id))
    if damage == "index":
        _change(top / "index.erofs", lambda data: data[:1100] + bytes([data[1100] ^ 1]) + data[1101:])
    elif damage == "empty":
        _change(top / "index.erofs", lambda _: b"")
    elif damage == "away":
        (top / "index.erofs").unlink()
    else:
        _change(top / "layer.tar", lambda data: data[:600])
    with pytest.raises(StoreError), kit.trees.open([diff_id]) as view:  # noqa: PT012
        found = view.lookup(b"f")
        assert found is not None
        with found.open() as opened:
            opened.read()


def _change(path: Path, change: Any) -> None:
    data = change(path.read_bytes())
    path.unlink()
    path.write_bytes(data)


def test_packing_again_replaces_what_was_packed(kit: Kit) -> None:
    active = kit.actives.prepare("k", [])
    with open(f"{active.upper}/holes", "wb") as opened:
        opened.truncate(1 << 22)
    kit.actives.pack(active, io.BytesIO().write)
    os.unlink(f"{active.upper}/holes")
    Path(f"{active.upper}/f").write_bytes(b"1")
    diff_id = kit.actives.commit(active, io.BytesIO().write)
    assert sorted(os.listdir(kit.trees.rows.folder(diff_id))) == ["index.erofs", "layer.tar"]


# ---- beside other drivers


def test_trees_of_several_drivers_stack(store: Store, kit: Kit) -> None:
    other = Kit(store, driver="overlay")
    made = [
        each.trees.ingest(io.BytesIO(layer(
            folder("d", mode=0o700 + n), file(f"d/{n}", b"%d" % n), file(f"implied/{n}/x")
        )))
        for n, each in enumerate((kit, other, kit, other))
    ]  # fmt: skip
    for each in (kit, other):
        for layers in (made, made[::-1], made[:1], made[1:2]):
            with Mounted(each.trees.view(layers)) as top:
                assert len(os.listdir(top / "d")) == len(layers)
        active = each.actives.prepare(f"k{each.driver.name}", made)
        assert isinstance(active.mount, Overlay)
        with Mounted(active.mount) as top:
            (top / "d/3").write_bytes(b"changed")
            os.unlink(top / "d/0")
        layers = [*made, each.actives.commit(active, io.BytesIO().write)]
        with each.trees.open(layers) as view:
            assert view.names(b"d") == [b"1", b"2", b"3"]
            found = view.lookup(b"d/3")
            assert found is not None
            with found.open() as opened:
                assert opened.read() == b"changed"


def test_a_change_of_metadata_copies_the_file(kit: Kit) -> None:
    diff_id = kit.trees.ingest(io.BytesIO(layer(file("f", b"data" * 1000, mode=0o4755, uid=5))))
    active = kit.actives.prepare("k", [diff_id])
    with Mounted(active.mount) as top:
        os.chmod(top / "f", 0o700)
    layers = [diff_id, kit.actives.commit(active, io.BytesIO().write)]
    with Mounted(kit.trees.view(layers)) as top:
        assert (top / "f").read_bytes() == b"data" * 1000
        assert (stat.S_IMODE((top / "f").stat().st_mode), (top / "f").stat().st_uid) == (0o700, 5)


def test_what_cannot_be_mounted_is_said(tmp_path: Path) -> None:
    from nacre.stores.trees.forms.indexed import IndexedForm
    from nacre.stores.trees.model import Mode
    from nacre.stores.trees.trials import mounts_indexes

    with pytest.raises(Unsupported, match="root of the first user namespace"):
        mounts_indexes(Mode(userxattr=True), IndexedForm(), str(tmp_path))
    memory = Path("/dev/shm")
    if not os.path.ismount(memory):
        pytest.skip("there is no file system in memory to try")
    with (
        TemporaryDirectory(dir=memory) as scratch,
        pytest.raises(Unsupported, match="cannot be mounted"),
    ):
        mounts_indexes(Mode(), IndexedForm(), scratch)


def refusal(kit: Kit, data: bytes) -> str:
    """The sentence with which an archive is refused, "" if it is not."""
    try:
        kit.trees.ingest(io.BytesIO(data))
    except InvalidArchive as error:
        return error.message
    return ""


@pytest.mark.parametrize("name", ["tar-go", "tar-cpython", "tar-libarchive"])
def test_archives_of_other_projects(kit: Kit, unpacked: Kit, corpus: Any, name: str) -> None:
    """Both drivers refuse them with the same sentence or show the same files."""
    for path in sorted(corpus(name).glob("*.tar*")):
        data = _decompressed(path)
        sentences = [refusal(each, data) for each in (kit, unpacked)]
        assert sentences[0] == sentences[1], path
        if not sentences[0]:
            same(kit, unpacked, data)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_both_show_every_dialect_of_tar_alike(kit: Kit, unpacked: Kit, dialect: str) -> None:
    assert len(same(kit, unpacked, apart(dialect))) > 10


def test_both_refuse_a_damaged_tar_with_one_sentence(kit: Kit, unpacked: Kit) -> None:
    for name, data in damaged().items():
        sentences = [refusal(each, data) for each in (kit, unpacked)]
        assert sentences[0] == sentences[1] != "", name


def _decompressed(path: Path) -> bytes:
    data = bytearray()
    with path.open("rb") as stream, suppress(InvalidArchive):
        reader = decompress(stream)
        while len(data) < 1 << 26 and (piece := reader.read(1 << 20)):
            data += piece
    return bytes(data)


@pytest.mark.parametrize("memory", [False, True])
def test_auto_takes_the_first_that_works(
    kit: Kit, tmp_path: Path, memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if memory and not os.path.ismount("/dev/shm"):
        pytest.skip("there is no file system in memory to try")
    with TemporaryDirectory(dir="/dev/shm" if memory else tmp_path) as above:
        with Store.open(f"{above}/store") as store:
            assert store.driver.name == ("overlay" if memory else "erofs")
            reason = "; EROFS cannot be mounted from this store: its file system" in store.driver.why
            assert (reason, store.driver.why[:7]) == (memory, "chosen;")
            why = store.driver.why
        monkeypatch.setattr("nacre.ground.mounts.detached", lambda *_args: 1 / 0)
        with Store.open(f"{above}/store") as again:
            assert again.driver.why == why


def test_who_has_other_rights_tries_again(store: Store, kit: Kit) -> None:
    rights = linux.capabilities()
    assert kit.driver.name == store.driver.name
    try:
        linux.set_capabilities(rights[0] & ~(1 << _SYS_ADMIN), *rights[1:])
        poorer = Kit(store)
        assert poorer.driver.name == "plain"
        assert "; only root of the first user namespace can mount EROFS" in poorer.driver.why
    finally:
        linux.set_capabilities(*rights)
    assert Kit(store).driver.name == "erofs"


# ---- killed on the way


POINTS = ["tree:indexing", "tree:extracted", "tree:renamed", "tree:published", "tree:packed", "tree:adopted"]


def _work(root: str, point: str) -> None:
    """Ingest a layer and commit another on it; dies at `point`."""

    def hook(name: str) -> None:
        if name == point:
            os.kill(os.getpid(), signal.SIGKILL)

    with Store.open(root, driver="erofs") as store, store.leases.hold():
        install_trace(hook)
        try:
            _ingest_and_commit(store)
        finally:
            install_trace(None)


def _ingest_and_commit(kit: Kit) -> tuple[list[Digest], bytes]:
    layers = [
        kit.trees.ingest(io.BytesIO(sparse_layer(sparse(b"s", 1 << 20, (4096, b"1")), (Entry(b"f"), b""))))
    ]
    kit.actives.discard("k")
    active = kit.actives.prepare("k", layers)
    Path(f"{active.upper}/new").write_bytes(b"new")
    os.utime(f"{active.upper}/new", (5, 5))
    out = io.BytesIO()
    return [*layers, kit.actives.commit(active, out.write)], out.getvalue()


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_leaves_all_or_nothing(root: str, point: str) -> None:
    with Store.open(root, driver="erofs") as store:
        if ", but " in store.driver.why:
            pytest.skip(store.driver.why)
    assert Process(_work, root, point).wait() == -signal.SIGKILL
    with Store.open(root, driver="erofs") as store:
        for row in store.db.execute("SELECT diff_id FROM tree"):
            tar = Path(store.trees.rows.folder(Digest(row[0])), "layer.tar")
            assert Digest.of(tar.read_bytes()) == row[0]
        layers, data = _ingest_and_commit(store)
        assert Digest.of(data) == layers[1]
        with Mounted(store.trees.view(layers)) as top:
            assert sorted(os.listdir(top)) == ["f", "new", "s"]
            assert (top / "s").read_bytes() == bytes(4096) + b"1" + bytes((1 << 20) - 4097)
        sweep(store)
        assert os.listdir(f"{root}/trees") == [".empty"]
    assert leftovers(root) == []
