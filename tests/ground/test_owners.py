"""Owners and labels of whole trees."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nacre.ground import owners, selinux
from nacre.ground.files import remove_tree
from nacre.ground.idmap import user_namespace
from nacre.words.errors import SandboxError

is_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with links that lead out of it, and something outside."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").touch()
    folder = tmp_path / "tree" / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "file").touch()
    (folder / "file\udcff").touch()
    (folder / "out").symlink_to(tmp_path / "outside")
    (folder / "none").symlink_to("/no/such")
    return tmp_path / "tree"


def test_each_is_called_once_and_nothing_outside(tree: Path) -> None:
    found: list[bytes] = []
    owners.each(str(tree), lambda _, name: found.append(name))
    assert sorted(found) == [b"a", b"b", b"file", b"file\xff", b"none", b"out", b"tree"]
    found.clear()
    owners.each(str(tree / "a" / "b" / "file"), lambda _, name: found.append(name))
    assert found == [b"file"]
    with pytest.raises(FileNotFoundError):
        owners.each(str(tree / "none"), lambda _, name: found.append(name))


@is_root
def test_give(tree: Path) -> None:
    owners.give(str(tree), 1000, 2000)
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in [tree, *tree.rglob("*")]} == {(1000, 2000)}
    assert (tree.parent / "outside" / "file").stat().st_uid == 0


@is_root
def test_a_tree_deeper_than_the_stack(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=here)
        here, above = os.open("d", os.O_RDONLY, dir_fd=here), here
        os.close(above)
    owners.give(str(tmp_path), 5, 5)
    assert os.fstat(here).st_uid == 5
    os.close(here)
    remove_tree(str(tmp_path / "d"))  # pytest could not


@is_root
def test_label(tree: Path) -> None:
    try:
        selinux.label(str(tree), selinux.CONTAINER_FILE)
    except OSError as error:
        pytest.skip(f"no such attributes here: {error}")
    for path in (tree, tree / "a" / "b" / "file"):
        value = os.getxattr(path, "security.selinux", follow_symlinks=False)
        assert value.rstrip(b"\0").decode() == selinux.CONTAINER_FILE
    with pytest.raises(OSError, match="No data"):
        os.getxattr(tree.parent / "outside" / "file", "security.selinux")


@is_root
def test_a_table_of_ids() -> None:
    fd = user_namespace([(0, 1000, 1), (5, 6, 7)], [(0, 2000, 1)])
    assert os.readlink(f"/proc/self/fd/{fd}").startswith("user:[")
    os.close(fd)
    with pytest.raises(SandboxError, match="cannot make a map of ids"):
        user_namespace([(0, 1000, 1), (0, 2000, 1)], [(0, 2000, 1)])
