"""What `words.light` gives does as the Python library's does."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nacre.words import light

LIBRARIES: list[Any] = [light, contextlib]


class Marker(Exception):
    """Raised by the tests alone."""


def managed(library: Any, after: Callable[[list[str]], None], body: BaseException | None) -> list[str]:
    """What happens when the block of a manager raises `body`, and the manager does `after` at the error."""
    said: list[str] = []

    @library.contextmanager
    def manager(name: str) -> Iterator[str]:
        said.append("enter")
        try:
            yield name
        except BaseException as error:
            said.append(f"saw {type(error).__name__}")
            after(said)
        finally:
            said.append("end")

    try:
        with manager("me") as name:
            said.append(name)
            if body:
                raise body
        said.append("went on")
    except BaseException as error:
        said.append(f"raised {type(error).__name__} {error} from {error.__cause__!r}")
    return said


def again(_said: list[str]) -> None:
    raise


def other(_said: list[str]) -> None:
    raise ValueError("other")


def nothing(_said: list[str]) -> None:
    pass


@pytest.mark.parametrize("after", [again, other, nothing])
@pytest.mark.parametrize("body", [None, Marker("x"), KeyboardInterrupt(), StopIteration(3), GeneratorExit()])
def test_a_manager_does_as_that_of_the_library(
    after: Callable[[list[str]], None], body: BaseException | None
) -> None:
    own, standard = (managed(library, after, body) for library in LIBRARIES)
    assert own == standard


@pytest.mark.parametrize("error", [None, Marker(), KeyError(), LookupError(), KeyboardInterrupt()])
def test_suppressing_does_as_that_of_the_library(error: BaseException | None) -> None:
    def outcome(library: Any) -> str:
        try:
            with library.suppress(Marker, LookupError):
                if error:
                    raise error
                return "went on"
        except BaseException as found:
            return repr(found)
        return "ended"

    assert outcome(light) == outcome(contextlib)


@pytest.mark.parametrize("kind", [light.cached_property, functools.cached_property])
def test_a_cached_property_is_found_once_and_can_be_set(kind: Any) -> None:
    class Counted:
        calls = 0

        @kind
        def value(self) -> int:
            """How many calls."""
            self.calls += 1
            return self.calls

    one, two = Counted(), Counted()
    assert (one.value, one.value, two.value, one.calls) == (1, 1, 1, 1)
    two.value = 9
    assert (two.value, Counted.value.__doc__) == (9, "How many calls.")
