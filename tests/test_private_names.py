"""Private names of nacre in its tests: how many there are, file by file, and that they only grow fewer.

A test of a private name breaks when a wall is moved and says nothing about what the room promises. What is
listed here is left because the contract offers no other way: a bound that no test reaches in its time, a
moment between two steps, a rule that only many runs would show. Nothing may be added.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from sourcekit import PACKAGE, parsed, statements

TESTS = Path(__file__).parent
PUBLIC = {"_replace", "_asdict", "_fields", "_make", "_exit"}
"""Underscores of Python's library: NamedTuple and os."""
PATCHERS = {"monkeypatch", "mock", "patch", "setattr", "getattr"}
LEFT: dict[str, int] = {
    "cli/test_bytes.py": 1,
    "client/test_client_nearby.py": 1,
    "client/test_client_requests.py": 1,
    "conftest.py": 1,
    "containers/test_devices.py": 1,
    "crash/zygote.py": 1,
    "ground/test_extract_workers.py": 2,
    "ground/test_fork_pool.py": 1,
    "ground/test_mounts.py": 1,
    "ground/test_sandbox_seccomp.py": 1,
    "ground/test_twins.py": 1,
    "ground/test_userns.py": 5,
    "images/test_check.py": 1,
    "images/test_compressed.py": 1,
    "images/test_late_blob.py": 1,
    "server/test_registry_hostile.py": 2,
    "stores/test_forkguard.py": 1,
    "stores/test_shared.py": 2,
    "stores/test_sweep.py": 2,
    "stores/test_transaction.py": 2,
    "stores/test_trees_sharing.py": 4,
}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC and len(name) > 1


def defined(folder: Path) -> set[str]:
    """Every private name that files of a folder define: functions, classes, variables, attributes."""
    return {name for path in folder.rglob("*.py") for name in _defined(path) if is_private(name)}


def _defined(path: Path) -> Iterator[str]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _first(node) == "self":
            yield node.attr


def uses(path: Path, names: set[str], ours: set[str]) -> list[str]:
    """Where a file of tests takes one of these names: by attribute, by import, or as text to patch.

    `ours` are private names that tests have too: of these only what is taken from an import counts.
    """
    tree = parsed(path)
    imported = set(_imported(tree))
    return [
        f"{path.relative_to(TESTS)}:{line}: {name}"
        for name, line, base in _taken(tree)
        if name in names and (name not in ours or base in imported)
    ]


def _imported(tree: ast.AST) -> Iterator[str]:
    """What a file calls nacre's modules, classes and functions."""
    for node in statements(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nacre"):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.asname or alias.name for alias in node.names if alias.name.startswith("nacre"))


def _taken(tree: ast.AST) -> Iterator[tuple[str, int, str]]:
    """Names with the line, and the name that an attribute chain begins with."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr, node.lineno, _first(node)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nacre"):
            yield from ((alias.name, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and _first(node.func) in PATCHERS:
            yield from _patched(node)


def _patched(call: ast.Call) -> Iterator[tuple[str, int, str]]:
    texts = [
        each.value for each in call.args if isinstance(each, ast.Constant) and isinstance(each.value, str)
    ]
    first = _first(call.args[0]) if call.args else ""
    for text in texts:
        if text.startswith("nacre."):
            yield from ((name, call.lineno, name) for name in text.split(".") if is_private(name))
        else:
            yield text, call.lineno, first


def _first(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute | ast.Call):
        node = node.value if isinstance(node, ast.Attribute) else node.func
    return node.id if isinstance(node, ast.Name) else ""


def test_private_names_only_grow_fewer() -> None:
    names, ours = defined(PACKAGE), defined(TESTS)
    found = [use for path in sorted(TESTS.rglob("*.py")) for use in uses(path, names, ours)]
    counted: dict[str, int] = {}
    for use in found:
        counted[use.partition(":")[0]] = counted.get(use.partition(":")[0], 0) + 1
    assert counted == LEFT, "\n".join(found)
