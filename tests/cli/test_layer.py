"""`nacre layer apply`, `ls` and `diff`, as root and as a user, without a store."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nacre.grammars.tar.write import TarWriter
from nacre.ground.compare import compare, open_folder
from nacre.ground.extract import Form, apply

Nacre = Any
_FORM = Form(whiteouts="delete", owners=os.geteuid() == 0, devices=False)


def names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getnames()


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        (folder / "same" / "deep").mkdir(parents=True)
        (folder / "same" / "deep" / "file").write_text("same")
        (folder / "mixed").mkdir()
        (folder / "mixed" / "kept").write_text("kept")
        (folder / "mixed" / "linked").write_text("linked")
        os.link(folder / "mixed" / "linked", folder / "mixed" / "other")
    (old / "mixed" / "gone").write_text("gone")
    (old / "folder").mkdir()
    (old / "folder" / "inner").write_text("inner")
    (new / "folder").write_text("now a file")
    (old / "removed" / "below").mkdir(parents=True)
    (new / "mixed" / "new").symlink_to("kept")
    (new / "mixed" / "kept").write_text("kepT")
    os.chmod(new / "mixed" / "linked", 0o600)
    for folder in (old, new):
        for top, below, files in os.walk(folder):
            for name in (*below, *files):
                os.utime(os.path.join(top, name), (1e9, 1e9), follow_symlinks=False)
        os.utime(folder, (1e9, 1e9))
    return old, new


def test_diff_names_what_changed(nacre: Nacre, folders: tuple[Path, Path]) -> None:
    data = nacre("layer", "diff", "old", "new").raw
    assert names(data) == [
        ".wh.removed", "folder", "mixed", "mixed/.wh.gone", "mixed/kept", "mixed/linked", "mixed/new",
        "mixed/other",
    ]  # fmt: skip
    assert nacre("layer", "diff", "old", "new").raw == data
    nacre("layer", "diff", "-o", "out.tar", "old", "new")
    assert (nacre.folder / "out.tar").read_bytes() == data
    assert names(nacre("layer", "diff", "new", "new").raw) == []
    assert not nacre.root.exists()


@pytest.mark.parametrize("program", ["cat", "gzip", "zstd", "xz"])
def test_apply_makes_the_one_of_the_other(
    nacre: Nacre, folders: tuple[Path, Path], program: str, peer: Any
) -> None:
    peer(program)
    layer = nacre("layer", "diff", "old", "new").raw
    packed = subprocess.run([program], input=layer, capture_output=True, check=True).stdout
    nacre("layer", "apply", "old", input=packed)
    assert names(nacre("layer", "diff", "old", "new").raw) == []
    assert (folders[0] / "mixed/linked").stat().st_ino == (folders[0] / "mixed/other").stat().st_ino
    assert not nacre.root.exists()


def test_ls(nacre: Nacre, folders: tuple[Path, Path]) -> None:
    layer = nacre("layer", "diff", "old", "new").raw
    lines = nacre("layer", "ls", input=layer).lines
    (nacre.folder / "layer.tar").write_bytes(layer)
    assert nacre("layer", "ls", "layer.tar").lines == lines
    assert lines[4].startswith("-rw-r--r--")
    assert lines[4].endswith("4 2001-09-09 01:46:40 mixed/kept")
    assert lines[6].endswith("mixed/new -> kept")
    assert lines[7].endswith("mixed/other link to mixed/linked")
    rows = [json.loads(text) for text in nacre("layer", "ls", "--format", "json", "layer.tar").lines]
    assert [row["Kind"] for row in rows] == [
        "whiteout", "file", "dir", "whiteout", "file", "file", "symlink", "hardlink",
    ]  # fmt: skip
    assert nacre("layer", "ls", "--format", "{{.Path}}", "layer.tar").lines == names(layer)


def test_names_cannot_move_the_cursor(nacre: Nacre) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a\x1b[2Jb\nc"))
    assert nacre("layer", "ls", input=out.getvalue()).lines[0].endswith("a\\x1b[2Jb\\x0ac")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("apply", "ghost"), "cannot open ghost: no such file or directory"),
        (("diff", "ghost", "old"), "cannot open ghost: no such file or directory"),
        (("ls", "ghost"), "cannot open ghost: no such file or directory"),
        (("ls",), "archive is truncated"),
    ],
)
def test_refusals(nacre: Nacre, folders: tuple[Path, Path], words: tuple[str, ...], said: str) -> None:
    done = nacre("layer", *words, check=False, input=b"x" * 100)
    assert done.code
    assert done.err.startswith("nacre: ")
    if "ghost" in words:
        assert done.err == f"nacre: {said}\n"


def test_apply_stays_in_its_folder(nacre: Nacre, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").write_text("mine")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, link in (("up", ".."), ("abs", str(tmp_path))):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, link
            tar.addfile(info)
        for name in ("up/outside", "up/.wh.outside", "abs/.wh.outside"):
            tar.addfile(tarfile.TarInfo(name))
    nacre("layer", "apply", "root", input=out.getvalue(), check=False)
    assert (tmp_path / "outside").read_text() == "mine"


_NAMES = st.sampled_from(["a", "a.b", "b", "a-b", "ab"])
_TREES = st.recursive(
    st.one_of(st.binary(max_size=3), st.just("link")),
    lambda inner: st.dictionaries(_NAMES, inner, max_size=4),
)


def make(tree: Any, folder: Path) -> None:
    folder.mkdir()
    for name, inside in tree.items():
        if isinstance(inside, dict):
            make(inside, folder / name)
        elif inside == "link":
            (folder / name).symlink_to("nowhere")
        else:
            (folder / name).write_bytes(inside)


@given(old=st.dictionaries(_NAMES, _TREES, max_size=4), new=st.dictionaries(_NAMES, _TREES, max_size=4))
@settings(max_examples=40)
def test_the_layer_between_any_two_folders(
    tmp_path_factory: pytest.TempPathFactory, old: Any, new: Any
) -> None:
    base = tmp_path_factory.mktemp("any")
    make(old, base / "old")
    make(new, base / "new")
    one, other = open_folder(str(base / "old")), open_folder(str(base / "new"))
    try:
        out = io.BytesIO()
        writer = TarWriter(out.write)
        for entry, payload in compare(one, other, _FORM):
            writer.add(entry, payload() if payload else None)
        writer.close()
        out.seek(0)
        apply(out, one, _FORM)
        assert list(compare(one, other, _FORM)) == []
    finally:
        os.close(one)
        os.close(other)
