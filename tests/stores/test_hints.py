"""The table of hints: found again mostly, wrong never harmful, gone never missed."""

from __future__ import annotations

import os
from pathlib import Path
from zlib import crc32

import pytest

from nacre.stores.trees.dedup.hints import KEY, Hints


def keys(count: int) -> dict[bytes, int]:
    return {KEY.pack(crc32(b"%d" % n), 1000 + n % 999): n for n in range(count)}


def test_what_is_told_is_found(tmp_path: Path) -> None:
    hints = Hints(str(tmp_path / "hints"))
    hints.tell(7, keys(5000))
    again = Hints(str(tmp_path / "hints"))
    assert sum(1 for key, block in keys(5000).items() if again.find(key) == (7, block)) > 4950
    assert again.find(KEY.pack(1, 1)) is None
    again.tell(8, dict(list(keys(5000).items())[:1]))
    assert hints.find(next(iter(keys(1)))) == (8, 0)
    hints.close()
    again.close()
    again.close()


def test_it_grows_when_it_is_crowded(tmp_path: Path) -> None:
    path = str(tmp_path / "hints")
    hints = Hints(path)
    size, made = os.stat(path).st_size, keys(45_000)
    hints.tell(9, made)
    before = sum(1 for key in made if hints.find(key))
    assert not hints.current()
    hints.grow()
    grown = Hints(path)
    assert grown.current()
    assert os.stat(path).st_size > 3 * size
    assert sum(1 for key, block in made.items() if grown.find(key) == (9, block)) == before > 40_000


@pytest.mark.parametrize("data", [b"", b"NHNT", b"x" * 5000, b"NHNT\1\0\0\0\x0e\0\0\0" + bytes(68)])
def test_what_is_no_table_is_replaced(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "hints"
    path.write_bytes(data)
    hints = Hints(str(path))
    hints.tell(1, keys(1))
    assert hints.find(next(iter(keys(1)))) == (1, 0)


def test_it_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "hints"
    hints = Hints(str(path))
    path.unlink()
    assert not hints.current()
    hints.tell(1, keys(1))
