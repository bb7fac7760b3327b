"""What a layer means is the same whoever carries it out: columns, an index, directories, the kernel.

Every way to hold layers is handed the same tars and must show the same tree, or refuse the same layer.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from memorytree import GONE, Dir, MemoryTree
from storekit import make_image
from treekit import Kit
from treemaker import (
    DELETE,
    ROOT,
    Item,
    directory,
    file,
    folder,
    hardlink,
    pack,
    symlink,
    tangles,
    unpack,
    white,
)

from nacre.grammars.erofs.read import ErofsIndex
from nacre.grammars.erofs.tree import LayerTree
from nacre.grammars.erofs.write import write_index
from nacre.grammars.layer.nodes import Inode, walk
from nacre.grammars.layer.overlay import KINDS
from nacre.grammars.layer.paths import Refused
from nacre.grammars.layer.union import as_lowest, merge
from nacre.grammars.layer.whiteouts import whiteout
from nacre.grammars.tar.entry import Entry
from nacre.grammars.tar.read import read_tar
from nacre.ground import mounts
from nacre.ground.scan import scan
from nacre.images.audit.explore import explore
from nacre.images.model.image import Image
from nacre.stores import Store
from nacre.stores.trees.reading.view import Found
from nacre.words.errors import InvalidArchive
from nacre.words.mount import Overlay

Layers = list[list[Item]]
Facts = dict[bytes, tuple[str, int, int, bytes, int]]
"""Kind, mode, time, target of a link and size by path; sizes are different wherever contents are."""
Carrier = Callable[[Layers, Path, Store], Facts]

pytestmark = pytest.mark.skipif(not ROOT, reason="modes forbid an ordinary user to look")


def facts(entry: Entry) -> tuple[str, int, int, bytes, int]:
    mode = 0o777 if entry.kind == "symlink" else entry.mode
    return entry.kind, mode, entry.mtime_ns, entry.link, entry.size


def entries(items: list[Item]) -> list[Entry]:
    return [entry for entry, _ in read_tar(io.BytesIO(pack(items)))]


def in_dictionaries(layers: Layers, _where: Path, _store: Store) -> Facts:
    tree = MemoryTree(full=True)
    for items in layers:
        tree.add(entries(items))
    return dict(_in_folder(tree.root))


def _in_folder(above: Dir) -> Iterator[tuple[bytes, tuple[str, int, int, bytes, int]]]:
    for name, found in above.names.items():
        path = above.path + b"/" + name if above.path else name
        if isinstance(found, Dir):
            yield path, facts(found.entry or Entry(path, "dir", 0o755))
            yield from _in_folder(found)
        else:
            assert found is not GONE
            yield path, facts(found)


def in_columns(layers: Layers, _where: Path, _store: Store) -> Facts:
    return _merged([_columns(items).nodes() for items in layers])


def in_an_index(layers: Layers, _where: Path, _store: Store) -> Facts:
    return _merged([ErofsIndex(_written(_columns(items))).tree() for items in layers])


def _columns(items: list[Item]) -> LayerTree:
    tree = LayerTree()
    for entry in entries(items):
        tree.add(entry)
    return tree


def _written(tree: LayerTree) -> bytes:
    image = bytearray()

    def put(data: bytearray, offset: int) -> None:
        image.extend(bytes(max(0, offset + len(data) - len(image))))
        image[offset : offset + len(data)] = data

    write_index(tree.inodes, [1 << 20], put)
    return bytes(image)


def _merged(roots: list[Inode]) -> Facts:
    bottom = as_lowest(roots[0])
    for root in roots[1:]:
        merge(bottom, root)
    return {path: _of_inode(inode) for path, inode in walk(bottom) if path}


def _of_inode(inode: Inode) -> tuple[str, int, int, bytes, int]:
    kind = KINDS[stat.S_IFMT(inode.mode)]
    return kind, stat.S_IMODE(inode.mode), inode.mtime_ns, inode.link, inode.size if kind == "file" else 0


def in_one_folder(layers: Layers, where: Path, _store: Store) -> Facts:
    with folder(where) as (_path, fd):
        for items in layers:
            unpack(items, fd, DELETE.replace(links=False))
        return _scanned(fd)


def _scanned(fd: int) -> Facts:
    found = {entry.path: entry for entry, _ in scan(fd, DELETE.replace(whiteouts="none"))}
    files = {path: found[it.link] if it.kind == "hardlink" else it for path, it in found.items()}
    return {path: facts(entry) for path, entry in files.items() if path}


def read_from(driver: str) -> Carrier:
    def carrier(layers: Layers, _where: Path, store: Store) -> Facts:
        kit = Kit(store, driver=driver)
        ids = [kit.trees.ingest(io.BytesIO(pack(items))) for items in layers]
        with kit.trees.open(ids) as view:
            return {it.path: _of_found(it) for it in view.walk() if it.path}

    return carrier


def _of_found(found: Found) -> tuple[str, int, int, bytes, int]:
    link = found.kind == "symlink"
    return found.kind, 0o777 if link else found.mode, found.mtime_ns, found.link, 0 if link else found.size


def mounted_by(driver: str) -> Carrier:
    def carrier(layers: Layers, _where: Path, store: Store) -> Facts:
        kit = Kit(store, driver=driver)
        mount = kit.trees.view([kit.trees.ingest(io.BytesIO(pack(items))) for items in ([], *layers)])
        assert isinstance(mount, Overlay)
        fd = mounts.detached(mount)
        try:
            return _scanned(fd)
        finally:
            os.close(fd)

    return carrier


KEPT: dict[str, Carrier] = {
    "columns": in_columns, "index": in_an_index, "overlay": read_from("overlay"), "erofs": read_from("erofs"),
    "overlay, mounted": mounted_by("overlay"), "erofs, mounted": mounted_by("erofs"),
}  # fmt: skip
"""Each layer by itself."""
APPLIED: dict[str, Carrier] = {"dictionaries": in_dictionaries, "folder": in_one_folder}
"""One layer after the other in one place: a hard link may lead to a lower layer there."""


@pytest.fixture(params=[*KEPT, *APPLIED])
def carrier(request: pytest.FixtureRequest, store: Store) -> Carrier:
    name: str = request.param
    if name.startswith("erofs") and ", but " in (why := Kit(store, driver="erofs").driver.why):
        pytest.skip(why)
    return {**KEPT, **APPLIED}[name]


def shown(carrier: Carrier, layers: Layers, where: Path, store: Store) -> Facts | None:
    """None when a layer is refused."""
    try:
        return carrier(layers, where, store)
    except (InvalidArchive, Refused):
        return None


BASE = [directory(b"d", mode=0o700), file(b"d/x", b"1"), file(b"d/y", b"22"), file(b"f", b"333")]
Z = file(b"d/z", b"4444")
LINK = [directory(b"d"), symlink(b"l", b"d")]

# layers, and what is to be seen of them: kind, and size or mode; None for nothing
CASES: dict[str, tuple[Layers, dict[bytes, str | None]]] = {
    "a name twice": ([[file(b"a", b"1"), file(b"a", b"22")]], {b"a": "file 2"}),
    "a link instead of a file": ([[file(b"a"), symlink(b"a", b"b")]], {b"a": "symlink"}),
    "a file over a full folder": ([[*BASE, file(b"d", b"4444")]], {b"d": "file 4", b"d/x": None}),
    "a folder over a lower file": ([BASE, [directory(b"f")]], {b"f": "dir", b"d/x": "file 1"}),
    "a file over a lower folder": ([BASE, [file(b"d", b"4444")]], {b"d": "file 4", b"d/x": None}),
    "folders merge": ([BASE, [directory(b"d"), Z]], {b"d/x": "file 1", b"d/z": "file 4"}),
    "an implied folder keeps what is lower": ([BASE, [Z]], {b"d": "dir 700"}),
    "a described one does not": ([BASE, [directory(b"d", mode=0o711)]], {b"d": "dir 711"}),
    "a whiteout": ([BASE, [white(b"d/.wh.x")]], {b"d/x": None, b"d/y": "file 2"}),
    "a whiteout of a folder": ([BASE, [white(b".wh.d")]], {b"d": None, b"f": "file 3"}),
    "a whiteout before its folder": ([BASE, [white(b".wh.d"), Z]], {b"d/x": None, b"d/z": "file 4"}),
    "a whiteout behind its folder": ([BASE, [Z, white(b".wh.d")]], {b"d/x": None, b"d/z": "file 4"}),
    "what it replaces looks as new": ([BASE, [Z, white(b".wh.d")]], {b"d": "dir 755"}),
    "an opaque folder": ([BASE, [white(b"d/.wh..wh..opq"), Z]], {b"d/x": None, b"d/z": "file 4"}),
    "an opaque folder behind": ([BASE, [Z, white(b"d/.wh..wh..opq")]], {b"d/x": None, b"d/z": "file 4"}),
    "an opaque root": ([BASE, [file(b"z"), white(b".wh..wh..opq")]], {b"d": None, b"f": None, b"z": "file"}),
    "a whiteout of nothing": ([BASE, [white(b"no/.wh.x"), white(b".wh.n")]], {b"no": "dir 755", b"n": None}),
    "a whiteout of its own file": ([BASE, [file(b"f", b"4444"), white(b".wh.f")]], {b"f": "file 4"}),
    "a hard link": ([[*BASE, hardlink(b"h", b"d/x")]], {b"h": "file 1", b"d/x": "file 1"}),
    "a hard link over a file": ([[*BASE, hardlink(b"f", b"d/x")]], {b"f": "file 1"}),
    "a hard link over itself": ([[*BASE, hardlink(b"f", b"f")]], {b"f": "file 3"}),
    "a hard link over a folder": ([[*BASE, hardlink(b"d", b"f")]], {b"d": "file 3", b"d/x": None}),
    "missing parents": ([[file(b"a/b/c", b"1")]], {b"a": "dir 755", b"a/b": "dir 755", b"a/b/c": "file 1"}),
    "a parent that is a link": ([[*LINK, file(b"l/x", b"1")]], {b"l": "symlink", b"d/x": "file 1"}),
    "a parent that is a lower link": ([LINK, [file(b"l/x", b"1")]], {b"l": "dir 755", b"d/x": None}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_same_tars_make_the_same_tree(carrier: Carrier, name: str, tmp_path: Path, store: Store) -> None:
    layers, expected = CASES[name]
    found = carrier(layers, tmp_path, store)
    for path, what in expected.items():
        assert _said(found.get(path), what) == what, path
    assert found == in_columns(layers, tmp_path, store)


def _said(found: tuple[str, int, int, bytes, int] | None, like: str | None) -> str | None:
    """In as many words as it is expected in."""
    if found is None:
        return None
    detail = str(found[4]) if found[0] == "file" else f"{found[1]:o}"
    return f"{found[0]} {detail}" if like and " " in like else found[0]


REFUSED: dict[str, list[Item]] = {
    "beneath a file": [file(b"a"), file(b"a/b")],
    "beneath a link to a file": [file(b"a"), symlink(b"l", b"a"), file(b"l/b")],
    "a loop of links": [symlink(b"a", b"b"), symlink(b"b", b"a"), file(b"a/x")],
    "a hard link to nothing": [hardlink(b"h", b"no")],
    "a hard link to a folder": [directory(b"d"), hardlink(b"h", b"d")],
    "a hard link to what it replaces": [file(b"a/b"), hardlink(b"a", b"a/b")],
    "a name that is too long": [file(b"n" * 256)],
}


@pytest.mark.parametrize("name", REFUSED)
def test_all_refuse_the_same(carrier: Carrier, name: str, tmp_path: Path, store: Store) -> None:
    assert shown(carrier, [REFUSED[name]], tmp_path, store) is None


# --- at random


def with_sizes(layers: Layers) -> Layers:
    """Every content of another size, no device 0/0, which only overlayfs takes for a whiteout."""
    sizes = iter(range(1, 100))
    return [
        [
            file(it.path, b"x" * next(sizes), mode=it.mode) if _has_content(it) else (it, data)
            for it, data in items if it.kind != "char"
        ]
        for items in layers
    ]  # fmt: skip


def _has_content(entry: Entry) -> bool:
    return entry.kind == "file" and whiteout(entry.path) is None


def becomes_folder(items: list[Item]) -> bool:
    """Whether something in the layer gives way to a folder of it: what that hid in lower layers is gone where
    layers are applied, and seen where they are kept, as with docker.
    """
    try:
        return MemoryTree().add(entries(items)).became_folder
    except (InvalidArchive, Refused):
        return False


drawn = st.lists(tangles(), min_size=1, max_size=3).map(with_sizes)
slow = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@slow
@given(layers=drawn)
@example(layers=[[file(b"a/b")], [symlink(b"c", b"a"), file(b"c/.wh.b"), file(b"a")]])
def test_every_carrier_agrees(carrier: Carrier, layers: Layers, tmp_path: Path, store: Store) -> None:
    expected = shown(in_columns, layers, tmp_path, store)
    if carrier in APPLIED.values():
        assume(expected is not None)
        assume(not any(map(becomes_folder, layers)))
    assert shown(carrier, layers, tmp_path, store) == expected


@slow
@given(layers=drawn)
def test_explore_sees_what_is_there(layers: Layers, tmp_path: Path, store: Store) -> None:
    expected = shown(in_columns, layers, tmp_path, store)
    assume(expected is not None)
    assert expected is not None
    image = Image.load(store, make_image(store, *map(pack, layers)))
    there = {size for kind, _, _, _, size in expected.values() if kind == "file"}
    assert explore(image).seen == sum(there)
