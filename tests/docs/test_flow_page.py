"""Every `nacre.x.y` that a page names is there: a module, or something in one."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
_NAME = re.compile(r"`(nacre(?!\.db`|\.repository`|\.request\.id`)(?:\.\w+)+)`")
_NAMES = sorted(
    {(page.name, name) for page in DOCS.glob("*.md") for name in _NAME.findall(page.read_text("utf-8"))}
)


def found(name: str) -> object:
    """What a dotted name means. Raises LookupError."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            value: object = import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            value = getattr(value, part)
        return value
    raise LookupError(name)


@pytest.mark.parametrize(("page", "name"), _NAMES)
def test_name_exists(page: str, name: str) -> None:
    assert found(name) is not None


def test_flow_names_every_floor() -> None:
    text = (DOCS / "flow.md").read_text(encoding="utf-8")
    for floor in ("words", "grammars", "ground", "stores", "images", "services", "cli"):
        assert f"`nacre.{floor}." in text, floor
