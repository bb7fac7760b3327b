"""Imports only fall, in no circle, and a start imports nothing heavy."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sourcekit import MODULES, parsed, running, statements, text_of

if TYPE_CHECKING:
    from conftest import Nacre

FLOORS = {
    "words": 0,
    "grammars": 1,
    "ground": 2,
    "stores": 3,
    "images": 4,
    "services": 5,
    "engine": 6,
    "cli": 7,
    "runtime": 7,
}
FACES = ("__init__", "__main__", "cli", "runtime")

# What a start of `nacre run` must not load: each costs between one and a hundred milliseconds.
BANNED = (
    "argparse asyncio click collections ctypes dataclasses email enum functools granian http "
    "importlib.metadata inspect isal logging multiprocessing pathlib re rich shutil ssl starlette subprocess "
    "tarfile tempfile textwrap typing urllib3 zstandard"
)


@cache
def imports(name: str) -> frozenset[str]:
    """Modules of the package that `name` imports at run time."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return frozenset(found for node in running(parsed(path), ast.stmt) for found in targets(node, package))


def targets(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in MODULES)
    if isinstance(node, ast.ImportFrom):
        parts = package.split(".")
        base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
        module = ".".join(filter(None, (base, node.module)))
        for alias in node.names:
            inner = f"{module}.{alias.name}"
            if inner in MODULES:
                yield inner
            elif module in MODULES:
                yield module


def room(name: str) -> str:
    """`words` for nacre.words.digest; `__init__` for nacre itself."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def test_every_room_has_a_floor() -> None:
    assert {room(name) for name in MODULES} <= {*FLOORS, *FACES}


@pytest.mark.parametrize("name", [name for name in MODULES if room(name) not in ("__init__", "__main__")])
def test_imports_fall(name: str) -> None:
    floor = FLOORS[room(name)]
    risen = {found for found in imports(name) if room(found) in FLOORS and FLOORS[room(found)] > floor}
    assert not risen, f"{name} imports from above: {sorted(risen)}"
    if room(name) not in FACES:
        faces = {found for found in imports(name) if room(found) in FACES and found != "nacre"}
        assert not faces, f"{name} imports a face: {sorted(faces)}"


IMAGES = ("model", "attestations", "layers", "places", "arrows", "audit")


def part(name: str) -> str:
    parts = name.split(".")
    return parts[2] if len(parts) > 3 and parts[1] == "images" else ""


@pytest.mark.parametrize("name", [name for name in MODULES if part(name)])
def test_parts_of_images_fall(name: str) -> None:
    """`dockerfile` stands apart: it takes from the model alone, and only builds and faces take from it."""
    mine, others = part(name), {found for found in imports(name) if part(found) not in ("", part(name))}
    below = IMAGES[: IMAGES.index(mine)] if mine in IMAGES else ("model",)
    assert {part(found) for found in others} <= set(below), f"{name} imports {sorted(others)}"


TREES = (
    "files", "awaiting", "model", "interfaces", "reading", "dedup", "forms", "roots", "making", "trials",
    "drivers", "lazy", "catalog", "rows", "repair", "recording", "committed", "actives",
)  # fmt: skip


def tree_part(name: str) -> str:
    parts = name.split(".")
    return parts[3] if len(parts) > 3 and parts[1:3] == ["stores", "trees"] else ""


@pytest.mark.parametrize("name", [name for name in MODULES if tree_part(name)])
def test_parts_of_trees_fall(name: str) -> None:
    """Each takes from those before it: a form knows no root, and neither knows a driver."""
    mine, others = tree_part(name), {tree_part(found) for found in imports(name)} - {"", tree_part(name)}
    assert others <= set(TREES[: TREES.index(mine)]), f"{name} imports {sorted(others)}"


def service(name: str) -> str:
    parts = name.split(".")
    return parts[2] if len(parts) > 2 and parts[1] == "services" else ""


@pytest.mark.parametrize("name", [name for name in MODULES if service(name)])
def test_services_are_independent(name: str) -> None:
    others = {found for found in imports(name) if service(found) not in ("", service(name))}
    assert not others, f"{name} imports another service: {sorted(others)}"


ABOVE = [name for name in MODULES if room(name) in ("images", "services", "engine", "cli")]
SQL = (
    "SELECT ",
    "INSERT ",
    "UPDATE ",
    "DELETE FROM ",
    "CREATE TABLE ",
    "PRAGMA ",
    "BEGIN ",
    "COMMIT",
    "ROLLBACK",
)


def said(node: ast.AST) -> str:
    """The last word of `a.b.root`, `root`, `store.trees.folder(…)`."""
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def constant(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def is_query(node: ast.AST) -> bool:
    """SQL text, the database of a store, or the import of one."""
    if isinstance(node, ast.Attribute):
        is_option = isinstance(node.value, ast.Name) and node.value.id == "args"
        return node.attr.lstrip("_") in ("db", "database", "cursor") and not is_option
    if isinstance(node, ast.Import | ast.ImportFrom):
        return any(alias.name in ("sqlite3", "sqlite", "Database") for alias in node.names)
    return constant(node).lstrip().startswith(SQL)


def joints(node: ast.AST) -> tuple[ast.AST | None, str]:
    """The expression at which a path begins, and the text that is put behind it."""
    if isinstance(node, ast.JoinedStr) and len(node.values) > 1:
        first = node.values[0]
        return (first.value if isinstance(first, ast.FormattedValue) else None), constant(node.values[1])
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return node.left, constant(node.right)
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "os.path.join":
        return node.args[0], "/"
    return None, ""


def is_joined(node: ast.AST) -> bool:
    """A name put behind the root of a store, or behind a folder that a store has just named."""
    first, rest = joints(node)
    if first is None or not rest.startswith("/"):
        return False
    if isinstance(first, ast.Call):
        return said(first) in ("folder", "active_folder")
    return said(first).lstrip("_") in ("root", "store_root")


def known(text: str) -> list[str]:
    """What a module says of the tables and the folders of a store."""
    return [ast.unparse(node) for node in ast.walk(ast.parse(text)) if is_query(node) or is_joined(node)]


@pytest.mark.parametrize("name", ABOVE)
def test_only_stores_know_tables_and_folders(name: str) -> None:
    assert not known(text_of(name))


@pytest.mark.parametrize(
    "code",
    [
        "store.db.one(sql, (1,))", "with self._db.transaction(): pass", 'sql = f"SELECT {x} FROM t"',
        "from ..stores.database import Database", "import sqlite3", 'f"{store.root}/blobs"',
        'os.path.join(self._root, "active")', 'root + "/trees"', 'f"{store.trees.folder(d)}/fs"',
    ],
)  # fmt: skip
def test_tables_and_folders_are_found(code: str) -> None:
    assert known(code)


@pytest.mark.parametrize(
    "code", ["containers.execute(name)", 'f"{folder}/{name}"', '"Select a name"', "args.database"]
)
def test_nothing_else_is_found(code: str) -> None:
    assert not known(code)


def test_no_circle() -> None:
    """Not even in functions: a circle put off is still one."""
    graph = {name: {found for found in imports(name) if found != name} for name in MODULES}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " → ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for found in sorted(graph[name]):
                visit(found, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


PROCESS = re.compile(r"\bsys\b|getenv|print|exit|input")
"""What stands in a module that touches the process: parsing takes longer than looking for it."""


@pytest.mark.parametrize("name", [name for name in MODULES if room(name) not in FACES])
def test_only_the_faces_touch_the_process(name: str) -> None:
    """No printing, no exit, no arguments, no environment below the command line."""
    if not PROCESS.search(text_of(name)):
        return
    tree = parsed(MODULES[name])
    used = {f"{node.value.id}.{node.attr}" for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)}  # fmt: skip
    assert not used & {"sys.exit", "sys.argv", "sys.stdout", "sys.stderr", "os.getenv"}
    calls = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"print", "exit", "input"}


DOORS = {
    "nacre.services.client.transport": "the client: proxies, certificates, retries, one error tree",
    "nacre.services.daemon.daemon": "docker's own socket, to which none of that applies",
}
HTTP = {"urllib3", "http", "urllib.request", "requests", "httpx", "aiohttp"}


@pytest.mark.parametrize("name", MODULES)
def test_one_door_to_the_network(name: str) -> None:
    """Whatever is fetched goes through the client."""
    if not any(one.partition(".")[0] in text_of(name) for one in HTTP):
        return
    tree = parsed(MODULES[name])
    taken = {
        node.module or "" for node in statements(tree) if isinstance(node, ast.ImportFrom) and not node.level
    }
    taken |= {alias.name for node in statements(tree) if isinstance(node, ast.Import) for alias in node.names}
    used = {one for one in taken if {one, one.partition(".")[0]} & HTTP}
    assert not used or name in DOORS, f"{name} takes {sorted(used)}"


def test_files_stay_small() -> None:
    long = {
        name for name, path in MODULES.items() if len(path.read_text(encoding="utf-8").splitlines()) > 700
    }
    assert not long


def loaded(code: str, *arguments: str) -> set[str]:
    """Modules that an interpreter has after running `code`, less those it has anyway."""
    script = f"import sys; before = set(sys.modules)\n{code}\nprint(*sorted(set(sys.modules) - before))"
    words = [sys.executable, "-P", "-c", script, *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def heavy(found: set[str]) -> set[str]:
    return {name for name in found if name in BANNED.split() or name.partition(".")[0] in BANNED.split()}


def test_a_start_is_light() -> None:
    """The frame with the parser of `run`."""
    code = (
        "from nacre.cli.commands import load\n"
        "from nacre.cli.main import lookup\n"
        "name, entry, _ = lookup(['run'])"
    )
    assert not heavy(
        loaded(f"{code}\nfrom nacre.cli.options import parse\nparse(load(name, entry), ['app'], name)")
    )


def imported(nacre: Nacre, *words: str) -> set[str]:
    """What a whole command imports, as the interpreter itself reports it, less what it imports anyway."""
    command = nacre.command(*words)
    reports = [
        subprocess.run(
            [command[0], "-X", "importtime", *rest],
            capture_output=True,
            text=True,
            env=nacre.env,
            check=False,
        )
        for rest in (command[1:], ("-c", ""))
    ]
    assert [report.returncode for report in reports] == [0, 0], reports[0].stderr
    found, anyway = (
        {line.rpartition("|")[2].strip() for line in report.stderr.splitlines() if "import time:" in line}
        for report in reports
    )
    return found - anyway


def test_running_a_container_is_light(nacre: Nacre, busybox_image: str) -> None:
    assert not heavy(imported(nacre, "run", "--rm", busybox_image, "true"))


def test_listing_containers_is_light(nacre: Nacre, busybox_image: str) -> None:
    """Templates are for `--format`, expressions for filters, and nothing is started."""
    nacre("create", "-p", "80", busybox_image, "true")
    found = imported(nacre, "ps", "--all")
    assert not heavy(found)
    assert not {
        name for name in found if name.startswith(("nacre.grammars.gotemplate", "nacre.ground.sandbox"))
    }


def test_a_build_that_changes_nothing_is_light(nacre: Nacre, busybox_image: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        f'FROM {busybox_image}\nWORKDIR /srv\nCOPY a .\nRUN cat a > b\nCMD ["true"]\n'
    )
    (tmp_path / "a").write_text("a")
    words = ("build", "--network", "none", "-t", "light", str(tmp_path))
    nacre(*words)
    nacre(*words)
    found = imported(nacre, *words)
    assert not heavy(found)
    assert not {"contextlib", "json", "threading", "types", "zlib"} & found


def test_files_of_tests_have_names_of_their_own() -> None:
    """pytest imports them by their names alone, and refuses the whole suite for two of one name."""
    found = [
        path.name
        for path in Path(__file__).parent.rglob("*.py")
        if path.name != "conftest.py" and not (path.parent / "__init__.py").exists()
    ]
    assert sorted(found) == sorted(set(found))


def test_the_suite_enters_every_room(pytestconfig: pytest.Config) -> None:
    """By default pytest passes by folders of some names, `build` among them, without a word."""
    passed_by = pytestconfig.getini("norecursedirs")
    rooms = {path.parent for path in Path(__file__).parent.rglob("test_*.py")}
    assert [room for room in rooms if any(fnmatch(room.name, name) for name in passed_by)] == []


def test_nothing_is_taken_from_a_conftest() -> None:
    """Several have that name, and which one an import means depends on the order of the folders."""
    found = [
        path.name
        for path in Path(__file__).parent.rglob("*.py")
        for node in running(parsed(path), ast.stmt)
        if isinstance(node, ast.ImportFrom) and (node.module, node.level) == ("conftest", 0)
    ]
    assert not found
