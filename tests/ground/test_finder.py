"""Our own modules are found by a short way, which differs from Python's in nothing but its cost."""

from __future__ import annotations

import os
import py_compile
import subprocess
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

import pytest

from nacre.ground.finder import Finder, Loader


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A module and a package with one more, with byte code."""
    for name, text in (("one", "X = 1\n"), ("two/__init__", "Y = 2\n"), ("two/three", "Z = 3\n")):
        file = tmp_path / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
        py_compile.compile(str(file), doraise=True)
    return tmp_path


def load(name: str, folder: Path) -> ModuleType:
    spec = Finder.find_spec(name, [str(folder)])
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["nacre.one", "nacre.two"])
def test_a_module_looks_as_if_python_had_found_it(package: Path, name: str) -> None:
    found, there = Finder.find_spec(name, [str(package)]), PathFinder.find_spec(name, [str(package)])
    assert found
    assert there
    assert isinstance(found.loader, Loader)
    for field in ("name", "origin", "cached", "has_location", "parent", "submodule_search_locations"):
        assert getattr(found, field) == getattr(there, field)
    assert found.loader.get_filename(name) == there.origin


def test_modules_and_packages_run(package: Path) -> None:
    assert load("nacre.one", package).X == 1
    assert load("nacre.two", package).Y == 2
    assert load("nacre.two.three", package / "two").Z == 3


def test_a_module_can_be_loaded_again(package: Path) -> None:
    spec = Finder.find_spec("nacre.one", [str(package)])
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    del module.X
    spec.loader.exec_module(module)
    assert module.X == 1


def test_a_traceback_shows_the_source(package: Path) -> None:
    (package / "one.py").write_text("def f():\n    return 1 / 0  # here\n", encoding="utf-8")
    py_compile.compile(str(package / "one.py"), doraise=True)
    code = (
        "import sys; from importlib.util import module_from_spec; from nacre.ground.finder import Finder\n"
        "spec = Finder.find_spec('nacre.one', [sys.argv[1]]); module = module_from_spec(spec)\n"
        "spec.loader.exec_module(module); module.f()"
    )
    done = subprocess.run([sys.executable, "-c", code, package], capture_output=True, text=True, check=False)
    assert f'{package}/one.py", line 2, in f' in done.stderr
    assert "return 1 / 0  # here" in done.stderr


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda source, _: os.utime(source, (1, 1)), "another time"),
        (lambda source, time: (source.write_text("X = 10\n"), os.utime(source, (time, time))), "a size"),
        (lambda source, _: source.unlink(), "no source"),
    ],
)  # fmt: skip
def test_stale_byte_code_is_left_to_python(package: Path, spoil: object, why: str) -> None:
    source = package / "one.py"
    spoil(source, source.stat().st_mtime)  # type: ignore[operator]
    assert Finder.find_spec("nacre.one", [str(package)]) is None, why


@pytest.mark.parametrize("content", [b"", b"short", b"\x00" * 40])
def test_foreign_byte_code_is_left_to_python(package: Path, content: bytes) -> None:
    next((package / "__pycache__").glob("one.*.pyc")).write_bytes(content)
    assert Finder.find_spec("nacre.one", [str(package)]) is None


def test_byte_code_with_a_hash_is_left_to_python(package: Path) -> None:
    mode = py_compile.PycInvalidationMode.CHECKED_HASH
    py_compile.compile(str(package / "one.py"), invalidation_mode=mode, doraise=True)
    assert Finder.find_spec("nacre.one", [str(package)]) is None


def test_modules_of_others_are_left_to_python(package: Path) -> None:
    assert Finder.find_spec("one", [str(package)]) is None
    assert Finder.find_spec("nacre", None) is None
    assert Finder.find_spec("nacre.missing", [str(package)]) is None


@pytest.mark.parametrize(
    ("flags", "asked"), [((), True), (("-O",), False), (("-X", "pycache_prefix=/x"), False)]
)
def test_the_faces_ask_it_first(flags: tuple[str, ...], asked: bool) -> None:
    code = "import sys, nacre.cli; print('nacre' in repr(sys.meta_path[0]))"
    done = subprocess.run(
        [sys.executable, "-B", *flags, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(asked)
