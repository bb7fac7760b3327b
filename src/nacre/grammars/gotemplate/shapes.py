"""Types of documents, written down as text, and documents filled by them.

    Shapes('''
        State container.State    Status string   Running bool   Health? *Health   Tags []string
        Health container.Health  Log []any
    ''')

Each line is a name, the type as Go's messages have it, and its fields in order: name and type in turn. A `?`
after a name: left out of JSON when it is empty. `ID=Id`: `ID` in Go and `Id` in JSON. `struct{}` has
no fields, and what a document has there counts for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...words.value import Value
from .values import GoList, GoMap, GoString, Methods, Nil, Struct

_SCALARS: Mapping[str, Any] = {
    "string": "",
    "int": 0,
    "int64": 0,
    "uint16": 0,
    "float": 0.0,
    "bool": False,
    "any": None,
}
_EMPTY = "struct{}"


class _Shape(Value):
    type: str
    fields: dict[str, str]
    omitted: frozenset[str]
    aliases: dict[str, str]


class Shapes:
    """A table of structs; `methods` by the name of a type."""

    def __init__(self, text: str, methods: Mapping[str, Methods] | None = None) -> None:
        self._methods = methods or {}
        self._shapes = dict(_shape(line.split()) for line in text.split("\n") if line.strip())

    def fill(self, name: str, known: Mapping[str, Any]) -> Struct:
        """A struct with what is `known`, Go's zero for all the rest. Raises KeyError for no such field."""
        shape = self._shapes[name]
        strange = set(known) - set(shape.fields)
        if strange:
            raise KeyError(f"{shape.type} has no {sorted(strange)}")
        values = {field: self.value(type, known.get(field)) for field, type in shape.fields.items()}
        pointed = {field for field in known if shape.fields[field][0] == "*" and known[field] is not None}
        omitted = shape.omitted - pointed  # a pointer is empty when it is nil, whatever it points to
        methods = self._methods.get(name)
        return Struct(values, shape.type, omitted=omitted, aliases=shape.aliases, methods=methods)

    def value(self, type: str, known: Any) -> Any:
        """`known` as a value of a type; None is its zero."""
        if type == _EMPTY:
            return Struct((), "struct {}")
        if type.startswith("*"):
            return Nil(self.go_type(type[1:])) if known is None else self.value(type[1:], known)
        if type.startswith("[]") and isinstance(known, list | tuple | None):
            items = [self.value(type[2:], item) for item in known or ()]
            return GoList(items, self.go_type(type), nil=known is None)
        if type.startswith("map[") and isinstance(known, Mapping | None):
            return self._map(type, known)
        if type in self._shapes and isinstance(known, Mapping | None):
            return known if isinstance(known, Struct) else self.fill(type, known or {})
        return self._scalar(type, known)

    def fields(self, name: str) -> dict[str, str]:
        """The fields of a struct, as JSON names them, and their types."""
        return dict(self._shapes[name].fields)

    def _map(self, type: str, known: Any) -> GoMap:
        key, _, item = type.removeprefix("map[").partition("]")
        values = {self._scalar(key, name): self.value(item, value) for name, value in (known or {}).items()}
        zero = None if item == "any" else self.value(item, None)
        return GoMap(values, self.go_type(type), zero=zero, nil=known is None)

    def _scalar(self, type: str, known: Any) -> Any:
        """What is of another type than it should be stays as it is."""
        methods = self._methods.get(type)
        if methods is not None and isinstance(known, str | None):
            return _named(known or "", methods)
        return _SCALARS.get(type) if known is None else known

    def go_type(self, type: str) -> str:
        """The type as messages have it."""
        for begin in ("[]", "map[string]", "map[Port]", "*"):
            if type.startswith(begin):
                return begin + self.go_type(type.removeprefix(begin))
        if type in self._shapes:
            return self._shapes[type].type
        return {"any": "interface {}", "float": "float64", _EMPTY: "struct {}"}.get(type, type)


def _shape(words: list[str]) -> tuple[str, _Shape]:
    name, type, *rest = words
    fields, omitted, aliases = {}, set(), {}
    for written, kind in zip(rest[::2], rest[1::2], strict=True):
        go, _, renamed = written.rstrip("?").partition("=")
        field = renamed or go
        fields[field] = kind
        if renamed:
            aliases[go] = renamed
        if written.endswith("?"):
            omitted.add(field)
    return name, _Shape(type, fields, frozenset(omitted), aliases)


def _named(text: str, methods: Methods) -> GoString:
    value = GoString(text)
    value.methods = methods
    return value
