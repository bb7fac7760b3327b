"""The modules of the package as text: which there are, and what stands in them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import nacre

PACKAGE = Path(nacre.__file__).parent
_HOLDERS = ast.ExceptHandler, ast.match_case
"""What is no statement and has some."""


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name, `nacre.words.digest`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def text_of(name: str) -> str:
    return MODULES[name].read_text(encoding="utf-8")


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """The tree and all statements in it, in no order; a tenth of all nodes."""
    pending = [tree]
    while pending:
        yield (node := pending.pop())
        pending += [child for child in ast.iter_child_nodes(node) if isinstance(child, (ast.stmt, *_HOLDERS))]


def is_for_types(node: ast.AST) -> bool:
    """`if TYPE_CHECKING:`, which does not run."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def running(tree: ast.AST, kind: type[ast.AST] = ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING:`, in no order; `ast.stmt`: statements alone."""
    pending = [tree]
    while pending:
        node = pending.pop()
        if is_for_types(node):
            pending += node.orelse  # type: ignore[attr-defined]
        else:
            yield node
            pending += [child for child in ast.iter_child_nodes(node) if isinstance(child, (kind, *_HOLDERS))]
