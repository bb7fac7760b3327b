"""Wheels as layers: what they hold, the same bytes every time, and what hostile ones cannot do."""

from __future__ import annotations

import io
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from wheelmaker import record_hash, wheel

from nacre.services.build.python import bytecode
from nacre.services.build.python.layerwriter import LayerWriter
from nacre.services.build.python.wheel import opened
from nacre.services.build.python.wheelfiles import write_wheel
from nacre.services.build.python.wheellayers import LaidWheel, divided
from nacre.words.errors import ContentError, InvalidArchive, TooLarge

SITE = "opt/venv/lib/python3.12/site-packages"


def laid(folder: Path, made: tuple[str, bytes], code: dict[str, bytes] | None = None) -> bytes:
    """The tar of a wheel."""
    name, data = made
    path = folder / "wheel"
    path.write_bytes(data)
    out = io.BytesIO()
    writer = LayerWriter(out.write, "3.12")
    with opened(str(path), name) as archive:
        write_wheel(writer, archive, code or {}, "cpython-312")
    writer.close()
    return out.getvalue()


def members(tar: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return {info.name: info for info in archive}


def content(tar: bytes, name: str) -> str:
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        file = archive.extractfile(name)
        assert file
        return file.read().decode()


def test_a_wheel_is_laid_as_an_installer_does(tmp_path: Path) -> None:
    made = wheel(
        "demo", files={
            "demo/__init__.py": "x = 1\n", "demo/data.txt": "data",
            "demo-1.0.data/data/share/demo/a": "shared", "demo-1.0.data/scripts/tool": "#!python\nprint(1)\n",
            "demo-1.0.data/headers/demo.h": "int x;",
        }, scripts={"demo": "demo:main"},
    )  # fmt: skip
    tar = laid(tmp_path, made, {f"/{SITE}/demo/__init__.py": b"code"})
    found = members(tar)
    files = {name for name, info in found.items() if info.isfile()}
    assert files == {
        f"{SITE}/demo/__init__.py", f"{SITE}/demo/data.txt", "opt/venv/share/demo/a", "opt/venv/bin/tool",
        "opt/venv/bin/demo", "opt/venv/include/site/python3.12/demo/demo.h",
        f"{SITE}/demo/__pycache__/__init__.cpython-312.pyc",
        *(f"{SITE}/demo-1.0.dist-info/{name}"
          for name in ("METADATA", "WHEEL", "RECORD", "INSTALLER", "entry_points.txt")),
    }  # fmt: skip
    assert content(tar, "opt/venv/bin/tool").startswith("#!/opt/venv/bin/python\n")
    assert "from demo import main" in content(tar, "opt/venv/bin/demo")
    assert {found[name].mode for name in ("opt/venv/bin/tool", "opt/venv/bin/demo")} == {0o755}
    assert {info.mtime for info in found.values()} == {315532800}
    assert {(info.uid, info.gid) for info in found.values()} == {(0, 0)}
    record = content(tar, f"{SITE}/demo-1.0.dist-info/RECORD").splitlines()
    assert f"demo/data.txt,{record_hash(b'data')},4" in record
    assert "demo/__pycache__/__init__.cpython-312.pyc,," in record
    assert any(line.startswith("../../../bin/demo,sha256=") for line in record)


@pytest.mark.parametrize("purelib", ["true", "false"])
def test_a_wheel_of_modules_alone_is_laid_as_an_installer_does(
    purelib: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = zipfile.ZipInfo("demo/tool.sh")
    program.external_attr = (stat.S_IFREG | 0o755) << 16
    made = wheel(
        "demo", files={
            "demo/b.py": "b = 1\n", "demo/a.py": "a = 1\n", "demo/a b.txt": "data",
            "demo/__pycache__/a.pyc": "x",
            "demo-1.0.dist-info/WHEEL": f"wheel-version: 1.9\nRoot-Is-Purelib: {purelib}\n",
            "demo-1.0.dist-info/licenses/LICENSE": "free", "demo-1.0.dist-info/RECORD.jws": "{}",
            "demo-1.0.dist-info/entry_points.txt": "[pytest11]\ndemo = demo.a\n",
        },
        record={"demo/tool.sh": record_hash(b"#!/bin/sh\n")}, extra=[(program, b"#!/bin/sh\n")],
    )  # fmt: skip
    code = {f"/{SITE}/demo/a.py": b"code"}
    plain = laid(tmp_path, made, code)
    monkeypatch.setattr("nacre.services.build.python.wheel.Wheel.has_scripts", True)
    assert laid(tmp_path, made, code) == plain
    assert members(plain)[f"{SITE}/demo/tool.sh"].mode == 0o755
    assert f"{SITE}/demo-1.0.dist-info/RECORD.jws" not in members(plain)


def test_the_layer_depends_on_the_wheel_alone(tmp_path: Path) -> None:
    made = wheel("demo", files={"demo/a.py": "a = 1\n", "demo/b.py": "b = 2\n"}, scripts={"demo": "demo.a:f"})
    assert laid(tmp_path, made) == laid(tmp_path, made)


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


HOSTILE = {
    "a path out": wheel("evil", files={"../../etc/passwd": "x"}),
    "an absolute path": wheel("evil", files={"/etc/passwd": "x"}),
    "a path out of the data": wheel("evil", files={"evil-1.0.data/data/../../../etc/x": "x"}),
    "a backslash": wheel("evil", files={"a\\..\\b": "x"}),
    "the interpreter": wheel("evil", files={"evil-1.0.data/scripts/python3": "#!python\n"}),
    "another interpreter": wheel("evil", files={"evil-1.0.data/data/bin/python": "x"}),
    "the environment": wheel("evil", files={"evil-1.0.data/data/pyvenv.cfg": "home = /tmp"}),
    "a scheme that is none": wheel("evil", files={"evil-1.0.data/etc/x": "x"}),
    "a whiteout": wheel("evil", files={"demo/.wh..wh..opq": ""}),
    "a link": wheel("evil", record={"l": record_hash(b"/etc")}, extra=[(link("l"), b"/etc")]),
    "a script with a path": wheel("evil", scripts={"../../../../usr/bin/sh": "evil:main"}),
    "a script with code": wheel("evil", scripts={"x": "os;import os:main"}),
    "a hash that is another": wheel("evil", record={"evil.py": record_hash(b"other")}),
    "no hash": wheel("evil", record={"evil.py": ""}),
    "a weak hash": wheel("evil", record={"evil.py": "md5=AAAA"}),
    "a file that RECORD lacks": wheel("evil", extra=[(zipfile.ZipInfo("more.py"), b"x")]),
    "another package": ("good-1.0-py3-none-any.whl", wheel("evil")[1]),
    "another form": wheel("evil", files={"evil-1.0.dist-info/WHEEL": "Wheel-Version: 2.0\n"}),
    "another form with scripts": wheel(
        "evil", files={"evil-1.0.dist-info/WHEEL": "Wheel-Version: 2.0\n"}, scripts={"x": "evil:main"}
    ),
    "a form that is not said": wheel("evil", files={"evil-1.0.dist-info/WHEEL": "Tag: x\n"}),
    "no archive": ("evil-1.0-py3-none-any.whl", b"no zip at all"),
    "a short archive": ("evil-1.0-py3-none-any.whl", wheel("evil")[1][:-30]),
    "no name of a wheel": ("evil.whl", wheel("evil")[1]),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_wheel_is_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArchive) as caught:
        laid(tmp_path, HOSTILE[kind])
    assert HOSTILE[kind][0] in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArchive, match="twice"):
        laid(tmp_path, wheel("evil", extra=[(zipfile.ZipInfo("evil.py"), b"other")]))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = wheel("bomb", files={f"bomb/{n}": bytes(10 << 20) for n in range(8)})
    assert len(bomb[1]) < 200_000
    with pytest.raises(TooLarge, match=r"bomb-1\.0-py3-none-any\.whl unpacks to"):
        laid(tmp_path, bomb)


def test_a_broken_member_is_an_error_with_the_name_of_the_wheel(tmp_path: Path) -> None:
    name, data = wheel("demo", files={"demo.py": "x" * 5000})
    at = data.index(b"demo.py") + 20
    with pytest.raises(ContentError, match=r"demo-1\.0"):
        laid(tmp_path, (name, data[:at] + b"\xff\xff\xff" + data[at + 3 :]))


def sized(name: str, size: int) -> LaidWheel:
    return LaidWheel(f"{name}-1.0-py3-none-any.whl", name * 4, size)


def test_large_wheels_lie_alone_and_small_ones_in_groups() -> None:
    large = [sized(f"large{n}", 2 << 20) for n in range(5)]
    small = [sized(f"small{n}", 1000) for n in range(40)]
    groups = divided([*small, *large], 100)
    assert [group[0] for group in groups[:5]] == large
    assert sorted(wheel.name for group in groups for wheel in group) == sorted(w.name for w in small + large)
    assert len(groups) <= 5 + 16


@pytest.mark.parametrize("room", [1, 2, 5, 30, 120])
def test_there_are_never_more_layers_than_there_is_room(room: int) -> None:
    wheels = [sized(f"w{n}", (n % 3) << 20) for n in range(300)]
    groups = divided(wheels, room)
    assert len(groups) <= room
    assert sum(map(len, groups)) == 300


def test_a_new_version_changes_its_group_alone() -> None:
    wheels = [sized(f"w{n}", 1000) for n in range(40)]
    moved = list(wheels)
    moved[7] = wheels[7].replace(name=wheels[7].name.replace("1.0", "2.0"), sha256="new")
    before, after = divided(wheels, 100), divided(moved, 100)
    assert sum(one != other for one, other in zip(before, after, strict=True)) == 1


SOURCE = b'''
"""Names that any process has interned, and some that none has."""
import os
def self(args, zzz_seldom_name): return {"args", "path", zzz_seldom_name, 3.5, (1, ("a", b"c"))}
class A:
    x: int = 10 ** 40
    def f(self): return lambda q: [q for _ in args]
'''


def test_byte_code_is_the_same_whatever_the_process_has_loaded() -> None:
    script = (
        "import sys; from importlib.util import *; exec(open(sys.argv[1]).read().replace('__main__', ''));"
    )
    script += "sys.stdout.buffer.write(pyc(sys.stdin.buffer.read(), '/x/y.py'))"
    words = [sys.executable, "-I", "-S", "-c", script, bytecode.__file__]
    done = subprocess.run(words, input=SOURCE, capture_output=True, check=True)
    assert done.stdout == bytecode.pyc(SOURCE, "/x/y.py") != b""


def test_byte_code_is_used_whatever_the_time_of_the_module(tmp_path: Path) -> None:
    module = tmp_path / "m.py"
    module.write_text("import sys; print(sys.modules[__name__].__cached__)")
    tag = sys.implementation.cache_tag or ""
    cached = Path(bytecode.cached_name(str(module), tag))
    cached.parent.mkdir()
    cached.write_bytes(bytecode.pyc(b"print('from byte code')", str(module)))
    words = [sys.executable, "-c", "import m"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "from byte code\n"


@pytest.mark.parametrize("source", [b"def", b"\0", b"x = '" + b"\\N{no}'", b"(" * 500 + b")" * 500])
def test_what_cannot_be_compiled_has_no_byte_code(source: bytes) -> None:
    assert bytecode.pyc(source, "/x.py") == b""
