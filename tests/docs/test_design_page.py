"""The pages of the design name every room, and nothing that is not there."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

import nacre

PACKAGE = Path(nacre.__file__).parent
ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")


def test_the_page_of_rooms_is_made_of_their_docstrings() -> None:
    """`python tools/rooms.py` makes it."""
    tool = runpy.run_path(str(ROOT / "tools" / "rooms.py"))
    assert tool["PAGE"].read_text(encoding="utf-8") == tool["page"]()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*\.py)`", PAGE))))
def test_every_file_is_there(path: str) -> None:
    assert (PACKAGE / path).is_file() or (ROOT / path).is_file()
