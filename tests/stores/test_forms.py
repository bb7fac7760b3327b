"""The contract of forms: how a layer is kept. A further form is one more entry of FORMS."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from storekit import file, folder, layer, link

from nacre.grammars.tar.entry import Entry
from nacre.grammars.tar.read import read_tar
from nacre.ground.scan import scan
from nacre.ground.work.budget import Budget
from nacre.stores.trees.forms import either
from nacre.stores.trees.forms.either import EitherForm
from nacre.stores.trees.forms.folder import FolderForm
from nacre.stores.trees.forms.indexed import IndexedForm
from nacre.stores.trees.forms.proof import prove
from nacre.stores.trees.interfaces import TreeForm
from nacre.stores.trees.model import HeldLocks, Mode, StoredTree, TreeInfo
from nacre.stores.trees.reading.view import open_view
from nacre.words.digest import Digest
from nacre.words.errors import InvalidArchive, Unsupported
from nacre.words.mount import Erofs

IS_ROOT = os.geteuid() == 0
SINGLE = Mode(userxattr=True, single=True, devices=False)
MODE = Mode() if IS_ROOT else SINGLE
OWNER = {"uid": 33, "gid": 44} if IS_ROOT else {}

TAR = layer(
    Entry(b"", "dir", 0o711, mtime_ns=7_000_000_000),
    folder("d", mode=0o750, mtime_ns=5_000_000_007, **OWNER),
    file("d/f", b"hello" * 900, mode=0o640, mtime_ns=6_000_000_000, **OWNER),
    Entry(b"hard", "hardlink", link=b"d/f"),
    link("link", "d/f"),
    file("implied/in", b"x"),
    file(".wh.gone"),
    file("d/.wh..wh..opq"),
    tail=b"\0" * 3000,
)


def _either(marked: bool) -> EitherForm:
    return EitherForm(FolderForm(MODE, Budget.of_machine, marked=True), IndexedForm())


FORMS: dict[str, Callable[[], TreeForm]] = {
    "folder": lambda: FolderForm(MODE, Budget.of_machine),
    "folder, one id": lambda: FolderForm(SINGLE, Budget.of_machine),
    "indexed": IndexedForm,
    "either, unpacked": lambda: _either(True),
    "either, indexed": lambda: _either(False),
}


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> TreeForm:
    if request.param.startswith("either"):
        monkeypatch.setattr(either, "shares_blocks", lambda _folder: request.param.endswith("unpacked"))
    return FORMS[request.param]()


@pytest.fixture
def locks() -> Iterator[HeldLocks]:
    with HeldLocks() as held:
        yield held


def kept(form: TreeForm, data: bytes, place: Path) -> tuple[StoredTree, TreeInfo]:
    place.mkdir()
    with HeldLocks() as held:
        info = form.ingest(io.BytesIO(data), str(place), held)
    return StoredTree(Digest.of(data), str(place), form), info


def shown(tree: StoredTree) -> dict[bytes, tuple[object, ...]]:
    found: dict[bytes, tuple[object, ...]] = {}
    reader = tree.read()

    def walk(path: bytes) -> None:
        node = reader.node(path)
        assert node is not None
        content = b""
        if node.kind == "file" and node.size:
            with reader.open(path) as opened:
                content = opened.read()
        found[path] = (node.kind, node.mode, node.uid, node.gid, node.mtime_ns, node.link, content)
        for name in reader.names(path) if node.kind == "dir" else ():
            walk(path + b"/" + name if path else name)

    walk(b"")
    reader.close()
    return found


def test_what_came_in_is_read(form: TreeForm, tmp_path: Path) -> None:
    tree, info = kept(form, TAR, tmp_path / "tree")
    assert info == TreeInfo(4501, "711 0 0")
    found = shown(tree)
    assert sorted(found) == [b"", b"d", b"d/f", b"gone", b"hard", b"implied", b"implied/in", b"link"]
    owner = tuple(OWNER.values()) or (0, 0)
    assert found[b"d"][:5] == ("dir", 0o750, *owner, 5_000_000_007)
    assert found[b"d/f"] == ("file", 0o640, *owner, 6_000_000_000, b"", b"hello" * 900)
    assert found[b"hard"] == found[b"d/f"]
    assert (found[b"gone"][0], found[b"link"][5]) == ("whiteout", b"d/f")
    reader = tree.read()
    nodes = [reader.node(path) for path in (b"d", b"implied", b"none", b"d/f/x")]
    reader.close()
    assert [node and (node.opaque, node.implied) for node in nodes] == [
        (True, False), (False, True), None, None,
    ]  # fmt: skip


def test_the_tar_comes_back_to_the_bit(form: TreeForm, tmp_path: Path) -> None:
    tree, _ = kept(form, TAR, tmp_path / "tree")
    assert tree.gives_tar()
    with tree.tar() as tar:
        assert tar.seekable() != tree.is_unpacked
        assert tar.read() == TAR
    assert prove(tree, Budget.of_machine()) == ""


def test_a_folder_says_what_it_holds(form: TreeForm, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert not form.holds(str(tmp_path / "empty"))
    tree, info = kept(form, TAR, tmp_path / "tree")
    assert form.holds(tree.folder)
    assert form.describe(tree) == info


def test_a_layer_for_overlayfs(form: TreeForm, tmp_path: Path) -> None:
    tree, _ = kept(form, TAR, tmp_path / "tree")
    lower = tree.lower()
    assert isinstance(lower, Erofs) != tree.is_unpacked
    paths = [lower] if isinstance(lower, str) else [lower.index, *lower.devices]
    assert all(os.path.exists(path) and path.startswith(tree.folder + "/") for path in paths)
    assert not tree.is_opaque
    assert tree.has_implied
    assert kept(form, layer(file(".wh..wh..opq")), tmp_path / "hiding")[0].is_opaque


def test_a_refusal_stays_in_its_folder(form: TreeForm, tmp_path: Path) -> None:
    for number, data in enumerate((b"no tar" * 100, TAR[:6000], layer(file("../x", b"1")))):
        with pytest.raises(InvalidArchive):
            kept(form, data, tmp_path / str(number))
    assert sorted(os.listdir(tmp_path)) == ["0", "1", "2"]


def difference(place: Path) -> tuple[str, str]:
    """The folder of an active, and the one in it that holds what was written."""
    upper = place / "upper"
    (upper / "new").mkdir(parents=True)
    (upper / "new/file").write_bytes(b"written" * 1000)
    os.link(upper / "new/file", upper / "also")
    for path in ("new/file", "new", "."):
        os.utime(upper / path, (9, 9))
    return str(place), str(upper)


def pack(form: TreeForm, active: str, upper: str, locks: HeldLocks, most: int = 100) -> bytes:
    """The tar of the first `most` entries; it is complete if there are no more."""
    out, fd = io.BytesIO(), os.open(upper, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with form.writer(active, out.write, locks) as writer:
            for number, (entry, payload) in enumerate(scan(fd, MODE.on_disk())):
                if number == most:
                    return b""
                if entry.path:
                    writer.add(entry, payload() if payload else None)
            writer.close()
    finally:
        os.close(fd)
    return out.getvalue()


def test_a_difference_becomes_a_tree(form: TreeForm, tmp_path: Path, locks: HeldLocks) -> None:
    active, upper = difference(tmp_path / "active")
    assert pack(form, active, upper, locks, most=2) == b""  # given up
    data = pack(form, active, upper, locks)
    (tmp_path / "tree").mkdir()
    form.adopt(active, upper, str(tmp_path / "tree"))
    assert os.path.exists(upper) != form.keeps_files
    tree = StoredTree(Digest.of(data), str(tmp_path / "tree"), form)
    with tree.tar() as tar:
        assert tar.read() == data
    assert prove(tree, Budget.of_machine()) == ""
    assert shown(tree)[b"also"][-1] == b"written" * 1000
    names = [entry.path for entry, _ in read_tar(io.BytesIO(data))]
    assert names == [b"also", b"new", b"new/file"]


def test_damage_is_found(form: TreeForm, tmp_path: Path) -> None:
    tree, _ = kept(form, TAR, tmp_path / "tree")
    path = Path(tree.folder, "fs/d/f" if tree.is_unpacked else "layer.tar")
    data = bytearray(path.read_bytes())
    data[data.index(b"hello")] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    assert prove(tree, Budget.of_machine()) not in ("", None)


def test_layers_of_all_forms_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(either, "shares_blocks", lambda _folder: True)
    trees = [
        kept(make(), layer(file(f"f{number}", b"1"), file("same", b"%d" % number)), tmp_path / str(number))[0]
        for number, make in enumerate(FORMS.values())
    ]
    with open_view(trees) as view:
        assert view.names() == [b"f%d" % number for number in range(len(trees))] + [b"same"]
        found = view.lookup(b"same")
        assert found is not None
        with found.open() as opened:
            assert opened.read() == b"%d" % (len(trees) - 1)


@pytest.mark.skipif(not IS_ROOT, reason="needs root")
def test_marks_that_overlayfs_would_not_see_are_refused(tmp_path: Path) -> None:
    made = kept(FolderForm(SINGLE, Budget.of_machine, marked=True), TAR, tmp_path / "tree")[0]
    assert made.lower() == f"{made.folder}/fs"
    with pytest.raises(Unsupported, match="unpacked without CAP_SYS_ADMIN"):
        FolderForm(Mode(), Budget.of_machine, marked=True).lower(made)
    assert not FolderForm(Mode(), Budget.of_machine).holds(made.folder)
