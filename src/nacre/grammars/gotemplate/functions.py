"""The functions of templates: Go's own, and docker's.

Each says what it takes: `value` and `any` anything (to `any` what is absent is nil), `text`, `int`. A Failure
is an error that Go's function returns. Sources: Go text/template, funcs.go; docker/cli templates.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...words.value import Value
from .encode import to_json
from .printf import sprint, sprintf
from .values import INVALID, GoList, GoMap, Nil, is_nil, is_true, to_bytes, to_text, type_name


class Failure(Exception):
    """What a function has to say."""


class Function(Value):
    """`call` with arguments of the `takes`; the last of them repeats when `repeats`."""

    call: Callable[..., Any]
    takes: tuple[str, ...]
    repeats: bool = False

    @property
    def least(self) -> int:
        """How many arguments there must be."""
        return len(self.takes) - self.repeats

    def kind(self, index: int) -> str:
        """What the argument at `index` must be."""
        return self.takes[min(index, len(self.takes) - 1)]


# Go's


def _index(item: Any, *keys: Any) -> Any:
    if item is None or item is INVALID:
        raise Failure("index of untyped nil")
    for key in keys:
        if item is None or isinstance(item, Nil):
            raise Failure("index of nil pointer")
        item = _at(item, key)
    return item


def _at(item: Any, key: Any) -> Any:
    if isinstance(item, str):
        data = to_bytes(item)
        return data[_place(key, len(data), "string")]
    if isinstance(item, list | tuple):
        return item[_place(key, len(item), "slice")]
    if isinstance(item, Mapping) and not hasattr(item, "field"):
        if key is None or key is INVALID:
            raise Failure("value is nil; should be of type string")
        if not isinstance(key, str):
            raise Failure(f"value has type {type_name(key)}; should be string")
        return item.get(key, getattr(item, "zero", None))
    raise Failure(f"can't index item of type {type_name(item)}")


def _place(key: Any, size: int, indexed: str = "") -> int:
    """A place up to the end; of what is `indexed`, before the end."""
    if key is None or key is INVALID:
        raise Failure("cannot index slice/array with nil")
    if not isinstance(key, int) or isinstance(key, bool):
        raise Failure(f"cannot index slice/array with type {type_name(key)}")
    if not 0 <= key <= size:
        raise Failure(f"index out of range: {key}")
    if key == size and indexed:
        raise Failure(f"reflect: {indexed} index out of range")
    return key


def _slice(item: Any, *places: Any) -> Any:
    if item is None or item is INVALID:
        raise Failure("slice of untyped nil")
    if isinstance(item, Nil):
        raise Failure("slice of nil pointer")
    if len(places) > 3:
        raise Failure(f"too many slice indexes: {len(places)}")
    if isinstance(item, str):
        if len(places) == 3:
            raise Failure("cannot 3-index slice a string")
        data = to_bytes(item)
        return to_text(data[slice(*_bounds(len(data), places))])
    if not isinstance(item, list | tuple):
        raise Failure(f"can't slice item of type {type_name(item)}")
    return GoList(item[slice(*_bounds(len(item), places))], type_name(item))


def _bounds(size: int, places: Sequence[Any]) -> tuple[int, int]:
    found = [_place(place, size) for place in places]
    begin, end = (*found[:2], *[0, size][len(found) :])
    if begin > end:
        raise Failure(f"invalid slice index: {begin} > {end}")
    if len(found) == 3 and end > found[2]:
        raise Failure(f"invalid slice index: {end} > {found[2]}")
    return begin, end


def _len(item: Any) -> int:
    if item is None or isinstance(item, Nil):
        raise Failure("len of nil pointer")
    if item is INVALID:
        raise Failure("reflect: call of reflect.Value.Type on zero Value")
    if isinstance(item, str):
        return len(to_bytes(item))
    if isinstance(item, list | tuple) or (isinstance(item, Mapping) and not hasattr(item, "field")):
        return len(item)
    raise Failure(f"len of type {type_name(item)}")


def _call(function: Any, *_arguments: Any) -> Any:
    """No value here is a function."""
    if function is None or function is INVALID:
        raise Failure("call of nil")
    raise Failure(f"non-function of type {type_name(function)}")


def _eq(first: Any, *others: Any) -> bool:
    if not others:
        raise Failure("missing argument for comparison")
    return any(_same(first, other) for other in others)


def _same(one: Any, other: Any) -> bool:
    kind, another = _basic(one), _basic(other)
    if kind != another and not is_untyped(one) and not is_untyped(other):
        raise Failure(f"incompatible types for comparison: {type_name(one)} and {type_name(other)}")
    if kind == another and kind:
        return bool(one == other)
    if kind or another:
        return False
    if is_nil(one) or is_nil(other):
        return is_nil(one) == is_nil(other)
    raise Failure(f"non-comparable type {sprint([other])}: {type_name(other)}")


def is_untyped(value: Any) -> bool:
    """nil that has no type at all."""
    return value is None or value is INVALID


def _basic(value: Any) -> str:
    for kind, name in ((bool, "bool"), (int, "int"), (float, "float"), (str, "string")):
        if isinstance(value, kind):
            return name
    return ""


def _lt(one: Any, other: Any) -> bool:
    kind, another = _basic(one), _basic(other)
    if not kind or not another or kind == another == "bool":
        raise Failure("invalid type for comparison")
    if kind != another:
        raise Failure(f"incompatible types for comparison: {type_name(one)} and {type_name(other)}")
    return to_bytes(one) < to_bytes(other) if kind == "string" else bool(one < other)


def _le(one: Any, other: Any) -> bool:
    return _lt(one, other) or _eq(one, other)


def _text(values: Sequence[Any]) -> str:
    """As a template prints them."""
    return values[0] if len(values) == 1 and isinstance(values[0], str) else sprint(
        ["<no value>" if is_untyped(value) else value for value in values]
    )  # fmt: skip


_HTML = str.maketrans({"\0": "\ufffd", '"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;"})
_JS = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}


def _js(*values: Any) -> str:
    return "".join(_JS.get(char) or _js_char(char) for char in _text(values))


def _js_char(char: str) -> str:
    if char >= " " and (char < "\x7f" or char.isprintable() or char == "\x7f"):
        return char
    return f"\\u{ord(char):04X}"


def _urlquery(*values: Any) -> str:
    from urllib.parse import quote_plus

    return quote_plus(to_bytes(_text(values)), safe="-_.~")


# docker's


def _join(items: Any, separator: str) -> str:
    if items is None or items is INVALID:
        return ""
    if isinstance(items, list | tuple):
        return separator.join(sprint([item]) for item in items)
    if isinstance(items, GoMap) or (isinstance(items, Mapping) and not hasattr(items, "field")):
        return separator.join(sorted(sprint([item]) for item in items.values()))
    raise Failure(f"expected slice, got {type_name(items)}")


def _split(text: str, separator: str) -> GoList:
    return GoList(text.split(separator) if separator else list(text), "[]string")


def _title(text: str) -> str:
    before, out = " ", []
    for char in text:
        out.append(
            char if before == "_" or before.isalpha() or before.isdecimal() else _one(char, char.title())
        )
        before = char
    return "".join(out)


def _one(char: str, changed: str) -> str:
    return changed if len(changed) == 1 else char


def _lower(text: str) -> str:
    return "".join(_one(char, char.lower()) for char in text)


def _upper(text: str) -> str:
    return "".join(_one(char, char.upper()) for char in text)


def _pad(text: str, before: int, after: int) -> str:
    if text and (before < 0 or after < 0):
        raise Failure("strings: negative Repeat count")
    return " " * min(before, 1 << 16) + text + " " * min(after, 1 << 16) if text else text


def _truncate(text: str, length: int) -> str:
    data = to_bytes(text)
    if length < 0 <= len(data) - length:
        raise Failure(f"runtime error: slice bounds out of range [:{length}]")
    return text if len(data) < length else to_text(data[:length])


FUNCTIONS: Mapping[str, Function] = {
    "and": Function(lambda *_values: None, ("value", "value"), True),
    "call": Function(_call, ("value", "value"), True),
    "eq": Function(_eq, ("value", "value"), True),
    "ge": Function(lambda one, other: not _lt(one, other), ("value", "value")),
    "gt": Function(lambda one, other: not _le(one, other), ("value", "value")),
    "html": Function(lambda *values: _text(values).translate(_HTML), ("any",), True),
    "index": Function(_index, ("value", "value"), True),
    "join": Function(_join, ("any", "text")),
    "js": Function(_js, ("any",), True),
    "json": Function(to_json, ("any",)),
    "le": Function(_le, ("value", "value")),
    "len": Function(_len, ("value",)),
    "lower": Function(_lower, ("text",)),
    "lt": Function(_lt, ("value", "value")),
    "ne": Function(lambda one, other: not _eq(one, other), ("value", "value")),
    "not": Function(lambda value: not is_true(value), ("value",)),
    "or": Function(lambda *_values: None, ("value", "value"), True),
    "pad": Function(_pad, ("text", "int", "int")),
    "print": Function(lambda *values: sprint(values), ("any",), True),
    "printf": Function(lambda form, *values: sprintf(form, values), ("text", "any"), True),
    "println": Function(lambda *values: " ".join(sprint([one]) for one in values) + "\n", ("any",), True),
    "slice": Function(_slice, ("value", "value"), True),
    "split": Function(_split, ("text", "text")),
    "title": Function(_title, ("text",)),
    "truncate": Function(_truncate, ("text", "int")),
    "upper": Function(_upper, ("text",)),
    "urlquery": Function(_urlquery, ("any",), True),
}

HEADER_FUNCTIONS: Mapping[str, Function] = {**FUNCTIONS} | {
    name: Function(lambda text, *_rest: text, FUNCTIONS[name].takes)
    for name in ("join", "json", "lower", "split", "title", "truncate", "upper")
}
"""For the headings of a table, which stay as they are. Source: docker/cli, HeaderFunctions."""
