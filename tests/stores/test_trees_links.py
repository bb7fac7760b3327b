"""Entries that go through links, and marks where nothing is: every driver and the kernel show the same."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from storekit import file, folder, layer, link
from treekit import Kit

from nacre.grammars.tar.entry import Entry
from nacre.ground import mounts
from nacre.ground.extract import Form, apply
from nacre.stores import Store
from nacre.stores.trees.model import Mode
from nacre.words.digest import Digest
from nacre.words.errors import InvalidArchive
from nacre.words.mount import Overlay

VARIANTS = {
    "overlay": ("overlay", Mode()), "erofs": ("erofs", Mode()), "plain": ("plain", Mode()),
    "overlay-single": ("overlay", Mode(userxattr=True, single=True, devices=False)),
    "plain-single": ("plain", Mode(userxattr=True, single=True, devices=False)),
}  # fmt: skip
Members = list[Entry | tuple[Entry, bytes]]
Shown = dict[str, Any]


@pytest.fixture(params=VARIANTS)
def kit(request: pytest.FixtureRequest, store: Store) -> Kit:
    driver, mode = VARIANTS[request.param]
    if not mode.single and os.geteuid():
        pytest.skip("only root may chown")
    made = Kit(store, driver=driver, mode=mode)
    if driver == "erofs" and ", but " in made.driver.why:
        pytest.skip(made.driver.why)
    return made


def hard(path: str, target: str) -> Entry:
    return Entry(path.encode(), "hardlink", link=target.encode())


VAR_RUN: Members = [folder("var"), link("var/run", "/run")]
RUN: Members = [folder("run", mode=0o711, uid=5, gid=6, mtime_ns=9 * 10**9), file("run/o", b"old")]
OLD_RUN, MADE = (0o711, 5), (0o755, 0)

CASES: dict[str, tuple[list[Members], Shown]] = {
    "nothing there": (
        [[*VAR_RUN, file("var/run/x/y", b"1", uid=7), hard("var/run/h", "var/run/x/y")]],
        {"run": MADE, "run/x": MADE, "run/x/y": b"1", "run/h": b"1", "var": MADE, "var/run": "/run"},
    ),
    "relative, and its folder later": (
        [[folder("var"), link("var/run", "../run"), file("var/run/y", b"2"), folder("run", uid=3)]],
        {"run": (0o755, 3), "run/y": b"2", "var": MADE, "var/run": "../run"},
    ),
    "a link to a link, and one that goes back": (
        [[link("a", "b/c"), link("b", "no/../d"), file("a/x", b"3")]],
        {"a": "b/c", "b": "no/../d", "d": MADE, "d/c": MADE, "d/c/x": b"3"},
    ),
    "a hard link to the link": (
        [[link("l", "/t"), hard("m", "l"), file("m/x", b"4")]],
        {"l": "/t", "m": "/t", "t": MADE, "t/x": b"4"},
    ),
    "in a lower layer": (
        [RUN, [*VAR_RUN, file("var/run/x", b"1"), file("var/run/o", b"new")]],
        {"run": OLD_RUN, "run/o": b"new", "run/x": b"1", "var": MADE, "var/run": "/run"},
    ),
    "a whiteout through it": (
        [RUN, [*VAR_RUN, file("var/run/.wh.o"), file("var/run/x", b"1")]],
        {"run": OLD_RUN, "run/x": b"1", "var": MADE, "var/run": "/run"},
    ),
    "an opaque mark through it": (
        [RUN, [*VAR_RUN, file("var/run/x", b"1"), file("var/run/.wh..wh..opq")]],
        {"run": OLD_RUN, "run/x": b"1", "var": MADE, "var/run": "/run"},
    ),
    "removed, then used": (
        [RUN, [file(".wh.run"), *VAR_RUN, file("var/run/x", b"1")]],
        {"run": MADE, "run/x": b"1", "var": MADE, "var/run": "/run"},
    ),
    "used, then removed": (
        [RUN, [*VAR_RUN, file("var/run/x", b"1"), file(".wh.run")]],
        {"run": MADE, "run/x": b"1", "var": MADE, "var/run": "/run"},
    ),
    "a file in a lower layer": (
        [[file("run", b"file")], [*VAR_RUN, file("var/run/x", b"1")]],
        {"run": MADE, "run/x": b"1", "var": MADE, "var/run": "/run"},
    ),
    "a link of a lower layer gives way": (
        [[*RUN, *VAR_RUN], [file("var/run/x", b"1")]],
        {"run": OLD_RUN, "run/o": b"old", "var": MADE, "var/run": MADE, "var/run/x": b"1"},
    ),
    "a link of a lower layer behind one of this": (
        [[folder("t"), link("run", "t")], [*VAR_RUN, file("var/run/x", b"1")]],
        {"run": MADE, "run/x": b"1", "t": MADE, "var": MADE, "var/run": "/run"},
    ),
    "an opaque mark alone": ([RUN, [file("run/.wh..wh..opq")]], {"run": OLD_RUN}),
    "an opaque mark and a folder below": (
        [[*RUN, folder("run/d", mode=0o700, uid=5)], [file("run/.wh..wh..opq"), file("run/d/x", b"1")]],
        {"run": OLD_RUN, "run/d": MADE, "run/d/x": b"1"},
    ),
    "two opaque marks": ([RUN, [file("run/.wh..wh..opq")], [file("run/.wh..wh..opq")]], {"run": OLD_RUN}),
    "marks beneath a file": (
        [[file("o", b"1"), file("o/.wh..wh..opq"), file("o/.wh.x"), link("l", "o"), file("l/.wh.x")]],
        {"l": "o", "o": b"1"},
    ),
    "a mark where nothing is": ([[file("d/.wh..wh..opq")]], {"d": MADE}),
    "folders named as whiteouts": (
        [[folder("etc"), file("etc/p", b"1")], [file(".wh.etc/some", b"2"), file("a/.wh..wh..opq/b", b"3")]],
        {"etc": MADE, "etc/p": b"1", ".wh.etc": MADE, ".wh.etc/some": b"2",
         "a": MADE, "a/.wh..wh..opq": MADE, "a/.wh..wh..opq/b": b"3"},
    ),
}  # fmt: skip


def ingest(kit: Kit, layers: list[Members]) -> list[Digest]:
    return [kit.trees.ingest(io.BytesIO(layer(*members))) for members in layers]


def viewed(kit: Kit, layers: list[Digest]) -> Shown:
    found: Shown = {}
    with kit.trees.open(layers) as view:
        for each in view.walk():
            path = each.path.decode()
            if each.kind == "file":
                with each.open() as content:
                    found[path] = content.read()
            else:
                found[path] = each.link.decode() if each.kind == "symlink" else (each.mode, each.uid)
    return {path: looks for path, looks in found.items() if path}


def on_disk(root: str, owners: bool = True) -> Shown:
    found: Shown = {}
    for above, folders, files in os.walk(root):
        for name in folders + files:
            path = Path(above, name)
            info = path.lstat()
            looks: Any = info.st_mode & 0o7777, info.st_uid if owners else 0
            looks = os.readlink(path) if path.is_symlink() else looks
            found[str(path.relative_to(root))] = (
                path.read_bytes() if path.is_file() and not path.is_symlink() else looks
            )
    return found


@pytest.mark.parametrize("name", CASES)
def test_every_driver_shows_the_same(kit: Kit, name: str) -> None:
    layers, expected = CASES[name]
    diff_ids = ingest(kit, layers)
    assert viewed(kit, diff_ids) == expected
    for diff_id, members in zip(diff_ids, layers, strict=True):
        assert kit.trees.repair.prove(diff_id) in ("", None)
        with kit.trees.tar(diff_id) as tar:
            assert tar.read() == layer(*members)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("name", CASES)
def test_the_kernel_shows_the_same(kit: Kit, name: str) -> None:
    layers, expected = CASES[name]
    active = kit.actives.prepare("k", ingest(kit, layers))
    if kit.mode.single:  # owners are kept beside the tree
        expected = {
            path: (looks[0], 0) if isinstance(looks, tuple) else looks for path, looks in expected.items()
        }
    if isinstance(active.mount, Overlay):
        fd = mounts.detached(active.mount)
        try:
            assert on_disk(f"/proc/self/fd/{fd}/.") == expected
        finally:
            os.close(fd)
    else:
        assert on_disk(active.upper) == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("name", [name for name in CASES if "of a lower layer" not in name])
def test_beneath_a_folder_it_is_the_same(tmp_path: Path, name: str) -> None:
    """Links that the folder itself has are followed there."""
    layers, expected = CASES[name]
    (tmp_path / "root").mkdir()
    fd = os.open(tmp_path / "root", os.O_RDONLY | os.O_DIRECTORY)
    try:
        for members in layers:
            apply(io.BytesIO(layer(*members)), fd, Form(whiteouts="delete"))
    finally:
        os.close(fd)
    assert on_disk(str(tmp_path / "root")) == expected


@pytest.mark.parametrize(
    "members",
    [
        [file("g"), link("l", "g"), file("l/deep/y")], [file("g"), file("g/deep/y")],
        [link("a", "b"), link("b", "a"), file("a/deep/y")], [link("a", "b"), link("b", "a"), file("a/.wh.y")],
        [link("l", "/t"), file("l/d/" + "n" * 256)], [link("l", "/t"), hard("h", "l/none")],
    ],
    ids=["file", "folder", "loop", "whiteout", "long", "hard"],
)  # fmt: skip
def test_a_refusal_names_the_entry(kit: Kit, members: Members) -> None:
    last = members[-1] if isinstance(members[-1], Entry) else members[-1][0]
    with pytest.raises(InvalidArchive, match=repr(last.path[:200].decode())[1:-1]):
        ingest(kit, [members])
