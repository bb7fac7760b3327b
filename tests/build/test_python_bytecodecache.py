"""Byte code that is taken out of the layer of an earlier version of a package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wheelmaker import wheel

from nacre.services.build.python import bytecode
from nacre.services.build.python.bytecodecache import BytecodeCache
from nacre.services.build.python.compile import compile_here
from nacre.services.build.python.layout import packages
from nacre.services.build.python.wheel import opened
from nacre.services.build.python.wheellayers import LaidWheel, lay

SAME, OTHER = "demo/same.py", "demo/other.py"
TEXT = "def same(x):\n    return [y for y in x]\n"


def wheel_of(folder: Path, version: str, name: str = "demo") -> LaidWheel:
    made, data = wheel(name, version, files={SAME: TEXT, OTHER: f"V = {version!r}\n"})
    (folder / made).write_bytes(data)
    return LaidWheel(made, made, len(data), str(folder / made))


def modules(one: LaidWheel) -> dict[str, bytes]:
    with opened(one.path, one.name) as archive:
        return dict(archive.modules("3.12"))


def known(store: Any, one: LaidWheel, short: str = "3.12", code: str = "1") -> list[str]:
    """The modules whose byte code is known, each of which must be what a compiler gives."""
    with BytecodeCache(store, short, code) as cache:
        found = {path: made for path, text in modules(one).items() if (made := cache.of(one, path, text))}
    assert found == {path: bytecode.pyc(modules(one)[path], path) for path in found}
    return [path.removeprefix(packages("3.12") + "/") for path in found]


def keep(store: Any, one: LaidWheel) -> Any:
    code = compile_here(modules(one).items(), store.budget)
    _, diff_id = lay(store, [one], "3.12", code, "cpython-312")
    BytecodeCache(store, "3.12", "1").keep([(one, diff_id)])
    return diff_id


def test_a_module_that_has_not_changed_is_known(store: Any, tmp_path: Path) -> None:
    assert known(store, wheel_of(tmp_path, "1.0")) == []
    keep(store, wheel_of(tmp_path, "1.0"))
    assert known(store, wheel_of(tmp_path, "1.1")) == [SAME]


def test_byte_code_of_another_compiler_version_or_package_is_not_taken(store: Any, tmp_path: Path) -> None:
    keep(store, wheel_of(tmp_path, "1.0"))
    new = wheel_of(tmp_path, "1.1")
    assert known(store, new, code="2") == known(store, new, short="3.13") == []
    assert known(store, wheel_of(tmp_path, "1.1", "demo_two")) == []


def test_a_layer_that_is_gone_is_no_error(store: Any, tmp_path: Path) -> None:
    one = wheel_of(tmp_path, "1.0")
    BytecodeCache(store, "3.12", "1").keep([(one, "sha256:" + "1" * 64)])  # type: ignore[list-item]
    assert known(store, one) == []


def test_a_memory_that_cannot_be_read_is_no_error(store: Any, tmp_path: Path) -> None:
    keep(store, wheel_of(tmp_path, "1.0"))
    (file,) = Path(store.root, "build/contexts").glob("wheels-*")
    file.write_bytes(b"no marshal")
    assert known(store, wheel_of(tmp_path, "1.1")) == []
