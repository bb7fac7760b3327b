"""Functions of lists and objects in bake files. Source: go-cty, function/stdlib; buildx, hclparser/stdlib."""

from __future__ import annotations

from itertools import product

from .values import BadValue, equal, kind, listed, mapping, number, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

_MOST_OF_RANGE = 1024
"""As in go-cty."""
_MOST = 1 << 16


def _distinct(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if not _has(found, value):
            found.append(value)
    return found


def _has(values: Iterable[Any], wanted: Any) -> bool:
    return any(equal(value, wanted) for value in values)


def _concat(*given: Any) -> list[Any]:
    return [value for some in given for value in listed(some)]


def _flatten(value: Any) -> list[Any]:
    out: list[Any] = []
    for each in listed(value):
        out += _flatten(each) if isinstance(each, list) else [each]
    return out


def _chunks(value: Any, size: Any) -> list[Any]:
    whole, step = listed(value), int(number(size))
    if step <= 0:
        return [whole]
    return [whole[at : at + step] for at in range(0, len(whole), step)]


def _coalesce(*given: Any) -> Any:
    """The first that is neither null nor ""."""
    for value in given:
        if value is not None and value != "":
            return value
    raise BadValue("no argument of coalesce() has a value")


def _coalesce_list(*given: Any) -> list[Any]:
    for value in given:
        if value:
            return listed(value)
    raise BadValue("all lists of coalescelist() are empty")


def _element(value: Any, at: Any) -> Any:
    """Numbers beyond the end begin again."""
    whole = listed(value)
    if not whole:
        raise BadValue("an empty list has no element")
    return whole[int(number(at)) % len(whole)]


def member(value: Any, key: Any) -> Any:
    """An element of a list, or the value of a key of an object. Raises BadValue."""
    if isinstance(value, dict):
        if text(key) not in value:
            raise BadValue(f"there is no {text(key)!r} in this object")
        return value[text(key)]
    whole, at = listed(value), int(number(key))
    if not 0 <= at < len(whole):
        raise BadValue(f"a list of {len(whole)} has no element {at}")
    return whole[at]


def _has_index(value: Any, key: Any) -> bool:
    if isinstance(value, dict):
        return isinstance(key, str) and key in value
    return isinstance(key, int) and 0 <= key < len(listed(value))


def _index_of(value: Any, wanted: Any) -> int:
    for at, each in enumerate(listed(value)):
        if equal(each, wanted):
            return at
    raise BadValue("item not found")


def _length(value: Any) -> int:
    if isinstance(value, list | dict):
        return len(value)
    raise BadValue(f"a list is required, not {kind(value)}")


def _lookup(value: Any, key: Any, default: Any) -> Any:
    return mapping(value).get(text(key), default)


def _merge(*given: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for value in given:
        found |= mapping(value) if value is not None else {}
    return found


def _range(*given: Any) -> list[int | float]:
    """LIMIT; START, LIMIT; START, LIMIT, STEP."""
    if not 1 <= len(given) <= 3:
        raise BadValue(f"range() does not take {len(given)} arguments")
    numbers = [number(each) for each in given]
    start, limit = (numbers[0], numbers[1]) if len(numbers) > 1 else (0, numbers[0])
    step = numbers[2] if len(numbers) > 2 else (1 if limit >= start else -1)
    if not step or (limit - start) * step < 0:
        raise BadValue("the step of range() leads away from its limit")
    if abs((limit - start) / step) > _MOST_OF_RANGE:
        raise BadValue(f"range() gives more than {_MOST_OF_RANGE} numbers")
    out = [start]
    while (out[-1] + step - limit) * step < 0:
        out.append(out[-1] + step)
    return out if start != limit else []


def _slice(value: Any, start: Any, end: Any) -> list[Any]:
    whole, first, last = listed(value), int(number(start)), int(number(end))
    if not 0 <= first <= last <= len(whole):
        raise BadValue(f"slice() from {first} to {last} of a list of {len(whole)}")
    return whole[first:last]


def _product(*given: Any) -> list[Any]:
    count = 1
    for value in given:
        count *= len(listed(value))
        if count > _MOST:
            raise BadValue(f"setproduct() gives more than {_MOST} elements")
    return [list(each) for each in product(*map(listed, given))]


def _intersection(first: Any, *others: Any) -> list[Any]:
    return _distinct(value for value in listed(first) if all(_has(listed(other), value) for other in others))


def _subtract(one: Any, other: Any) -> list[Any]:
    return _distinct(value for value in listed(one) if not _has(listed(other), value))


def _difference(one: Any, other: Any) -> list[Any]:
    return _subtract(one, other) + _subtract(other, one)


def _zip(names: Any, values: Any) -> dict[str, Any]:
    keys, contents = listed(names), listed(values)
    if len(keys) != len(contents):
        raise BadValue(f"zipmap() of {len(keys)} names and {len(contents)} values")
    return dict(zip(map(text, keys), contents, strict=True))


TABLE: Mapping[str, Callable[..., Any]] = {
    "chunklist": _chunks,
    "coalesce": _coalesce,
    "coalescelist": _coalesce_list,
    "compact": lambda value: [each for each in listed(value) if each not in ("", None)],
    "concat": _concat,
    "contains": lambda value, wanted: _has(listed(value), wanted),
    "distinct": lambda value: _distinct(listed(value)),
    "element": _element,
    "flatten": _flatten,
    "hasindex": _has_index,
    "index": member,
    "indexof": _index_of,
    "keys": lambda value: sorted(mapping(value)),
    "length": _length,
    "lookup": _lookup,
    "merge": _merge,
    "range": _range,
    "reverselist": lambda value: listed(value)[::-1],
    "sethaselement": lambda value, wanted: _has(listed(value), wanted),
    "setintersection": _intersection,
    "setproduct": _product,
    "setsubtract": _subtract,
    "setsymmetricdifference": _difference,
    "setunion": lambda *given: _distinct(_concat(*given)),
    "slice": _slice,
    "sort": lambda value: sorted(map(text, listed(value))),
    "values": lambda value: [value[name] for name in sorted(mapping(value))],
    "zipmap": _zip,
}
