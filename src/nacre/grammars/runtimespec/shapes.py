"""What the values of a document may be, as functions that check a place in it and give its value.

A shape takes a `JsonNode` and raises UsageError, which names the place. What is null counts as absent, as in
Go's JSON. Names that the runtime-spec does not have are left out, as it demands ("Extensibility").
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..jsonnode import JsonNode

    Shape = Callable[[JsonNode], Any]

MOST = 4096
"""Entries of a list."""


def text(node: JsonNode) -> str:
    """Some text for the kernel: not empty, no null byte."""
    found = plain(node)
    if not found:
        raise node.wrong("is empty")
    return found


def plain(node: JsonNode) -> str:
    """As `text`, but it may be empty."""
    if not isinstance(node.value, str):
        raise node.wrong("is not a string")
    if "\0" in node.value:
        raise node.wrong("has a null byte")
    try:
        node.value.encode()
    except UnicodeEncodeError:
        raise node.wrong("is not valid Unicode") from None
    return node.value


def path(node: JsonNode) -> str:
    """A path that begins with a slash."""
    found = text(node)
    if not found.startswith("/"):
        raise node.wrong(f"is {node.shown()}, not an absolute path")
    return found


def switch(node: JsonNode) -> bool:
    """Either true or false."""
    if not isinstance(node.value, bool):
        raise node.wrong("is not true or false")
    return node.value


def number(least: int, most: int) -> Shape:
    """A whole number in a range."""
    return lambda node: node.number(most, least)


def word(*words: str) -> Shape:
    """A string that is one of these."""
    return lambda node: node.word(words)


def each(shape: Shape, most: int = MOST) -> Shape:
    """A list whose entries have a shape."""

    def check(node: JsonNode) -> list[Any]:
        found = list(node.items())
        if len(found) > most:
            raise node.wrong(f"has {len(found)} entries, more than {most}")
        for one in found:
            if one.value is None:
                raise one.wrong("is null")
        return [shape(one) for one in found]

    return check


def table(shape: Shape, most: int = MOST) -> Shape:
    """An object with names that the spec does not know."""

    def check(node: JsonNode) -> dict[str, Any]:
        if len(node.object()) > most:
            raise node.wrong(f"has more than {most} entries")
        names = [name for name, value in node.value.items() if value is not None]
        for name in names:
            if "\0" in name:
                raise node.at(name).wrong("has a null byte in its name")
        return {name: shape(node.at(name)) for name in names}

    return check


def fields(needed: str = "", **shapes: Shape) -> Shape:
    """An object with these names; those in `needed` must be there."""
    necessary = needed.split()

    def check(node: JsonNode) -> dict[str, Any]:
        node.object()
        for name in necessary:
            if node.get(name) is None:
                raise node.at(name).wrong("is missing")
        there = [name for name in shapes if node.get(name) is not None]
        return {name: shapes[name](node.at(name)) for name in there}

    return check


def refused(why: str = "is not supported") -> Shape:
    """What the spec has and we do not; something empty asks for nothing."""

    def check(node: JsonNode) -> Any:
        if node.value not in ("", [], {}, False):
            raise node.wrong(why)
        return node.value

    return check
