"""Writes docs/commands.md: the help of every command. Run `python tests/docs/commands.py` to renew it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "commands.md"
HEAD = """# Commands

The help of every command, as `nacre COMMAND --help` prints it. Written by
`python tests/docs/commands.py`; a test keeps it in step.
"""


def every_command() -> Iterator[tuple[str, object]]:
    """Full names and entries, top-level commands first, each entry under its shortest name only."""
    from nacre.cli.commands import COMMANDS, COMMON
    from nacre.cli.groups import GROUPS

    seen = set()
    for name, entry in sorted({**COMMON, **COMMANDS}.items()):
        seen.add((entry.module, entry.attribute))
        yield name, entry
    for title, group in sorted(GROUPS.items()):
        for name, entry in sorted(group.commands.items()):
            if (entry.module, entry.attribute) not in seen:
                seen.add((entry.module, entry.attribute))
                yield f"{title} {name}", entry


def page() -> str:
    """The whole page."""
    os.environ["COLUMNS"] = "110"
    from nacre.cli import help as pages
    from nacre.cli.main import GLOBAL

    parts = [HEAD, f"```text\n{pages.overview(GLOBAL)}\n```\n"]
    for name, entry in every_command():
        parts.append(f"## nacre {name}\n\n```text\n{pages.of_command(name, entry)}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
