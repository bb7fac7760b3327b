"""Make docs/rooms.md: every room of every floor, with the first line of its docstring.

python tools/rooms.py
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "nacre"
PAGE = ROOT / "docs" / "rooms.md"
FLOORS = ("words", "grammars", "ground", "stores", "images", "services", "engine")
HEAD = """\
# Rooms

What each module and package of a floor is for; [design.md](design.md#floors) says what the floors are. Faces
are one file per command. `python tools/rooms.py` makes this page from the docstrings, and a test compares.
"""


def rooms(floor: str) -> Iterator[tuple[str, str]]:
    """Name and purpose of each module and package directly in a floor, by name."""
    for path in sorted((PACKAGE / floor).iterdir()):
        module = path / "__init__.py" if path.is_dir() else path
        if path.suffix in ("", ".py") and module.is_file() and not path.stem.startswith("__"):
            yield path.stem, _purpose(module)


def _purpose(module: Path) -> str:
    text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
    if not text:
        raise SystemExit(f"{module}: no docstring")
    return text.splitlines()[0]


def page() -> str:
    """The whole page, as it should be."""
    parts = [HEAD]
    for floor in FLOORS:
        parts.append(f"\n## {floor}\n\n")
        parts.extend(f"- `{name}`: {purpose}\n" for name, purpose in rooms(floor))
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
