"""Files shared with other trees: when they are, and above all when they are not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from treemaker import OVERLAY, Item, directory, file, folder, hardlink, symlink, unpack

from nacre.ground.extract import Form, extraction
from nacre.ground.twins import Twins, relink
from nacre.ground.work import file_worker, files
from nacre.ground.work.budget import Budget

ME = os.geteuid(), os.getegid()
LOOKS = {"mtime_ns": 5_000_000_000, "uid": ME[0], "gid": ME[1]}


@pytest.fixture(params=["alone", "helped"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Form:
    """Made here, or by helpers."""
    if request.param == "alone":
        return OVERLAY
    monkeypatch.setattr(extraction, "MANY_FILES", 1)
    monkeypatch.setattr(extraction, "start_workers", _started)
    return OVERLAY.replace(budget=Budget(1))


def _started(budget: Budget, redo: files.Redo, fail: files.Fail) -> files.FileWorkers:
    """One helper, waited for."""
    started = files.FileWorkers(budget.take_file_workers(1), budget, redo, fail)
    started.wait()
    return started


class Made:
    """One tree, made while those before it are there."""

    def __init__(self, where: Path, items: list[Item], form: Form, *before: Made) -> None:
        where.mkdir()
        self.path = where
        twins = Twins(lambda: [str(one.path) for one in before], owners=OVERLAY.owners)
        fd = os.open(where, os.O_RDONLY)
        try:
            self.stats = unpack(items, fd, form.replace(twins=twins))
        finally:
            os.close(fd)
            twins.close()

    def inode(self, name: str) -> int:
        return Path(self.path, name).stat().st_ino


@pytest.fixture
def base(tmp_path: Path, form: Form) -> Made:
    return Made(tmp_path / "base", [directory(b"d"), *_several()], form)


def _several() -> Iterator[Item]:
    for name in (b"a", b"b", b"c"):
        yield file(b"d/" + name, name * 3000, **LOOKS)
    yield file(b"d/large", b"x" * (3 * files.MAX_FILE), **LOOKS)


def test_equal_files_are_one(tmp_path: Path, form: Form, base: Made) -> None:
    new = Made(tmp_path / "new", [directory(b"d"), *_several()], form, base)
    for name in ("d/a", "d/b", "d/c", "d/large"):
        assert new.inode(name) == base.inode(name)
    assert new.stats.shared == new.stats.size == 9000 + 3 * files.MAX_FILE


@pytest.mark.parametrize("at", [0, 2999, -1])
def test_other_bytes(tmp_path: Path, form: Form, base: Made, at: int) -> None:
    """Also when only the last of many pieces differs: what was read until then is not lost."""
    size = 3 * files.MAX_FILE if at < 0 else 3000
    data = bytearray(b"x" * size if at < 0 else b"a" * size)
    data[at] = 0
    name = "d/large" if at < 0 else "d/a"
    new = Made(tmp_path / "new", [file(name.encode(), bytes(data), **LOOKS)], form, base)
    assert new.inode(name) != base.inode(name)
    assert Path(new.path, name).read_bytes() == data
    assert not new.stats.shared


@pytest.mark.parametrize("looks", [{"mode": 0o600}, {"mtime_ns": 6_000_000_000}, {"mode": 0o4644}])
def test_other_looks(tmp_path: Path, form: Form, base: Made, looks: dict[str, int]) -> None:
    new = Made(tmp_path / "new", [file(b"d/a", b"a" * 3000, **LOOKS | looks)], form, base)
    assert new.inode("d/a") != base.inode("d/a")


def test_other_owner_or_attributes(tmp_path: Path, form: Form, base: Made) -> None:
    if os.geteuid() == 0:
        new = Made(tmp_path / "new", [file(b"d/a", b"a" * 3000, **LOOKS | {"uid": 7})], form, base)
        assert new.inode("d/a") != base.inode("d/a")
    os.setxattr(base.path / "d/b", "user.x", b"1")
    more = Made(tmp_path / "more", [file(b"d/b", b"b" * 3000, **LOOKS)], form, base)
    assert more.inode("d/b") != base.inode("d/b")
    entry, data = file(b"d/c", b"c" * 3000, **LOOKS)
    last = Made(tmp_path / "last", [(entry._replace(xattrs=((b"user.x", b"1"),)), data)], form, base)
    assert last.inode("d/c") != base.inode("d/c")
    assert os.listxattr(base.path / "d/c") == []


def test_another_path_is_no_twin(tmp_path: Path, form: Form, base: Made) -> None:
    new = Made(
        tmp_path / "new", [file(b"d/z", b"a" * 3000, **LOOKS), file(b"a", b"a" * 3000, **LOOKS)], form, base
    )
    assert not new.stats.shared


@pytest.mark.parametrize("above", ["etc", "var/spool"])
def test_what_programs_count_the_links_of_stays_apart(tmp_path: Path, form: Form, above: str) -> None:
    items = [file(f"{above}/crontab".encode(), b"1" * 99, **LOOKS)]
    first = Made(tmp_path / "first", items, form)
    assert not Made(tmp_path / "second", items, form, first).stats.shared


def test_links_inside_a_layer_stay_what_they_are(tmp_path: Path, form: Form) -> None:
    """Two names of one file elsewhere are two files here, and the reverse."""
    one = [file(b"a", b"1" * 9, **LOOKS), hardlink(b"b", b"a")]
    two = [file(b"a", b"1" * 9, **LOOKS), file(b"b", b"1" * 9, **LOOKS)]
    linked = Made(tmp_path / "linked", one, form)
    apart = Made(tmp_path / "apart", two, form, linked)
    assert apart.inode("a") != apart.inode("b")
    again = Made(tmp_path / "again", one, form, apart, linked)
    assert again.inode("a") == again.inode("b")
    third = Made(tmp_path / "third", two, form, again, apart, linked)
    assert third.inode("a") != third.inode("b")


def test_a_link_on_the_way_is_not_followed(tmp_path: Path, form: Form) -> None:
    """The other tree's `d` leads to a folder of the machine with an equal file."""
    Path(tmp_path, "host").mkdir()
    there = Path(tmp_path, "host", "a")
    there.write_bytes(b"a" * 3000)
    there.chmod(0o644)
    os.utime(there, ns=(LOOKS["mtime_ns"], LOOKS["mtime_ns"]))
    lying = Made(tmp_path / "lying", [symlink(b"d", os.fsencode(there.parent))], form)
    new = Made(tmp_path / "new", [file(b"d/a", b"a" * 3000, **LOOKS)], form, lying)
    assert new.inode("d/a") != there.stat().st_ino


def test_a_later_entry_replaces_the_link_only(tmp_path: Path, form: Form, base: Made) -> None:
    items = [file(b"d/a", b"a" * 3000, **LOOKS), file(b"d/a", b"other", **LOOKS)]
    new = Made(tmp_path / "new", items, form, base)
    assert Path(new.path, "d/a").read_bytes() == b"other"
    assert Path(base.path, "d/a").read_bytes() == b"a" * 3000
    assert new.stats.replaced == 1


@pytest.mark.parametrize("code", [31, 18, 1])
def test_where_no_link_can_be_made_a_copy_is(
    tmp_path: Path, base: Made, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """EMLINK, EXDEV, EPERM."""

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    with folder(tmp_path) as (path, fd):
        view, above = memoryview(b"a" * 3000), os.open(base.path / "d", os.O_RDONLY)
        file_worker._one((0, b"a", 3000, -1, -1, 0o644, 5_000_000_000, 0, 1), [fd, above], view)  # type: ignore[arg-type]
        os.close(above)
        assert Path(path, "a").read_bytes() == b"a" * 3000
        assert Path(path, "a").stat().st_nlink == 1


def test_only_trees_that_share_are_asked(tmp_path: Path) -> None:
    items = [file(b"d/%d" % number, b"%d" % number, **LOOKS) for number in range(100)]
    likely = Made(tmp_path / "likely", items, OVERLAY)
    others = [Made(tmp_path / f"other{n}", [file(b"d/x", b"1")], OVERLAY) for n in range(4)]
    twins = Twins(lambda: [str(one.path) for one in (*others, likely)], owners=OVERLAY.owners)
    found = [twins.find(b"d", entry.path[2:], entry) for entry, _data in items]
    assert all(found)
    assert len(twins._asked) == 1
    twins.close()


def test_a_finished_tree(tmp_path: Path, base: Made) -> None:
    """As a commit has it: equal files are replaced, and nothing else about the tree changes."""
    new = Made(tmp_path / "new", [directory(b"d", mtime_ns=7 * 10**9), *_several()], OVERLAY)
    Path(new.path, "d/b").write_bytes(b"other")
    before = Path(new.path, "d").stat()
    twins = Twins(lambda: [str(base.path)], owners=OVERLAY.owners)
    fd = os.open(new.path, os.O_RDONLY)
    assert relink(fd, twins) == 6000 + 3 * files.MAX_FILE
    os.close(fd)
    twins.close()
    assert new.inode("d/a") == base.inode("d/a")
    assert new.inode("d/b") != base.inode("d/b")
    assert Path(new.path, "d").stat().st_mtime_ns == before.st_mtime_ns
    assert sorted(os.listdir(new.path / "d")) == ["a", "b", "c", "large"]
