"""Values of expressions in bake files, and how they turn into each other.

    value = None | bool | int | float | str | [value …] | {str: value}

A number without a fraction is an int. Sets, lists and tuples of HCL are lists here. Source: go-cty,
conversion of primitive types.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class BadValue(Exception):
    """An expression has no value; whoever knows the place says where."""


def number(value: Any) -> int | float:
    """A number, or a string that is one. Raises BadValue."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadValue(f"a number is required, not {kind(value)}")
    if not isinstance(value, str):
        return plain(value)
    try:
        return plain(float(value)) if set(value) & set(".eE") else int(value)
    except ValueError:
        raise BadValue(f"a number is required, not {value[:40]!r}") from None


def plain(value: int | float) -> int | float:
    """The same number, as an int where it has no fraction. Raises BadValue for none and infinity."""
    if isinstance(value, int):
        return value
    if value != value or value in (float("inf"), float("-inf")):
        raise BadValue("the result is no number")
    return int(value) if value == int(value) else value


def text(value: Any) -> str:
    """A string, or what a number or a bool is as one. Raises BadValue."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(plain(value))
    raise BadValue(f"a string is required, not {kind(value)}")


def truth(value: Any) -> bool:
    """A bool, or the strings "true" and "false". Raises BadValue."""
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise BadValue(f"a bool is required, not {kind(value)}")


def listed(value: Any) -> list[Any]:
    """A list, or the values of an object. Raises BadValue."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return [value[name] for name in sorted(value)]
    raise BadValue(f"a list is required, not {kind(value)}")


def mapping(value: Any) -> dict[str, Any]:
    """An object. Raises BadValue."""
    if isinstance(value, dict):
        return value
    raise BadValue(f"an object is required, not {kind(value)}")


def equal(one: Any, other: Any) -> bool:
    """Whether two values are equal: a bool is no number, and a string is neither."""
    return kind(one) == kind(other) and bool(one == other)


def kind(value: Any) -> str:
    """What a value is, for messages."""
    if isinstance(value, bool):
        return "bool"
    names = {str: "string", int: "number", float: "number", list: "list", dict: "object"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
