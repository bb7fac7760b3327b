"""Equal contents are stored once, whatever happens to the layer that had them first."""

from __future__ import annotations

import fcntl
import io
import os
import random
import signal
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storekit import Process, file, folder, layer, leftovers
from treekit import Kit, drop_tree

from nacre.grammars.tar.entry import Entry
from nacre.grammars.tar.write import TarWriter
from nacre.ground import linux, mounts, userns
from nacre.ground.files import disk_usage, install_trace
from nacre.stores import Store, blocks
from nacre.stores.sweep import sweep
from nacre.stores.trees.dedup import donors, reclaim
from nacre.stores.trees.dedup.reclaim import TarLinks, free_orphans
from nacre.stores.trees.forms.indexread import IndexReader
from nacre.words.digest import Digest
from nacre.words.errors import DigestMismatch, InvalidArchive, StoreError

IS_ROOT = os.geteuid() == 0
MIB = 1 << 20
chance = random.Random(11)
BIG, OTHER, SMALL = chance.randbytes(3 * MIB + 77), chance.randbytes(MIB), chance.randbytes(5000)


@pytest.fixture
def kit(store: Store) -> Kit:
    return Kit(store, driver="erofs")


def ingest(kit: Kit, *members: Entry | tuple[Entry, bytes], tail: bytes = b"") -> Digest:
    return kit.trees.ingest(io.BytesIO(layer(*members, tail=tail)))


def stored(kit: Kit, diff_id: Digest) -> int:
    return os.stat(f"{kit.trees.rows.folder(diff_id)}/layer.tar").st_size


def lent(kit: Kit, diff_id: Digest) -> list[int]:
    """Inodes of the tars that a layer borrows from."""
    names = sorted(name for name in os.listdir(kit.trees.rows.folder(diff_id)) if name.startswith("lent-"))
    return [os.stat(f"{kit.trees.rows.folder(diff_id)}/{name}").st_ino for name in names]


def contents(kit: Kit, layers: list[Digest]) -> dict[bytes, bytes]:
    found = {}
    with kit.trees.open(layers) as view:
        paths = [b""]
        for path in paths:
            seen = view.lookup(path, follow=False)
            assert seen is not None
            if seen.kind == "dir":
                paths += [path + b"/" + name if path else name for name in view.names(path)]
            else:
                with seen.open() as opened:
                    found[path] = opened.read()
    return found


def is_whole(kit: Kit, diff_id: Digest) -> bool:
    with kit.trees.tar(diff_id) as opened:
        return Digest.of(opened.read()) == diff_id


# ---- what is shared


def test_equal_files_of_two_layers_are_stored_once(kit: Kit) -> None:
    first = ingest(kit, folder("d"), file("d/big", BIG), file("d/small", SMALL), file("d/tiny", b"t" * 600))
    second = ingest(kit, file("small", SMALL), file("e/big", BIG, mode=0o4711, uid=7), file("n", OTHER))
    assert stored(kit, second) < len(OTHER) + 8 * 1024
    assert lent(kit, second) == [os.stat(f"{kit.trees.rows.folder(first)}/layer.tar").st_ino]
    assert contents(kit, [second]) == {b"small": SMALL, b"e/big": BIG, b"n": OTHER}
    assert is_whole(kit, first)
    assert is_whole(kit, second)


def test_equal_files_of_one_layer_are_stored_once(kit: Kit) -> None:
    diff_id = ingest(kit, *(file(f"{n}/{size}", BIG[:size]) for n in range(4) for size in (1500, 2 * MIB)))
    assert stored(kit, diff_id) < 2 * MIB + 10 * 1024
    assert lent(kit, diff_id) == []
    assert all(data == BIG[: len(data)] for data in contents(kit, [diff_id]).values())
    assert is_whole(kit, diff_id)


def test_equal_files_are_not_links_of_each_other(kit: Kit) -> None:
    diff_id = ingest(kit, file("a", SMALL), file("b", SMALL), Entry(b"c", "hardlink", link=b"a"))
    reader = IndexReader(kit.trees.rows.folder(diff_id))
    nodes = [reader.node(name) for name in (b"a", b"b", b"c")]
    reader.close()
    a, b, c = [node.content for node in nodes if node is not None]
    assert a == c != b


def test_a_layer_without_equals_is_its_tar(kit: Kit) -> None:
    data = layer(file("a", SMALL), file("b", BIG), file("c", b"c" * 900), file("d", b"c" * 900))
    diff_id = kit.trees.ingest(io.BytesIO(data))
    assert Path(kit.trees.rows.folder(diff_id), "layer.tar").read_bytes() == data
    assert sorted(os.listdir(kit.trees.rows.folder(diff_id))) == ["index.erofs", "layer.tar"]


@pytest.mark.parametrize("at", [0, 40_000, 300_000, MIB + 5, len(BIG) - 1])
def test_files_that_differ_somewhere(kit: Kit, at: int) -> None:
    ingest(kit, file("f", BIG), file("s", BIG[:200_000]))
    other = BIG[:at] + bytes([BIG[at] ^ 1]) + BIG[at + 1 :]
    diff_id = ingest(kit, file("a", SMALL), file("f", other), file("s", other[:200_000]), file("z", BIG))
    assert contents(kit, [diff_id]) == {b"a": SMALL, b"f": other, b"s": other[:200_000], b"z": BIG}
    assert is_whole(kit, diff_id)


HEADED = [(8192, 0), (8192, 4095), (30_001, 16), (200_000, 3000)]


@pytest.mark.parametrize(("size", "at"), HEADED)
def test_files_that_differ_in_the_first_page_share_the_rest(kit: Kit, size: int, at: int) -> None:
    """As each .pyc does of its twin that was compiled at another time."""
    data = {b"f%d" % n: BIG[:at] + bytes([n]) + BIG[at + 1 : size] for n in range(4)}
    first = ingest(kit, (Entry(b"f0"), data[b"f0"]))
    rest = [(Entry(name, xattrs=((b"user.x", b"y"),)), data[name]) for name in (b"f1", b"f2")]
    second = ingest(kit, file("a", SMALL), *rest, (Entry(b"f3"), data[b"f3"]), file("z", SMALL))
    assert stored(kit, second) <= 3 * 4096 + len(SMALL) + 6 * 1024
    assert contents(kit, [second]) == {b"a": SMALL, b"z": SMALL, **{n: data[n] for n in data if n != b"f0"}}
    assert is_whole(kit, second)
    assert kit.trees.repair.prove(second) == ""
    third = ingest(kit, *((Entry(name), content) for name, content in data.items()), tail=b"3")
    drop_tree(kit, first)
    free_orphans(kit.root)
    assert contents(kit, [third]) == data
    _kernel_reads(kit, third, data)


def _kernel_reads(kit: Kit, diff_id: Digest, data: dict[bytes, bytes]) -> None:
    if not userns.mapped():
        return
    fd = mounts.opened(kit.actives.prepare("seen", [diff_id]).mount)
    try:
        top = Path(f"/proc/self/fd/{fd}")
        seen = {os.fsencode(path.name): path.read_bytes() for path in top.iterdir()}
    finally:
        os.close(fd)
    assert seen == data


def test_what_lies_in_the_padding_comes_back(kit: Kit) -> None:
    data = bytearray(layer(file("f", SMALL)))
    ingest(kit, file("f", SMALL))
    data[512 + len(SMALL)] = 1
    diff_id = kit.trees.ingest(io.BytesIO(bytes(data)))
    assert diff_id == Digest.of(bytes(data))
    assert is_whole(kit, diff_id)
    assert contents(kit, [diff_id]) == {b"f": SMALL}


def test_a_checksum_proves_nothing(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nacre.stores.trees.dedup.cutting.checksummer", lambda: lambda _data, _crc: 7)
    made = {}
    for number in range(6):
        files = {b"s": chance.randbytes(5000), b"l": chance.randbytes(MIB), b"same": SMALL + b"same"}
        members = [(Entry(name), data) for name, data in files.items()]
        made[ingest(kit, *members, tail=b"%d" % number)] = files
    for diff_id, files in made.items():
        assert contents(kit, [diff_id]) == files
        assert is_whole(kit, diff_id)


def test_a_committed_layer_shares_as_well(kit: Kit) -> None:
    if not userns.mapped():
        pytest.skip("only root writes over layers that are kept as indexes")
    base = ingest(kit, file("big", BIG), file("small", SMALL))
    active = kit.actives.prepare("k", [base])
    for name, data in (("copy", BIG), ("small2", SMALL), ("new", OTHER)):
        Path(f"{active.upper}/{name}").write_bytes(data)
    out = io.BytesIO()
    diff_id = kit.actives.commit(active, out.write)
    assert diff_id == Digest.of(out.getvalue())
    assert stored(kit, diff_id) < len(OTHER) + 8 * 1024
    assert contents(kit, [diff_id]) == {b"copy": BIG, b"small2": SMALL, b"new": OTHER}
    assert is_whole(kit, diff_id)


def test_so_many_donors_and_no_more(kit: Kit) -> None:
    files = {b"%02d" % number: chance.randbytes(3000) for number in range(donors.MOST + 5)}
    for name, data in files.items():
        ingest(kit, (Entry(name), data))
    members = [(Entry(name), data) for name, data in files.items()]
    diff_id = ingest(kit, *members)
    assert len(lent(kit, diff_id)) == donors.MOST
    again = ingest(kit, *members, tail=b"again")
    assert len(lent(kit, again)) <= donors.MOST
    assert contents(kit, [diff_id]) == contents(kit, [again]) == files
    assert is_whole(kit, diff_id)
    assert is_whole(kit, again)


def test_without_hints_all_is_stored(kit: Kit) -> None:
    os.mkdir(f"{kit.root}/hints")
    made = [ingest(kit, file("f", SMALL), tail=tail) for tail in (b"", b"1")]
    assert [contents(kit, [diff_id]) for diff_id in made] == [{b"f": SMALL}] * 2


pieces = st.tuples(
    st.integers(0, 2), st.sampled_from([700, 1024, 5000, 8192, 9000, 262_144, 262_145, 700_001]),
    st.sampled_from([0, 0, 1, 2]),
)  # fmt: skip
"""Which source, how much of it, and what its first byte is changed by."""


sources = [chance.randbytes(800_000) for _ in range(3)]


@settings(max_examples=25)
@given(
    st.lists(st.lists(pieces, max_size=9), min_size=1, max_size=5), st.sampled_from([900, 70_001, 300_000])
)
def test_any_layers(layers: list[list[tuple[int, int, int]]], most: int) -> None:
    with TemporaryDirectory() as above, Store.open(f"{above}/store", driver="erofs") as store:
        made: dict[Digest, dict[bytes, bytes]] = {}
        for number, members in enumerate(layers):
            files = {b"%d" % n: _piece(*member) for n, member in enumerate(members)}
            data = layer(*((Entry(name), content) for name, content in files.items()), tail=b"%d" % number)
            made[store.trees.ingest(_Pieces(data, most))] = files
        for diff_id, files in made.items():
            assert contents(store, [diff_id]) == files
            assert is_whole(store, diff_id)


def _piece(which: int, size: int, change: int) -> bytes:
    return bytes([sources[which][0] ^ change]) + sources[which][1:size]


class _Pieces(io.BytesIO):
    """Gives at most so much at a time."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__(data)
        self._most = most

    def read(self, count: int | None = -1, /) -> bytes:
        return super().read(self._most if count is None or count < 0 else min(count, self._most))

    def seekable(self) -> bool:
        return False


def test_a_tree_that_borrows_is_proven(kit: Kit) -> None:
    ingest(kit, file("b", BIG), file("s", SMALL))
    diff_id = ingest(kit, file("a", OTHER), file("s", SMALL), file("s2", SMALL), file("b", BIG))
    assert kit.trees.repair.prove(diff_id) == ""
    path = Path(kit.trees.rows.folder(diff_id), "lent-00")
    data = bytearray(path.read_bytes())
    data[600] ^= 1
    path.unlink()
    path.write_bytes(data)
    assert kit.trees.repair.prove(diff_id) != ""


def test_a_tar_is_read_from_anywhere(kit: Kit) -> None:
    ingest(kit, file("b", BIG), file("s", SMALL))
    data = layer(file("a", OTHER), file("s", SMALL), file("s2", SMALL), file("b", BIG), tail=b"tail")
    diff_id = kit.trees.ingest(io.BytesIO(data))
    with kit.trees.tar(diff_id) as opened:
        for at in (0, 511, MIB + 100, MIB + 1600, MIB + 9000, len(data) - 3):
            assert opened.seek(at) == at
            assert opened.read(9000) == data[at : at + 9000]
        assert opened.seek(-4, os.SEEK_END) == len(data) - 4
        assert opened.read() == b"tail"


# ---- donors that go


NAMES = ("a", "b", "c")


def chain(store: Store) -> dict[str, Digest]:
    """Three layers, each with something of those before."""
    parts = [chance.randbytes(MIB) for _ in NAMES]
    made = {}
    for number, name in enumerate(NAMES):
        members = [file(f"{n}", part) for n, part in enumerate(parts[: number + 1])]
        made[name] = ingest(store, *members, file(f"own-{name}", chance.randbytes(MIB)))
    return made


def remove(store: Store, diff_id: Digest) -> int:
    """As if no name reached it any more."""
    store.db.change("DELETE FROM tree WHERE diff_id = ?", (diff_id,))
    keep = [row[0] for row in store.db.execute("SELECT diff_id FROM tree")]
    with store.leases.hold() as lease:
        for other in keep:
            lease.add("tree", other)
        store.db.change("UPDATE tree SET used = 0")
        return sweep(store).bytes


@pytest.mark.parametrize("order", list(permutations(NAMES)))
def test_donors_go_in_any_order(root: str, order: tuple[str, ...]) -> None:
    with Store.open(root, driver="erofs") as store:
        made = chain(store)
        expected = {name: contents(store, [diff_id]) for name, diff_id in made.items()}
        for name in order:
            before, gone = disk_usage(f"{root}/trees"), [store.trees.rows.folder(made[name])]
            promised = blocks.freed(gone) + TarLinks(root).reclaimable(gone)
            freed = remove(store, made.pop(name))
            assert before - disk_usage(f"{root}/trees") == freed
            if IS_ROOT:
                assert abs(promised - freed) <= 16 * 1024  # what a file system needs to note the holes
            for other, diff_id in made.items():
                assert contents(store, [diff_id]) == expected[other]
                assert is_whole(store, diff_id)
        assert os.listdir(f"{root}/trees") == [".empty"]


@pytest.mark.skipif(not IS_ROOT, reason="only root may write into a file of mode 0400")
def test_what_nobody_borrows_comes_back(root: str) -> None:
    with Store.open(root, driver="erofs") as store:
        made = chain(store)
        remove(store, made["a"])
        remove(store, made["b"])
        assert disk_usage(f"{root}/trees") < 4.2 * MIB  # three parts and what c has of its own
        again = ingest(store, file("part", contents(store, [made["c"]])[b"0"]))
        assert stored(store, again) < 8192  # found, though the layer that had it first is gone
        remove(store, made["c"])
        assert disk_usage(f"{root}/trees") < 1.2 * MIB
        assert is_whole(store, again)
        assert free_orphans(root) == 0


def test_where_holes_cannot_be_punched(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(*_args: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("nacre.stores.trees.dedup.reclaim.punch_hole", cannot)
    with Store.open(root, driver="erofs") as store:
        made = chain(store)
        remove(store, made["a"])
        assert is_whole(store, made["c"])
        assert disk_usage(f"{root}/trees") > 5 * MIB


@pytest.mark.skipif(not IS_ROOT, reason="only root may write into a file of mode 0400")
def test_what_is_being_read_is_left_alone(root: str) -> None:
    with Store.open(root, driver="erofs") as store:
        made = chain(store)
        with store.trees.tar(made["a"]) as opened:
            head = opened.read(1000)
            remove(store, made["a"])
            assert Digest.of(head + opened.read()) == made["a"]
        assert free_orphans(root) >= MIB - 8192
        assert is_whole(store, made["b"])


def test_a_donor_that_goes_while_a_layer_borrows(root: str) -> None:
    with Store.open(root, driver="erofs") as store:
        first = ingest(store, file("big", BIG), file("other", OTHER))
        swept: list[int] = []

        def hook(name: str) -> None:
            if name == "tree:lent" and not swept:
                swept.append(1)
                with Store.open(root) as other:
                    swept.append(remove(other, first))

        install_trace(hook)
        try:
            second = ingest(store, file("o", OTHER), file("b", BIG))
        finally:
            install_trace(None)
        assert len(swept) == 2
        assert contents(store, [second]) == {b"o": OTHER, b"b": BIG}
        assert is_whole(store, second)


def test_a_layer_pulled_again_borrows_from_its_borrowers(root: str) -> None:
    with Store.open(root, driver="erofs") as store:
        first = layer(file("big", BIG), file("other", OTHER))
        diff_id = store.trees.ingest(io.BytesIO(first))
        second = ingest(store, file("b", BIG))
        remove(store, diff_id)
        assert store.trees.ingest(io.BytesIO(first)) == diff_id
        assert stored(store, diff_id) < len(OTHER) + 8192
        for each in (diff_id, second):
            assert is_whole(store, each)
            remove(store, each) if each == second else None
        assert is_whole(store, diff_id)


# ---- torn and killed


def test_nothing_is_borrowed_from_what_a_power_cut_may_have_torn(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    doubtful = ingest(kit, file("f", SMALL))
    monkeypatch.setattr("nacre.stores.trees.catalog.boot_id", lambda: "the next boot")
    second = ingest(kit, file("g", SMALL))
    assert lent(kit, second) == []
    third = ingest(kit, file("h", SMALL))
    assert lent(kit, third) == [os.stat(f"{kit.trees.rows.folder(second)}/layer.tar").st_ino]
    assert kit.trees.missing([doubtful, second, third]) == []


@pytest.mark.parametrize("torn", [False, True])
def test_a_borrower_whose_donor_was_torn_is_not_trusted(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, torn: bool
) -> None:
    first, second = ingest(kit, file("f", SMALL)), ingest(kit, file("g", SMALL))
    path = Path(kit.trees.rows.folder(first), "layer.tar")
    if torn:
        path.chmod(0o600)
        with path.open("r+b") as opened:
            opened.seek(700)
            opened.write(bytes(4))
    monkeypatch.setattr("nacre.stores.trees.catalog.boot_id", lambda: "the next boot")
    assert kit.trees.missing([first, second]) == ([first, second] if torn else [])


@pytest.mark.parametrize("damage", ["lent-00", "cuts", "layer.tar", "away"])
def test_damage_is_an_error_of_the_store(kit: Kit, damage: str) -> None:
    ingest(kit, file("f", SMALL))
    diff_id = ingest(kit, file("a", OTHER), file("g", SMALL))
    path = Path(kit.trees.rows.folder(diff_id), "lent-00" if damage == "away" else damage)
    data = path.read_bytes()
    path.unlink()
    if damage != "away":
        path.write_bytes(data[: len(data) // 2])
    with pytest.raises(StoreError):
        is_whole(kit, diff_id)
    if damage != "cuts":
        with pytest.raises(StoreError):
            contents(kit, [diff_id])


def _borrow(root: str, point: str) -> None:
    def hook(name: str) -> None:
        if name == point:
            os.kill(os.getpid(), signal.SIGKILL)

    with Store.open(root, driver="erofs") as store, store.leases.hold():
        install_trace(hook)
        ingest(store, file("b", BIG), file("n", OTHER))
        active = store.actives.prepare("k", [])
        Path(f"{active.upper}/new").write_bytes(BIG)
        store.actives.commit(active, io.BytesIO().write)


@pytest.mark.parametrize("point", ["tree:lent", "tree:cuts", "tree:indexing", "tree:packed", "tree:adopted"])
def test_a_kill_leaves_what_the_sweep_takes(root: str, point: str) -> None:
    with Store.open(root, driver="erofs") as store:
        first = ingest(store, file("big", BIG))
        assert Process(_borrow, root, point).wait() == -signal.SIGKILL
        for (diff_id,) in store.db.execute("SELECT diff_id FROM tree"):
            assert is_whole(store, Digest(diff_id))
        second = ingest(store, file("b", BIG), file("n", OTHER))
        remove(store, first)
        assert contents(store, [second]) == {b"b": BIG, b"n": OTHER}
        remove(store, second)
        sweep(store)
        assert os.listdir(f"{root}/trees") == [".empty"]
    assert leftovers(root) == []


@pytest.mark.skipif(not IS_ROOT, reason="only root may write into a file of mode 0400")
def test_a_kill_while_room_is_given_back(root: str) -> None:
    with Store.open(root, driver="erofs") as store:
        made = chain(store)

    def work() -> None:
        with Store.open(root, driver="erofs") as store:
            install_trace(lambda name: os.kill(os.getpid(), 9) if name == "lending:punching" else None)
            remove(store, made["a"])

    assert Process(work).wait() == -signal.SIGKILL
    with Store.open(root, driver="erofs") as store:
        assert free_orphans(root) >= MIB - 8192
        assert is_whole(store, made["c"])


def test_holes_of_a_tar_with_sparse_files_and_donors(kit: Kit) -> None:
    ingest(kit, file("b", BIG))
    out = io.BytesIO()
    writer = TarWriter(out.write)
    writer.add(Entry(b"s", size=1 << 20, sparse=((4096, 5000),)), io.BytesIO(SMALL))
    writer.add(Entry(b"b", size=len(BIG)), io.BytesIO(BIG))
    writer.close()
    diff_id = kit.trees.ingest(io.BytesIO(out.getvalue()))
    assert contents(kit, [diff_id]) == {b"s": SMALL.rjust(9096, b"\0").ljust(1 << 20, b"\0"), b"b": BIG}
    assert is_whole(kit, diff_id)


def test_punching_keeps_the_length(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * MIB)
    with path.open("r+b") as opened:
        try:
            linux.punch_hole(opened.fileno(), 4096, MIB // 2)
        except OSError as error:
            pytest.skip(f"this file system punches no holes: {error.strerror}")
    assert path.read_bytes() == b"x" * 4096 + bytes(MIB // 2) + b"x" * (MIB // 2 - 4096)


# ---- a sweep beside a publication


def _is_locked(path: str) -> bool:
    """Whether somebody keeps the sweep from this file."""
    with open(path, "rb") as opened:
        try:
            fcntl.flock(opened.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _watched(donor: str, work: Callable[[], object]) -> dict[str, bool]:
    """Whether the donor was locked at each trace point of `work`, at the last passing."""
    seen: dict[str, bool] = {}
    install_trace(lambda name: seen.__setitem__(name, _is_locked(donor)))
    try:
        work()
    finally:
        install_trace(None)
    return seen


MOVING = ("tree:lent", "tree:cuts", "tree:extracted", "tree:renamed", "tree:published")


def test_a_donor_is_held_until_the_layer_is_published(kit: Kit) -> None:
    donor = f"{kit.trees.rows.folder(ingest(kit, file('big', BIG)))}/layer.tar"
    seen = _watched(donor, lambda: ingest(kit, file("b", BIG), file("o", OTHER)))
    assert {name: seen[name] for name in MOVING} == dict.fromkeys(MOVING, True)
    assert not _is_locked(donor)


def test_a_donor_is_held_until_a_committed_layer_is_published(kit: Kit) -> None:
    if not userns.mapped():
        pytest.skip("only root writes over layers that are kept as indexes")
    base = ingest(kit, file("big", BIG))
    active = kit.actives.prepare("k", [base])
    Path(f"{active.upper}/copy").write_bytes(BIG)
    seen = _watched(
        f"{kit.trees.rows.folder(base)}/layer.tar", lambda: kit.actives.commit(active, io.BytesIO().write)
    )
    points = ("tree:lent", "tree:packed", "tree:adopted", "tree:renamed", "tree:published")
    assert {name: seen[name] for name in points} == dict.fromkeys(points, True)
    assert not _is_locked(f"{kit.trees.rows.folder(base)}/layer.tar")


def test_a_layer_that_fails_lets_go_of_its_donors(kit: Kit) -> None:
    donor = f"{kit.trees.rows.folder(ingest(kit, file('big', BIG)))}/layer.tar"
    with pytest.raises(DigestMismatch):
        kit.trees.ingest(io.BytesIO(layer(file("b", BIG))), Digest.of(b"other"))
    with pytest.raises(InvalidArchive):
        kit.trees.ingest(io.BytesIO(layer(file("b", BIG))[: 2 * MIB]))
    assert not _is_locked(donor)


def test_a_donor_is_known_by_the_name_of_its_link(kit: Kit) -> None:
    """Links move to another folder one by one; the list of cuts counts all of them."""
    ingest(kit, file("big", BIG))
    ingest(kit, file("other", OTHER))
    third = ingest(kit, file("b", BIG), file("o", OTHER))
    names = ["lent-00", "lent-01"]
    whole = [reclaim._needed([(kit.trees.rows.folder(third), name)]) for name in names]
    for name, ranges in zip(names, whole, strict=True):
        for other in names:
            os.rename(f"{kit.trees.rows.folder(third)}/{other}", f"{kit.root}/{other}")
        os.rename(f"{kit.root}/{name}", f"{kit.trees.rows.folder(third)}/{name}")
        inode = os.stat(f"{kit.trees.rows.folder(third)}/{name}").st_ino
        links = reclaim._orphans([kit.trees.rows.folder(third)])[inode]
        assert links == [(kit.trees.rows.folder(third), name)]
        assert reclaim._needed(links) == ranges
        for other in names:
            if other != name:
                os.rename(f"{kit.root}/{other}", f"{kit.trees.rows.folder(third)}/{other}")
    assert whole[0] != whole[1]


def test_folders_are_found_while_they_move(kit: Kit) -> None:
    """A folder is listed where it is, or where it has moved to meanwhile."""
    root, name = kit.root, "a" * 64
    os.mkdir(f"{root}/ingest/tree-{name}")
    found = []
    for folder_ in reclaim._folders(root):
        found.append(folder_)
        if folder_.endswith(f"/tree-{name}"):
            os.rename(folder_, f"{root}/trees/{name}")
    assert f"{root}/trees/{name}" in found


def test_what_was_swept_before_it_was_locked_is_not_read(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its reader would see zeros for what was punched out."""
    ingest(kit, file("big", BIG))
    diff_id = ingest(kit, file("b", BIG), file("o", OTHER))
    real, gone = fcntl.flock, f"{kit.root}/trash/gone"

    def moving(fd: int, operation: int) -> None:
        if os.path.exists(kit.trees.rows.folder(diff_id)):
            os.rename(kit.trees.rows.folder(diff_id), gone)
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", moving)
    with pytest.raises(StoreError, match="no such file"):
        kit.trees.tar(diff_id)
    os.rename(gone, kit.trees.rows.folder(diff_id))
    with kit.trees.open([diff_id]) as view:
        seen = view.lookup(b"b")
        assert seen is not None
        with pytest.raises(FileNotFoundError):
            seen.open()
