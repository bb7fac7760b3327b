"""No module keeps anything that changes: two stores in one process know nothing of each other."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator

import pytest
from sourcekit import MODULES, parsed, running

from nacre.words.value import Value

ALLOWED = {
    "nacre.cli.documents.shapes.SHAPES": "a table that is only read",
    "nacre.grammars.chunked.crc64._chosen": "which of two equal routines is the quicker one here",
    "nacre.ground.clone._sharing": "what the disks of this machine can do",
    "nacre.ground.files._hook": "where tests stand between two steps",
    "nacre.ground.fork._subreaper": "a process has one list of children",
    "nacre.ground.sandbox.permitted._known": "what this user may do on this kernel",
    "nacre.ground.userns._expected": "how the ids of a user are mapped on this machine",
    "nacre.stores.forkguard.KNOWN": "databases are closed before a process forks, all of them",
    "nacre.stores.forkguard._FORKING": "the same",
    "nacre.stores.forkguard._CARRIED": "SQLite counts locks for all connections of a process",
    "nacre.stores.forkguard._GATE": "the same",
    "nacre.stores.database._boot": "which boot this is",
}
"""What a process has one of, and why."""

CHANGING = frozenset(
    ("add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "setdefault")
) | {"update", "__setitem__"}


def changed(tree: ast.Module) -> Iterator[str]:
    """Names that a function rebinds (`global`) or whose content is changed anywhere."""
    for node in running(tree):
        if isinstance(node, ast.Global):
            yield from node.names
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGING:
            yield root(node.func.value)
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete):
            targets = [node.target] if isinstance(node, ast.AugAssign | ast.AnnAssign) else node.targets
            yield from (
                root(target) for target in targets if isinstance(target, ast.Subscript | ast.Attribute)
            )


def root(node: ast.AST) -> str:
    """`a` of a.b[c]."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def kept(tree: ast.Module) -> set[str]:
    """Names that the module itself gives a value."""
    found = set()
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            found |= {target.id for target in statement.targets if isinstance(target, ast.Name)}
        if (
            isinstance(statement, ast.AnnAssign)
            and statement.value
            and isinstance(statement.target, ast.Name)
        ):
            found.add(statement.target.id)
    return found


def local(tree: ast.Module) -> set[str]:
    """Names that some function has for itself."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            arguments = node.args
            every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
            found |= {argument.arg for argument in every}
    return found


def is_changeable(value: object) -> bool:
    """An object of a class of our own that is no value."""
    kind = type(value)
    return kind.__module__.startswith("nacre") and not isinstance(value, Value | tuple | int | str)


@pytest.mark.parametrize("name", [name for name in MODULES if name != "nacre.__main__"])
def test_a_module_keeps_nothing_that_changes(name: str) -> None:
    tree = parsed(MODULES[name])
    mine = kept(tree)
    found = mine.intersection(changed(tree)) if mine else set()
    found -= local(tree) if found else set()
    found |= {each for each in mine if has_state(getattr(importlib.import_module(name), each, None))}
    assert {each for each in found if f"{name}.{each}" not in ALLOWED} == set()


def has_state(value: object) -> bool:
    """Whether calls to its methods can change it."""
    return is_changeable(value) and bool(getattr(value, "__dict__", None) or hasattr(value, "__slots__"))
