"""Only a line feed ends a line."""

from __future__ import annotations

import ast

import pytest
from sourcekit import MODULES, parsed, text_of

from nacre.grammars.config.toml import parse_config
from nacre.grammars.dockerfile.ignore import read_ignore
from nacre.grammars.dockerfile.syntax import Heredoc
from nacre.ground.sandbox.users import find
from nacre.words.errors import UsageError
from nacre.words.lines import lines

INNER = "\f\v\x1c\x1d\x1e\x85\u2028\u2029"
"""What `str.splitlines` cuts at besides line feeds."""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []), ("\n", [""]), ("a", ["a"]), ("a\nb\n", ["a", "b"]), ("a\r\nb", ["a", "b"]),
        ("a\n\nb", ["a", "", "b"]), ("a\rb\n", ["a\rb"]), (f"a{INNER}b\nc", [f"a{INNER}b", "c"]),
    ],
)  # fmt: skip
def test_lines(text: str, found: list[str]) -> None:
    assert lines(text) == found


def test_accounts() -> None:
    passwd = "root:x:0:0:r:/root:/bin/sh\nweb:x:5:5:Name\u2028evil:x:0:0::/:\x85more:/srv:/bin/sh\n"
    assert find("web", passwd, "").uid == 5
    with pytest.raises(Exception, match="unable to find user evil"):
        find("evil", passwd, "")
    assert find("web", passwd, "a:x:7:web\x0cb:x:8:web\n").groups == (5,)


def test_patterns_to_ignore() -> None:
    ignore = read_ignore("a\u2028b\n# no\x85yes\n")
    assert ignore.patterns == ("a\u2028b",)


def test_a_here_document_keeps_what_stands_within_a_line() -> None:
    assert Heredoc("E", f"\ta{INNER}\tb\n\tc\n", strip_tabs=True).content == f"a{INNER}\tb\nc\n"


def test_lines_of_a_configuration_are_counted() -> None:
    with pytest.raises(UsageError, match=r"config\.toml:2: unknown key"):
        parse_config("# a\u2028b\nnonsense = 1\n", "config.toml")


def test_nothing_in_the_product_splits_otherwise() -> None:
    found = [
        f"{name}:{node.lineno}"
        for name, path in MODULES.items()
        if "splitlines" in text_of(name)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute) and node.attr == "splitlines"
    ]
    assert found == []
