"""The design page names every room, and nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import nacre

PACKAGE = Path(nacre.__file__).parent
ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
FLOORS = ("words", "grammars", "ground", "stores", "images", "services")
ROOMS = sorted(
    f"{floor}/{path.stem}"
    for floor in FLOORS
    for path in (PACKAGE / floor).iterdir()
    if path.suffix == ".py" or (path / "__init__.py").exists()
    if not path.stem.startswith("__")
)


def row(floor: str) -> str:
    """The line of the table of floors."""
    (line,) = [line for line in PAGE.splitlines() if line.startswith("|") and f"| `nacre.{floor}` |" in line]
    return line


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_stands_on_its_floor(room: str) -> None:
    floor, _, name = room.partition("/")
    assert f"`{name}`" in row(floor)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*\.py)`", PAGE))))
def test_every_file_is_there(path: str) -> None:
    assert (PACKAGE / path).is_file() or (ROOT / path).is_file()


@pytest.mark.parametrize("floor", FLOORS)
def test_no_room_is_named_that_is_gone(floor: str) -> None:
    named = set(re.findall(r"`([a-z]+)`", row(floor)))
    assert named <= {room.partition("/")[2] for room in ROOMS if room.startswith(f"{floor}/")}
