from __future__ import annotations

from typing import Any

import pytest

from nacre.words.mount import Bind, Erofs, Overlay, Tmpfs
from nacre.words.progress import NullProgress
from nacre.words.value import Value


class Point(Value):
    x: int
    y: int = 0
    _cache = 3


class Named(Point):
    name: str = ""

    def _check(self) -> None:
        if self.x < 0:
            raise ValueError("x must not be negative")


def test_fields_come_by_place_and_by_name() -> None:
    assert Point(1, 2) == Point(y=2, x=1)
    assert Point(1).y == 0
    assert Named(1, 2, "a").name == "a"
    assert repr(Named(1)) == "Named(x=1, y=0, name='')"


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1, 2, 3), {}), ((1,), {"x": 1}), ((1,), {"z": 1})])
def test_wrong_fields(args: tuple[int, ...], kwargs: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Point(*args, **kwargs)


def test_values_do_not_change() -> None:
    point = Point(1)
    with pytest.raises(AttributeError):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del point.x
    assert point.replace(x=5) == Point(5)
    assert point == Point(1)


def test_equality_is_of_type_and_fields() -> None:
    assert Point(1) != Named(1)
    assert Point(1) != (1, 0)
    assert len({Point(1), Point(1, 0), Point(2)}) == 2


def test_check_runs_always() -> None:
    with pytest.raises(ValueError, match="negative"):
        Named(-1)
    with pytest.raises(ValueError, match="negative"):
        Named(1).replace(x=-1)


def test_mounts_are_values() -> None:
    assert Overlay(("/a", Erofs("/i", ("/d",))), upper="/u") == Overlay(("/a", Erofs("/i", ("/d",))), "/u")
    assert Bind("/x") != Bind("/x", readonly=True)
    assert Tmpfs().mode == 0o1777


def test_null_progress_takes_everything(capfd: pytest.CaptureFixture[str]) -> None:
    task = NullProgress().task("x")
    task.phase("Downloading", 3)
    task.advance(3)
    task.done("ok")
    NullProgress().line("news")
    assert capfd.readouterr() == ("", "")
