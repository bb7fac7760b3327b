"""Wheels in folders: listed by package, hashed once, refused when they are not what was asked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from wheelmaker import wheel

from nacre.services.build import PackageIndexes
from nacre.services.build.python.index import PackageIndex
from nacre.services.build.python.localfiles import LocalFiles
from nacre.services.build.python.logins import IndexLogins
from nacre.words.errors import DigestMismatch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "wheels"
    found.mkdir()
    for name, data in (wheel("Demo_One", "1.0"), wheel("demo_one", "2.0"), wheel("other")):
        (found / name).write_bytes(data)
        os.utime(found / name, (1_000_000_000, 1_000_000_000))
    (found / "demo-one.txt").write_text("no wheel")
    return found


def test_files_are_found_by_the_name_of_their_package(folder: Path, tmp_path: Path) -> None:
    local = LocalFiles(str(tmp_path / "tables"))
    names = [file.name for file in local.files(f"file://{folder}", "demo-one")]
    assert names == ["Demo_One-1.0-py3-none-any.whl", "demo_one-2.0-py3-none-any.whl"]
    assert local.files(str(folder), "none") == local.files(str(tmp_path / "nowhere"), "demo-one") == []


def test_a_file_is_known_by_its_hash_also_after_it_was_replaced(folder: Path, tmp_path: Path) -> None:
    local = LocalFiles(str(tmp_path / "tables"))
    (file,) = local.files(str(folder), "other")
    first = local.identified(file)
    assert first.size == (folder / file.name).stat().st_size
    local.save()
    (folder / file.name).write_bytes(wheel("other", files={"other.py": "x = 2"})[1])
    second = LocalFiles(str(tmp_path / "tables")).identified(file)
    assert second.strong != first.strong
    with pytest.raises(DigestMismatch):
        local.identified(first)


@pytest.mark.parametrize("left", [0, 10, 80, -1])
def test_metadata_that_a_power_cut_has_damaged_is_not_there(tmp_path: Path, left: int) -> None:
    """An empty or a cut file would be a package that needs nothing."""

    def fetch(*_words: object) -> None:
        raise AssertionError("nothing is fetched")

    local = LocalFiles(str(tmp_path))
    index = PackageIndex((), IndexLogins((), PackageIndexes()), fetch, str(tmp_path / "kept"), local)  # type: ignore[arg-type]
    fields = b"Name: demo\nRequires-Dist: one\n"
    assert index.kept_metadata("ab") is None
    assert index.keep_metadata("ab", fields + b"\nA description\n") == fields
    assert index.kept_metadata("ab") == fields
    (path,) = (tmp_path / "kept").glob("*.metadata")
    path.write_bytes(path.read_bytes()[:left])
    assert index.kept_metadata("ab") is None
