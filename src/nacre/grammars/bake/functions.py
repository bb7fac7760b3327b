"""The functions that bake files may call, by name: those of buildx's standard library.

`bcrypt` and `rsadecrypt` are refused by name: no build needs them, and each would take a library.
"""

from __future__ import annotations

from inspect import signature

from . import arithmetic, encodings, lists, strings
from .values import BadValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

_MOST = 1 << 20
"""Characters or elements of what a function gives."""

_REFUSED = ("bcrypt", "rsadecrypt", "convert")
TABLE: Mapping[str, Callable[..., Any]] = {
    **arithmetic.TABLE, **strings.TABLE, **lists.TABLE, **encodings.TABLE,
}  # fmt: skip


def call(name: str, given: Sequence[Any]) -> Any:
    """What the function gives for these values. Raises BadValue."""
    if name in _REFUSED:
        raise BadValue(f"the function {name} is not supported")
    function = TABLE.get(name)
    if function is None:
        raise BadValue(f"there is no function named {name!r}")
    return bounded(called(name, function, given))


def called(name: str, function: Callable[..., Any], given: Sequence[Any]) -> Any:
    """Call it, if it takes that many values. Raises BadValue."""
    try:
        signature(function).bind(*given)
    except TypeError:
        raise BadValue(f"{name}() does not take {len(given)} arguments") from None
    try:
        return function(*given)
    except (OverflowError, ZeroDivisionError, ValueError, MemoryError) as error:
        raise BadValue(f"{name}(): {error}") from None


def bounded(value: Any) -> Any:
    """The value, if it has a size that a bake file can mean. Raises BadValue."""
    if isinstance(value, str | list | dict) and len(value) > _MOST:
        raise BadValue(f"a value of more than {_MOST} elements")
    return value
