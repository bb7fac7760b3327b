"""Docs that cannot drift: links resolve, help texts match, every command shown is one that parses."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *ROOT.glob("C*.md"),
    *ROOT.glob("benchmarks/*.md"),
]
_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in _BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def shown_commands() -> list[tuple[str, str]]:
    """Every line of a shell block that runs nacre, with its page."""
    found = []
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                found += [(page.name, part) for part in _commands(line)]
    return found


def _commands(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    parts, current = [], []
    for word in [*words, ";"]:
        if word in (";", "&&", "|", "&", ">") or word.startswith(">"):
            if current and current[0] in ("nacre", ".venv/bin/nacre"):
                parts.append(shlex.join(current[1:]))
            current = []
        else:
            current.append(word)
    return parts


def test_readme_is_short_and_starts_with_a_command() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    assert any("nacre demo" in line for line in lines[:20])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize(("page", "command"), shown_commands())
def test_shown_commands_parse(page: str, command: str) -> None:
    from nacre.cli.commands import Group, load
    from nacre.cli.main import GLOBAL, lookup
    from nacre.cli.options import Command, parse

    line = parse(
        Command("[COMMAND] [ARG...]", lambda _c, _a: 0, GLOBAL, interspersed=False), shlex.split(command)
    )
    if not line.positionals:
        return
    name, entry, rest = lookup(line.positionals)
    assert not isinstance(entry, Group) or not rest
    if not isinstance(entry, Group):
        parse(load(name, entry), rest, name)


def test_help_page_is_in_step() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import commands; print(commands.page(), end='')"],
        cwd=Path(__file__).parent, env={**os.environ, "PYTHONPATH": "."},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert done.stdout == page, "renew it with: python tests/docs/commands.py"


def test_every_command_has_a_page() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES if page.name != "commands.md")
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        import commands
    finally:
        sys.path.pop(0)
    missing = [name for name, _ in commands.every_command() if f"nacre {name}" not in text]
    assert not missing, f"no page shows: {', '.join(missing)}"
