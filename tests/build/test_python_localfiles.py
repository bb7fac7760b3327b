"""Wheels in folders: listed by package, hashed once, refused when they are not what was asked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from wheelmaker import wheel

from nacre.services.build.python.localfiles import LocalFiles
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
