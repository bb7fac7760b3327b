"""The page of the Python API: its blocks run, in order, in one namespace; its tables name what there is."""

from __future__ import annotations

import inspect
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import nacre
from nacre.engine.containers import ContainerCollection
from nacre.engine.layers import LayerTools
from nacre.engine.mounts import Mounts
from nacre.engine.networks import NetworkCollection
from nacre.engine.outputs import Outputs
from nacre.engine.registries import Registries
from nacre.engine.system import System
from nacre.engine.volumes import VolumeCollection
from nacre.words.errors import NacreError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_ADDRESS = re.compile(r"http://([^/]+)/v2/")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """`host:port` of a registry on a free port of loopback."""
    line = [sys.executable, "-m", "nacre", "registry", "serve", "--quiet"]
    line += ["--addr", "127.0.0.1:0", "--root", str(tmp_path / "registry")]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = _ADDRESS.search(server.stdout.readline())
        try:
            assert found is not None
            yield found[1]
        finally:
            server.send_signal(signal.SIGINT)


def _needs_containers(folder: Path) -> None:
    try:
        with nacre.open_store(str(folder / "trial")) as engine:
            engine.run("host:python3", ["true"])
    except NacreError as error:
        pytest.skip(f"no containers here: {error}")


def _padded(text: str, found: re.Match[str]) -> str:
    """The block at the line where the page has it, so that a traceback names that line."""
    return "\n" * text.count("\n", 0, found.start(1)) + found[1]


def test_every_block_runs(tmp_path: Path, registry: str) -> None:
    _needs_containers(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    folder = tmp_path / "page"
    folder.mkdir()
    before = os.geteuid(), os.readlink("/proc/self/ns/user"), os.readlink("/proc/self/ns/mnt")
    names: dict[str, object] = {"folder": str(folder), "registry": registry, "__name__": "page"}
    blocks = list(_BLOCK.finditer(text))
    assert len(blocks) > 10
    for found in blocks:
        exec(compile(_padded(text, found), str(PAGE), "exec"), names)
    assert os.listdir(folder / "store" / "containers") == []
    assert (os.geteuid(), os.readlink("/proc/self/ns/user"), os.readlink("/proc/self/ns/mnt")) == before


def test_readme_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _needs_containers(tmp_path)
    found = _BLOCK.search((PAGE.parents[1] / "README.md").read_text(encoding="utf-8"))
    assert found is not None
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "Dockerfile").write_text("FROM host:python3\nRUN touch /made\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    opened = nacre.open_store
    monkeypatch.setattr(nacre, "open_store", lambda: opened(str(tmp_path / "store")))
    exec(compile(found[1], "README.md", "exec"), {"__name__": "readme"})


def _rows(heading: str) -> dict[str, str]:
    """First cells of the table after `heading`, by the name they begin with, and the whole cells."""
    text = PAGE.read_text(encoding="utf-8")
    table = text[text.index(heading) :].split("\n\n")[0]
    cells = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    return {cell.partition("(")[0]: cell for cell in cells}


FOR_FACES = {
    "apart", "budget", "client", "config", "container_proxies", "docker_setting", "drop_store", "enter",
    "entered", "forked",
    "image_inside", "inside", "is_inside", "is_root", "mapping", "network", "outside", "paths",
    "result_inside", "results_inside", "root", "shows_mounts", "tell", "tell_image",
}  # fmt: skip
"""What an engine has besides, for the faces that are built on it."""


PARTS = {
    "containers": ContainerCollection, "networks": NetworkCollection, "volumes": VolumeCollection,
    "mounts": Mounts, "layers": LayerTools, "registries": Registries, "system": System,
    "outputs": Outputs,
}  # fmt: skip
HEADINGS = {"| of `Engine` |": nacre.Engine} | {
    f"| of `engine.{name}` |": part for name, part in PARTS.items()
}


@pytest.mark.parametrize(("heading", "kind"), HEADINGS.items())
def test_tables_name_every_method(heading: str, kind: type) -> None:
    public = {name for name in dir(kind) if not name.startswith("_")} - FOR_FACES
    assert set(_rows(heading)) == public


CELLS = [(kind, name, cell) for heading, kind in HEADINGS.items() for name, cell in _rows(heading).items()]


@pytest.mark.parametrize(("kind", "name", "cell"), CELLS)
def test_tables_name_every_argument(kind: type, name: str, cell: str) -> None:
    method = inspect.getattr_static(kind, name)
    if isinstance(method, property):
        assert cell == name
        return
    shown = [word for word in re.split(r"[(), *]+", cell)[1:] if word]
    assert shown == list(inspect.signature(method).parameters)[1:]


def test_table_of_values_is_true() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = text[text.index("| value | attributes |") :].split("\n\n")[0]
    for line in table.splitlines()[2:]:
        kind, *members = re.findall(r"`(\w+)`", line)
        value = getattr(nacre, kind)
        known = {*dir(value), *getattr(value, "_fields", ()), *_assigned(value)}
        assert set(members) <= known, kind


def _assigned(kind: type) -> set[str]:
    return set(inspect.signature(kind).parameters)
