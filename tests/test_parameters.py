"""No function takes more than six parameters: what belongs together travels as one value."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from sourcekit import MODULES, parsed

MOST = 6

FOR_USERS = "docker's flags by keyword, as a user of the Python API says them"
ALLOWED = {
    "nacre.engine.Engine.copy": FOR_USERS,
    "nacre.engine.Engine.manifest_annotate": FOR_USERS,
    "nacre.engine.Engine.build": FOR_USERS,
    "nacre.engine.Engine.run": FOR_USERS,
    "nacre.engine.containers.ContainerCollection.run": FOR_USERS,
    "nacre.engine.containers.ContainerCollection.exec": FOR_USERS,
    "nacre.engine.containers.ContainerCollection.exec_detached": FOR_USERS,
    "nacre.engine.containers.ContainerCollection.commit": FOR_USERS,
    "nacre.engine.networks.NetworkCollection.create": FOR_USERS,
    "nacre.engine.registries.Registries.check": FOR_USERS.replace("docker's ", ""),
    "nacre.engine.system.System.sweep": FOR_USERS,
}


def functions(name: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
    """Every function of a module by its full name, and whether it is a method."""
    pending: list[tuple[str, ast.AST]] = [(name, parsed(MODULES[name]))]
    while pending:
        where, parent = pending.pop()
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{where}.{node.name}", node, isinstance(parent, ast.ClassDef)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                pending.append((f"{where}.{node.name}", node))
            elif not isinstance(node, ast.expr):
                pending.append((where, node))


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef, method: bool) -> tuple[list[str], list[str]]:
    """By position, and by keyword alone."""
    arguments = node.args
    words = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    static = any(isinstance(each, ast.Name) and each.id == "staticmethod" for each in node.decorator_list)
    return words[1:] if method and not static else words, [each.arg for each in arguments.kwonlyargs]


def is_record(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A constructor that keeps each of its parameters under its own name."""
    by_position, by_keyword = parameters(node, True)
    kept = {pair for each in node.body if isinstance(each, ast.Assign) for pair in pairs(each)}
    return node.name == "__init__" and {(name, name) for name in by_position + by_keyword} <= kept


def pairs(assigned: ast.Assign) -> Iterator[tuple[str, str]]:
    """Attribute and name of `self.attribute = name`, also of several at once."""
    for target in assigned.targets:
        several = isinstance(target, ast.Tuple) and isinstance(assigned.value, ast.Tuple)
        names = zip(target.elts, assigned.value.elts, strict=False) if several else [(target, assigned.value)]
        for name, value in names:
            if isinstance(name, ast.Attribute) and isinstance(value, ast.Name):
                yield name.attr, value.id


@pytest.mark.parametrize("name", MODULES)
def test_few_parameters(name: str) -> None:
    found = {}
    for function, node, method in functions(name):
        by_position, by_keyword = parameters(node, method)
        many = len(by_position) + len(by_keyword) > MOST and not is_record(node)
        if many and not (function in ALLOWED and len(by_position) <= 3):
            found[function] = by_position + by_keyword
    assert found == {}


def test_what_is_allowed_is_there() -> None:
    every = {function for name in MODULES for function, _node, _method in functions(name)}
    assert set(ALLOWED) <= every
