"""Commands and options that messages name exist."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache

import pytest
from sourcekit import MODULES, PACKAGE, parsed

from nacre.cli.commands import COMMANDS, COMMON, Group, load
from nacre.cli.groups import GROUPS
from nacre.cli.main import GLOBAL, lookup
from nacre.cli.options import Command, HelpWanted, Option, parse
from nacre.words.errors import NacreError

QUOTED = re.compile(r"([`'])nacre ([^`'\n]+)\1")
BARE = re.compile(r"(?<![`'\w./-])nacre ([a-z][\w-]*(?: [a-z][\w-]*)?)")
OPTION = re.compile(r"(?<![\w/=`'\"-])--[a-z][a-z-]+[a-z\d]|(?<=[`'(])--[a-z][a-z-]+[a-z]")
OTHERS = (
    "grammars/dockerfile/", "services/build/", "images/dockerfile/", "ground/", "demo.py",
    "images/model/edit.py", "runtime/", "grammars/python/", "/networkprogram.py",
)  # fmt: skip
"""Modules that also name options of Dockerfile instructions and of other programs."""
VALUE = "x"


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every text of a module but the docstrings, which no user sees; values in it are VALUE."""
    nodes = list(ast.walk(tree))
    inner = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    inner |= {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            yield (
                node.lineno,
                "".join(str(part.value) if isinstance(part, ast.Constant) else VALUE for part in node.values),
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.lineno, node.value


@cache
def every_text() -> list[tuple[str, str]]:
    return [
        (f"{path.relative_to(PACKAGE)}:{line}", text)
        for path in MODULES.values()
        for line, text in texts(parsed(path))
    ]


def check(line: str) -> None:
    """Raises NacreError when a command line means nothing; how many arguments it has does not matter."""
    words = [word for word in shlex.split(line.partition("|")[0]) if word != "…"]
    try:
        _check(words)
    except HelpWanted:
        return


def _check(words: list[str]) -> None:
    top = parse(
        Command("[COMMAND] [ARG...]", lambda _c, _a: 0, GLOBAL, interspersed=False), words
    ).positionals
    anything = (VALUE, VALUE * 2, f"{VALUE}--help", "COMMAND")
    if not top or top[0] in anything or (top[0] in GROUPS and len(top) > 1 and top[1] in anything):
        return
    name, entry, rest = lookup(top)
    if not isinstance(entry, Group):
        parse(load(name, entry).replace(arguments="[ARG...]"), rest, name)


def test_quoted_commands() -> None:
    wrong, count = [], 0
    for place, text in every_text():
        for match in QUOTED.finditer(text):
            count += 1
            try:
                check(match[2])
            except (NacreError, ValueError) as error:
                wrong.append((place, match[0], str(error)))
    assert wrong == []
    assert count > 15


def begins(group: str) -> set[str]:
    """How the commands of a group begin: `user` for `user add`."""
    return {word for name in GROUPS[group].commands for word in (name, name.split()[0])}


def test_commands_in_running_text() -> None:
    """`hint: nacre system check`: the second word after a group begins one of its commands."""
    wrong = []
    for place, text in every_text():
        for match in BARE.finditer(text):
            first, _, second = match[1].partition(" ")
            if first in GROUPS and second not in (VALUE, *begins(first)):
                wrong.append((place, match[0]))
    assert wrong == []


def options() -> Iterator[Option]:
    places = [*COMMON.items(), *COMMANDS.items()]
    places += [(f"{name} {sub}", entry) for name, g in GROUPS.items() for sub, entry in g.commands.items()]
    yield from GLOBAL
    for name, entry in places:
        yield from load(name, entry).options


def test_options() -> None:
    known = {f"--{option.name}" for option in options()} | {"--help"}
    known |= {re.sub("^--(src|dest)-", f"--{VALUE}-", name) for name in known} | {f"--{VALUE}-{VALUE}"}
    wrong = []
    for place, text in every_text():
        if not any(part in place for part in OTHERS):
            wrong += [(place, match[0]) for match in OPTION.finditer(text) if match[0] not in known]
    assert wrong == []


@pytest.mark.parametrize("line", ["imagess", "system mend", "system check --mend", "pull --fast x"])
def test_the_check_itself(line: str) -> None:
    with pytest.raises(NacreError):
        check(line)
