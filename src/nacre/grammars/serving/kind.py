"""How a value of the configuration is read and written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from ...words import durations
from ...words.errors import UsageError
from ..config.schema import Wrong, size, word, yes

if TYPE_CHECKING:
    from collections.abc import Callable


class Secret(str):
    """A text that no message and no listing shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class ValueKind(NamedTuple):
    """`name` is for the page of keys. `read` raises Wrong, with what was expected; it takes the text of a
    variable or a flag as well as what TOML gives. `write` gives TOML.
    """

    name: str
    read: Callable[[object], object]
    write: Callable[[object], str]


def _quoted(value: object) -> str:
    return json.dumps(str(value), ensure_ascii=False)


def _number(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        value = int(value)
    if type(value) is not int or value < 0:
        raise Wrong("a whole number")
    return value


def _duration(value: object) -> float:
    expected = 'a duration like "30s", "12h" or "30d"'
    if type(value) in (int, float) and 0 <= float(value) < 1e10:  # type: ignore[arg-type]
        return float(value)  # type: ignore[arg-type]
    if not isinstance(value, str) or not value:
        raise Wrong(expected)
    try:
        return durations.seconds(value)
    except UsageError:
        raise Wrong(expected) from None


def _shown_duration(value: object) -> str:
    """In the largest unit that takes no fraction."""
    seconds = float(str(value))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if seconds >= length and seconds % length == 0:
            return f'"{int(seconds // length)}{unit}"'
    return f'"{seconds:g}s"'


def _shown_size(value: object) -> str:
    """In the largest unit of 1024 that takes no fraction."""
    size = int(str(value))
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if size >= 1024**power and size % 1024**power == 0:
            return f'"{size // 1024**power}{unit}"'
    return str(size)


def _texts(value: object) -> tuple[str, ...]:
    """Of a variable the parts between commas."""
    items = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)):
        raise Wrong('a list like ["a", "b"]')
    return tuple(map(word, items))


def _secret(value: object) -> Secret:
    return Secret(word(value))


def choice(*words: str) -> ValueKind:
    """One of some words."""

    def read(value: object) -> str:
        if value not in words:
            raise Wrong(" or ".join(map(repr, words)))
        return str(value)

    return ValueKind(" or ".join(f"`{each}`" for each in words), read, _quoted)


TEXT = ValueKind("text", word, _quoted)
PATH = ValueKind("path", word, _quoted)
"""Of a file or a folder; in the file, from the folder in which that lies."""
NUMBER = ValueKind("number", _number, str)
SIZE = ValueKind("size", size, _shown_size)
DURATION = ValueKind("duration", _duration, _shown_duration)
FLAG = ValueKind("true or false", yes, lambda value: str(value).lower())
TEXTS = ValueKind("list of texts", _texts, lambda value: json.dumps(list(value), ensure_ascii=False))  # type: ignore[call-overload]
SECRET = ValueKind("secret", _secret, lambda _value: '"***"')
"""May also be given as a file that holds it: key `password`, key `password-file`."""
