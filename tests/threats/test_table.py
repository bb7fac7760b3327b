"""Every test that the table of threats names exists, and every test of a CVE is in the table."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
NAMED = set(re.findall(r"`(test_\w+)`", (HERE / "README.md").read_text())) - {"test_table"}


def _defined(folder: Path) -> set[str]:
    sources = [path.read_text(encoding="utf-8") for path in folder.rglob("test_*.py")]
    return {name for text in sources for name in re.findall(r"^def (test_\w+)", text, re.M)}


def test_what_the_table_names_exists() -> None:
    assert not NAMED - _defined(HERE.parent)


def test_the_table_is_complete() -> None:
    assert not {name for name in _defined(HERE) if name.startswith("test_cve_")} - NAMED
