"""Values of templates: plain JSON data, and the classes here where Go knows more of its type.

Go                       Python
string                   str; bytes that are no UTF-8 as lone surrogates; GoString where it has methods
int, float64, bool       int, float, bool
[]T, map[string]T        list, dict (T is any); GoList, GoMap where T is known, or the whole is nil
struct                   Struct
nil pointer              Nil
nil any                  None
the zero reflect.Value   INVALID: what a map has not got
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

Methods = Mapping[str, Callable[..., Any]]


class _Invalid:
    """The type of INVALID."""


INVALID = _Invalid()


class GoString(str):
    """A string of a named type with methods, `nat.Port`."""

    type = "string"
    methods: Methods = MappingProxyType({})


class GoList(list[Any]):
    """A slice of one type; `nil` if it was never made: printed `[]`, in JSON null."""

    def __init__(self, values: Any = (), type: str = "[]interface {}", *, nil: bool = False) -> None:
        super().__init__(values)
        self.type, self.nil = type, nil


class GoMap(dict[str, Any]):
    """A map with text as keys; `zero` is what `index` gives for a key that is not there."""

    def __init__(
        self, values: Any = (), type: str = "map[string]interface {}", *, zero: Any = None, nil: bool = False
    ) -> None:
        super().__init__(values)
        self.type, self.zero, self.nil = type, zero, nil


class Struct(dict[str, Any]):
    """Named fields: asking for another is an error. In JSON those of `omitted` are left out when empty.

    `aliases` are names in Go where JSON has another.
    """

    def __init__(
        self, values: Any = (), type: str = "struct", *, omitted: frozenset[str] = frozenset(),
        aliases: Mapping[str, str] | None = None, methods: Methods | None = None,
    ) -> None:  # fmt: skip
        super().__init__(values)
        self.type, self.omitted = type, omitted
        self.aliases, self.methods = aliases or {}, methods or {}

    @property
    def names(self) -> list[str]:
        """Of the fields, as templates have them."""
        known = {field: name for name, field in self.aliases.items()}
        return [known.get(field, field) for field in self]

    def field(self, name: str) -> Any:
        """The value of field `name`. Raises KeyError."""
        return self[self.aliases.get(name, name)]


class Nil:
    """A nil pointer to `type`."""

    def __init__(self, type: str) -> None:
        self.type = "*" + type


def type_name(value: Any) -> str:
    """The type as Go writes it in messages."""
    if isinstance(value, GoString | GoList | GoMap | Struct | Nil):
        return value.type
    names = {
        bool: "bool",
        int: "int",
        float: "float64",
        str: "string",
        list: "[]interface {}",
        tuple: "[]interface {}",
    }
    if isinstance(value, Mapping):
        return "map[string]interface {}"
    return names.get(type(value), "interface {}")


def is_true(value: Any) -> bool:
    """What `if` holds for true: whatever is not empty, zero or nil; a struct always."""
    if value is INVALID or isinstance(value, Nil):
        return False
    return True if isinstance(value, Struct) else bool(value)


def is_nil(value: Any) -> bool:
    """nil of whatever type."""
    return value is None or value is INVALID or isinstance(value, Nil) or bool(getattr(value, "nil", False))


def to_bytes(text: str) -> bytes:
    """The bytes of a string, as Go counts and cuts them."""
    return text.encode("utf-8", "surrogateescape" if _is_escaped(text) else "surrogatepass")


def _is_escaped(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" and not "\udc80" <= char <= "\udcff" for char in text)


def to_text(data: bytes) -> str:
    """The string of these bytes."""
    return data.decode("utf-8", "surrogateescape")


def plain(value: Any) -> Any:
    """The same as data for JSON: nil is None, what is omitted when empty is gone."""
    if isinstance(value, Struct):
        return {
            name: plain(item)
            for name, item in value.items()
            if not (name in value.omitted and is_empty(item))
        }
    if value is INVALID or is_nil(value):
        return None
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def is_empty(value: Any) -> bool:
    """As encoding/json sees `omitempty`: a struct never is."""
    return not isinstance(value, Struct) and not is_true(value)
