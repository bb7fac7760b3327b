"""A docstring says something: three words or fewer are a name again."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from sourcekit import MODULES, parsed, statements

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """The names in a module that have a docstring, and the docstrings."""
    for node in statements(parsed(path)):
        if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)) is not None:
            yield getattr(node, "name", "the module"), text


@pytest.mark.parametrize("module", MODULES)
def test_docstrings_have_more_than_three_words(module: str) -> None:
    short = {name: text for name, text in docstrings(MODULES[module]) if len(text.split()) <= 3}
    assert not short
