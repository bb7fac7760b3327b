"""The contract of roots: how layers are shown. A further root is one more entry of ROOTS.

Each runs over layers of every form.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from storekit import file, folder, layer, link
from treekit import tree_of

from nacre.grammars.tar.entry import Entry
from nacre.grammars.tar.read import read_tar
from nacre.grammars.tar.write import TarWriter
from nacre.ground import mounts, userns
from nacre.ground.work.budget import Budget
from nacre.stores.trees.forms.folder import FolderForm
from nacre.stores.trees.forms.indexed import IndexedForm
from nacre.stores.trees.interfaces import TreeForm, TreeRoot
from nacre.stores.trees.model import ActiveTree, Mode, StoredTree, Times, TreeInfo
from nacre.stores.trees.reading.view import open_view
from nacre.stores.trees.roots.laidout import LaidOut
from nacre.stores.trees.roots.mounted import Mounted
from nacre.words.errors import Unsupported
from nacre.words.mount import Mount, Overlay

IS_ROOT = os.geteuid() == 0
SINGLE = Mode(userxattr=True, single=True, devices=False)
OLD = 1_500_000_000

LAYERS = (
    layer(
        Entry(b"", "dir", 0o711),
        folder("etc", mtime_ns=OLD * 10**9),
        file("etc/a", b"a" * 5000, mtime_ns=OLD * 10**9),
        file("etc/b", b"b", mtime_ns=OLD * 10**9),
        folder("var", mode=0o700),
        file("var/x", b"x"),
    ),
    layer(file("etc/.wh.b"), file("etc/c", b"c"), link("l", "etc/c")),
    layer(folder("var", mode=0o700), file("var/.wh..wh..opq"), file("var/y", b"y"), file("deep/z", b"z")),
)
SHOWN = {b"etc", b"etc/a", b"etc/c", b"l", b"var", b"var/y", b"deep", b"deep/z"}

FORMS: dict[str, Callable[[Mode], list[TreeForm]]] = {
    "folders": lambda mode: [FolderForm(mode, Budget.of_machine)] * 3,
    "indexes": lambda _mode: [IndexedForm()] * 3,
    "mixed": lambda mode: [IndexedForm(), FolderForm(mode, Budget.of_machine), IndexedForm()],
}


class Stand:
    """One root over LAYERS."""

    def __init__(self, root: TreeRoot, mode: Mode, trees: tuple[StoredTree, ...], place: Path) -> None:
        self.root, self.mode, self.trees, self.place = root, mode, trees, place

    def active(self, name: str = "active", count: int = 3) -> ActiveTree:
        made = ActiveTree(self.trees[:count], str(self.place / name), "711 0 0")
        os.mkdir(made.folder)
        self.root.prepare(made)
        return made


def _mounted(mode: Mode, empty: str) -> TreeRoot:
    return Mounted(mode, empty)


def _laid_out(mode: Mode, empty: str) -> TreeRoot:
    return LaidOut(mode, Mounted(mode, empty))


ROOTS = {
    "mounted": (_mounted, Mode()), "laid out": (_laid_out, Mode()),
    "mounted, one id": (_mounted, SINGLE), "laid out, one id": (_laid_out, SINGLE),
}  # fmt: skip


# Who has one id mounts no index.
CASES = [(r, f) for r in ROOTS for f in FORMS if r != "mounted, one id" or f == "folders"]


@pytest.fixture(params=CASES, ids="-".join)
def stand(request: pytest.FixtureRequest, tmp_path: Path) -> Stand:
    root, form = request.param
    make, mode = ROOTS[root]
    if not mode.single and not userns.mapped():
        pytest.skip("needs root that may mount")
    (tmp_path / "empty").mkdir()
    trees = tuple(
        tree_of(each, data, tmp_path / f"tree{number}")
        for number, (each, data) in enumerate(zip(FORMS[form](mode), LAYERS, strict=True))
    )
    return Stand(make(mode, str(tmp_path / "empty")), mode, trees, tmp_path)


@contextmanager
def top(mount: Mount) -> Iterator[Path]:
    """Where the root can be looked at."""
    if not isinstance(mount, Overlay):
        yield Path(mount.path)  # type: ignore[union-attr]
        return
    if mount.userxattr or not userns.mapped():
        pytest.skip("not to be mounted by this user")
    fd = mounts.detached(mount)
    try:
        yield Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def below(place: Path) -> set[bytes]:
    found = set()
    for path, names, files in os.walk(f"{place}/."):
        found |= {os.fsencode(os.path.relpath(f"{path}/{name}", f"{place}/.")) for name in (*names, *files)}
    return found


def members(stand: Stand, active: ActiveTree) -> dict[bytes, str]:
    return {entry.path: entry.kind for entry, _ in stand.root.entries(active) if entry.path}


def test_it_shows_what_the_layers_hold(stand: Stand) -> None:
    mount, _ = stand.root.mount(stand.active())
    with open_view(stand.trees) as view:
        assert {found.path for found in view.walk()} - {b""} == SHOWN
    with top(mount) as place:
        assert below(place) == SHOWN
        assert (place / "etc/a").read_bytes() == b"a" * 5000
        assert (place / ".").stat().st_mode & 0o777 == 0o711
        assert isinstance(mount, Overlay) == stand.root.is_mounted


def test_nothing_written_is_no_difference(stand: Stand) -> None:
    active = stand.active()
    assert members(stand, active) == {}
    out = io.BytesIO()
    writer = TarWriter(out.write)
    assert stand.root.pack(active, writer, Times()) == TreeInfo(0)
    assert out.getvalue() == bytes(1024)


def test_what_is_written_is_the_difference(stand: Stand) -> None:
    active = stand.active()
    mount, upper = stand.root.mount(active)
    with top(mount) as place:
        (place / "etc/a").write_bytes(b"changed")
        (place / "etc/c").unlink()
        (place / "new").mkdir()
        (place / "new/n").write_bytes(b"n" * 100)
    assert members(stand, active) == {
        b"etc": "dir", b"etc/.wh.c": "file", b"etc/a": "file", b"new": "dir", b"new/n": "file",
    }  # fmt: skip
    assert os.path.exists(f"{upper}/new/n")
    out = io.BytesIO()
    info = stand.root.pack(active, TarWriter(out.write), Times(clamp=OLD))
    packed = [entry for entry, _ in read_tar(io.BytesIO(out.getvalue()))]
    assert [entry.path for entry in packed] == [b"etc", b"etc/.wh.c", b"etc/a", b"new", b"new/n"]
    assert info.size == 107
    assert all(entry.mtime_ns in (0, OLD * 10**9) for entry in packed)
    assert stand.root.mount(active) == (mount, upper)


def test_all_of_it_can_be_had(stand: Stand) -> None:
    active = stand.active()
    mount, _ = stand.root.mount(active)
    with top(mount) as place:
        (place / "new").write_bytes(b"1")
        fd = os.open(f"{place}/.", os.O_RDONLY | os.O_DIRECTORY)
        try:
            found = {entry.path for entry, _ in stand.root.all_entries(active, fd)}
        finally:
            os.close(fd)
    assert found - {b""} == SHOWN | {b"new"}


def test_what_was_only_touched_is_no_change(stand: Stand) -> None:
    active = stand.active()
    mount, _ = stand.root.mount(active)
    with top(mount) as place:
        content = (place / "etc/a").read_bytes()
        (place / "etc/a").write_bytes(content)
    found = stand.root.compare(active, None, remove=True)
    assert (found is None) == (not stand.root.is_mounted)
    if found is not None:
        assert found.unchanged == {b"etc", b"etc/a"}
    assert members(stand, active) == {}


def test_it_is_read_where_it_may_be_mounted(stand: Stand) -> None:
    if stand.mode.userxattr and not stand.root.is_mounted:
        with pytest.raises(Unsupported, match="mounts are not permitted"):
            stand.root.view(stand.trees)
        return
    mount = stand.root.view(stand.trees)
    assert isinstance(mount, Overlay)
    assert not mount.upper
    with top(mount) as place:
        assert below(place) == SHOWN


def test_a_root_that_is_kept_grows(stand: Stand) -> None:
    """Or says that it cannot, and is then prepared anew."""
    lower = stand.active("lower", 1)
    stand.root.pack(lower, TarWriter(lambda _data: None), Times())
    grown = lower.replace(trees=stand.trees)
    if not (stand.root.is_reusable() and stand.root.extend(grown, 1)):
        return
    assert not any(tree.is_unpacked for tree in stand.trees[1:])
    mount, _ = stand.root.mount(grown)
    with top(mount) as place:
        assert below(place) == SHOWN
    assert members(stand, grown) == {}


def test_a_layer_that_comes_twice_and_none_at_all(stand: Stand) -> None:
    stand.trees = (*stand.trees, stand.trees[0])
    with top(stand.root.mount(stand.active("twice", 4))[0]) as place:
        assert below(place) == SHOWN | {b"etc/b", b"var/x"}
    with top(stand.root.mount(stand.active("none", 0))[0]) as place:
        assert below(place) == set()
