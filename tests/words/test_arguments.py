"""The arguments of the Python API: a wrong one is a sentence that names it, before anything has happened."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

import nacre
from nacre.ground import userns
from nacre.words.arguments import READERS
from nacre.words.errors import NacreError, UsageError
from nacre.words.oci import Platform
from nacre.words.progress import NullProgress

METHODS = {
    name: method
    for name, method in vars(nacre.Engine).items()
    if callable(method) and (name == "__init__" or name[0] != "_") and name != "close"
} | {"open_store": nacre.open_store}
NAMED = [
    (name, key)
    for name, method in METHODS.items()
    for key in inspect.signature(method).parameters
    if key != "self"
]


def read(kind: str, value: object) -> Any:
    return READERS[kind]("it", value)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("str", "a", "a"),
        ("str", "a\udcff", "a\udcff"),
        ("AnyPath", "a", "a"),
        ("AnyPath", PurePosixPath("/a/b"), "/a/b"),
        ("bool", True, True),
        ("int", 3, 3),
        ("int | None", None, None),
        ("bytes", bytearray(b"a"), b"a"),
        ("Sequence[str]", ["a"], ("a",)),
        ("Sequence[str]", (), ()),
        ("Mapping[str, str] | None", {"a": "b"}, {"a": "b"}),
        ("Mapping[str, str] | None", None, None),
        ("Platform | None", "linux/arm64", Platform("linux", "arm64")),
        ("Platform | None", None, None),
    ],
)
def test_what_is_taken(kind: str, value: object, expected: object) -> None:
    found = read(kind, value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("str", None, "it must be a str, not NoneType"),
        ("str", b"a", "it must be a str, not bytes"),
        ("str", Path("a"), "it must be a str, not PosixPath"),
        ("str", "a\0b", "it has a NUL character: 'a\\x00b'"),
        ("str", "\ud800", "it is not text: '\\ud800'"),
        ("AnyPath", 1, "it must be a str or a path, not int"),
        ("AnyPath", Path("a\0"), "it has a NUL character: 'a\\x00'"),
        ("bool", 1, "it must be True or False, not int"),
        ("int", True, "it must be an int, not bool"),
        ("int | None", "1", "it must be an int, not str"),
        ("bytes", "a", "it must be bytes, not str"),
        ("Sequence[str]", "abc", "it must be a sequence of str, not str"),
        ("Sequence[str]", b"abc", "it must be a sequence of str, not bytes"),
        ("Sequence[str]", {"a": "b"}, "it must be a sequence of str, not dict"),
        ("Sequence[str]", iter("a"), "it must be a sequence of str, not str_ascii_iterator"),
        ("Sequence[str]", ["a", 1], "each of it must be a str, not int"),
        ("Mapping[str, str] | None", ["a"], "it must be a mapping of str, not list"),
        ("Mapping[str, str] | None", {1: "a"}, "each name in it must be a str, not int"),
        ("Mapping[str, str] | None", {"a": 1}, "it['a'] must be a str, not int"),
        ("Platform | None", 1, "it must be a Platform, not int"),
        ("Progress | None", 1, "it must be a Progress, not int"),
    ],
)
def test_what_is_refused(kind: str, value: object, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(kind, value)
    assert caught.value.message == message


def test_a_progress_is_taken() -> None:
    progress = NullProgress()
    assert read("Progress | None", progress) is progress


@pytest.mark.parametrize("name", METHODS)
def test_every_method_reads_every_argument(name: str) -> None:
    """What is not checked shows here: a method without the decorator, an annotation without a reader."""
    method: Any = METHODS[name]
    assert method.__wrapped__.__annotations__
    for key, kind in method.__annotations__.items():
        assert key == "return" or kind in READERS, f"{name}({key}: {kind})"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> nacre.Engine:
    try:
        return nacre.open_store(tmp_path_factory.mktemp("engine"))
    except NacreError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("name", "key"), NAMED)
def test_a_wrong_type_is_a_usage_error(engine: nacre.Engine, name: str, key: str) -> None:
    method: Any = METHODS[name]
    given = dict.fromkeys(inspect.signature(method).parameters, "x:1")
    given = {key: value for key, value in given.items() if key != "self" and _is_needed(method, key)}
    given = {key: ["x:1"] if key in ("names", "images") else value for key, value in given.items()}
    call = method if name == "open_store" else method.__get__(engine)
    with pytest.raises(UsageError, match=f"^{key} must be "):
        call(**given | {key: object()})
    assert engine.images() == []


def _is_needed(method: Callable[..., Any], key: str) -> bool:
    return inspect.signature(method).parameters[key].default is inspect.Parameter.empty


def test_paths(tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Other").write_text("FROM scratch\nCOPY Other /\n")
    if not userns.mapped() and os.geteuid():
        try:
            userns.call(os.getpid)
        except NacreError as error:
            pytest.skip(str(error))
    with nacre.open_store(tmp_path / "store", docker_config=tmp_path / "config.json") as engine:
        engine.build(context, dockerfile=context / "Other", tags=["app:1"])
        engine.save(["app:1"], tmp_path / "app.tar")
        assert engine.load(tmp_path / "app.tar") == [engine.image("app:1")]
        with pytest.raises(UsageError, match="tags must be a sequence of str, not str"):
            engine.build(context, dockerfile="Other", tags="abc")
        with pytest.raises(UsageError, match="command must be a sequence of str, not str"):
            engine.run("app:1", "echo hi")


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with nacre.open_store(tmp_path / "store") as engine:
        for call in (engine.load, engine.import_tar, engine.configure, engine.mirror):
            with pytest.raises(NacreError, match="nope: no such file or directory"):
                call(tmp_path / "nope")
        before = tmp_path / "before.tar"
        before.write_bytes(b"kept")
        with pytest.raises(NacreError, match="No such image"):
            engine.save(["nope"], before)
        assert before.read_bytes() == b"kept"
