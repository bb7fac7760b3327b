"""scan is the inverse of extract, and leaves out what is not of the image."""

from __future__ import annotations

import io
import os
import random
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from treemaker import (
    DELETE,
    MIB,
    OPAQUE,
    OVERLAY,
    ROOT,
    Item,
    content,
    directory,
    file,
    folder,
    hardlink,
    pack,
    paths,
    seen,
    trees,
    unpack,
)

from nacre.grammars.tar.entry import Entry
from nacre.ground.extract import apply
from nacre.ground.files import remove_tree
from nacre.ground.scan import scan
from nacre.words.errors import StoreError, Unsupported

relaxed = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def plain(items: list[Item]) -> list[Item]:
    return [(entry._replace(offset=-1), data) for entry, data in items]


@relaxed
@given(tree=trees())
def test_a_layer_survives_the_disk(tree: list[Item], tmp_path: Path) -> None:
    with folder(tmp_path) as (_path, fd):
        unpack(tree, fd)
        found = seen(fd)
        assert found == tree
        assert pack(found) == pack(tree)


@relaxed
@given(tree=trees(whiteouts=False))
def test_a_root_survives_the_disk(tree: list[Item], tmp_path: Path) -> None:
    with folder(tmp_path) as (_path, fd):
        unpack(tree, fd, DELETE)
        assert seen(fd, DELETE) == tree
        unpack(tree, fd, DELETE)  # the same layer again changes nothing
        assert seen(fd, DELETE) == tree


@relaxed
@given(tree=trees(), chance=st.randoms(use_true_random=False))
def test_the_order_in_the_archive_does_not_matter(
    tree: list[Item], chance: random.Random, tmp_path: Path
) -> None:
    links = [item for item in tree if item[0].kind == "hardlink"]
    others = [item for item in tree if item[0].kind != "hardlink"]
    chance.shuffle(others)
    with folder(tmp_path) as (_path, fd):
        unpack(others + links, fd)
        assert seen(fd) == tree


def test_names_come_sorted_by_bytes_and_folders_before_their_content(tmp_path: Path) -> None:
    with folder(tmp_path) as (_path, fd):
        unpack(
            [directory(b"a"), file(b"a-b"), file(b"a/z"), file(b"B"), file(b"\xff"), directory(b"a/b")], fd
        )
        assert paths(fd) == [b"B", b"a", b"a/b", b"a/z", b"a-b", b"\xff"]


def test_the_first_name_is_the_file(tmp_path: Path) -> None:
    with folder(tmp_path) as (_path, fd):
        unpack([file(b"z"), hardlink(b"b", b"z"), hardlink(b"a", b"b")], fd)
        found = {entry.path: (entry.kind, entry.link) for entry, _data in seen(fd) if entry.path}
        assert found == {b"a": ("file", b""), b"b": ("hardlink", b"a"), b"z": ("hardlink", b"a")}


def test_sockets_are_left_out(tmp_path: Path) -> None:
    with folder(tmp_path) as (path, fd):
        before = os.getcwd()
        os.chdir(path)  # socket names are short
        try:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind("socket")
        finally:
            os.chdir(before)
        assert paths(fd) == []


def test_small_holes_are_data_and_large_ones_are_kept(tmp_path: Path) -> None:
    with folder(tmp_path) as (path, fd):
        with (path / "small").open("wb") as out:
            out.seek(65536)
            out.write(b"end")
        with (path / "large").open("wb") as out:
            out.write(b"start")
            out.seek(4 * MIB)
            out.write(b"end")
        found = {entry.path: (entry.size, entry.sparse, data) for entry, data in seen(fd)}
        assert found[b"small"] == (65539, None, bytes(65536) + b"end")
        size, sparse, data = found[b"large"]
        assert size == 4 * MIB + 3
        assert sparse is not None
        assert sparse[0][0] == 0
        assert sparse[-1] == (4 * MIB, 3)
        assert data.startswith(b"start")
        assert data.endswith(b"end")


def test_contents_may_be_read_later(tmp_path: Path) -> None:
    with folder(tmp_path) as (_path, fd):
        unpack([file(b"d%d/f" % n, b"%d" % n) for n in range(150)], fd)
        openers = [(entry.path, opener) for entry, opener in scan(fd) if opener]
        assert {path: content(opener()) for path, opener in openers} == {
            b"d%d/f" % n: b"%d" % n for n in range(150)
        }


def test_a_file_that_shrinks_is_noticed(tmp_path: Path) -> None:
    with folder(tmp_path) as (path, fd):
        (path / "log").write_bytes(b"x" * 100)
        opener = next(opener for _entry, opener in scan(fd) if opener)
        (path / "log").write_bytes(b"x" * 50)
        with pytest.raises(StoreError, match="'log' was truncated"):
            content(opener())


def test_names_that_would_delete_are_refused(tmp_path: Path) -> None:
    with folder(tmp_path) as (path, fd):
        (path / ".wh.file").touch()
        with pytest.raises(Unsupported, match=r"\.wh\.file"):
            list(scan(fd))


def test_overlays_own_marks_are_left_out(tmp_path: Path) -> None:
    with folder(tmp_path) as (path, fd):
        (path / "d").mkdir()
        os.setxattr(path / "d", OPAQUE.removesuffix(b"opaque") + b"origin", b"x")
        os.setxattr(path / "d", "user.kept", b"x")
        assert [entry.xattrs for entry, _data in seen(fd)] == [(), ((b"user.kept", b"x"),)]
        os.setxattr(path / "d", OPAQUE.removesuffix(b"opaque") + b"redirect", b"/elsewhere")
        with pytest.raises(Unsupported, match="redirect_dir"):
            list(scan(fd))


def test_deep_trees_take_few_descriptors(tmp_path: Path) -> None:
    deep = b"/".join([b"d"] * 1500)
    with folder(tmp_path) as (path, fd):
        unpack([file(deep)], fd)
        assert len(paths(fd)) == 1500
        remove_tree(str(path / "d"))  # pytest could not


def test_unreadable_folders_are_named(tmp_path: Path) -> None:
    if ROOT:
        pytest.skip("root may read everything")
    with folder(tmp_path) as (path, fd):
        (path / "locked").mkdir(mode=0)
        with pytest.raises(StoreError, match="locked"):
            list(scan(fd))


def test_agrees_with_gnu_tar(tmp_path: Path) -> None:
    """What tar packs from a folder and what tar unpacks from ours are one and the same tree."""
    if shutil.which("tar") is None:
        pytest.skip("tar is not installed")
    tree: list[Item] = [
        (Entry(b"", "dir", 0o755, mtime_ns=10**18), b""),
        (Entry(b"bin", "dir", 0o2755, mtime_ns=10**18 + 1), b""),
        (Entry(b"bin/su", "file", 0o4755, mtime_ns=5, size=3, xattrs=((b"user.x", b"y"),)), b"abc"),
        (Entry(b"holes", "file", 0o644, mtime_ns=6, size=3 * MIB, sparse=((MIB, 4096),)), b"x" * 4096),
        (Entry(b"link", "symlink", 0o777, mtime_ns=7, link=b"bin/su"), b""),
        (Entry(b"n" * 200, "file", 0o600, mtime_ns=10**18), b""),
    ]
    words = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "--sparse", "--format=pax"]
    with (
        folder(tmp_path) as (path, fd),
        folder(tmp_path) as (other, other_fd),
        folder(tmp_path) as (_third, third_fd),
    ):
        unpack(tree, fd, DELETE)
        packed = subprocess.run(
            ["tar", *words, "-C", path, "-cf", "-", "."], check=True, capture_output=True
        ).stdout
        apply(io.BytesIO(packed), third_fd, DELETE)
        assert seen(third_fd, DELETE) == tree
        subprocess.run(["tar", *words, "-p", "-C", other, "-xf", "-"], check=True, input=pack(tree))
        assert seen(other_fd, OVERLAY) == tree
