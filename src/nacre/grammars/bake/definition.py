"""Bake files, evaluated: variables, groups and targets of all files together.

Files in HCL and JSON are one document; a variable is evaluated when it is needed first, by the
environment, a global attribute, or its default. Source: Bake file reference; buildx, hclparser.Parse.
"""

from __future__ import annotations

import json
import re
from itertools import product

from ...words.errors import InvalidDocument, NacreError
from ...words.value import Value
from . import values
from .attributes import TYPES, Fields, merged
from .evaluate import Scope, evaluate
from .functions import bounded, called
from .hcl import Block, HclBody, SourcePlace
from .values import BadValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

NAME = re.compile(r"[a-zA-Z0-9_-]+")
_MOST_TARGETS = 4096
_OWN = ("matrix", "name")


class Variable(Value):
    """A variable as it is listed: `kind` is its declared type."""

    name: str
    kind: str
    value: Any
    description: str


class Definition:
    """What the files say. `groups` are lists of names; `targets` are not merged with what they inherit.

    `remote` is the repository or the archive that the files are from, and their folders with them.
    """

    def __init__(self) -> None:
        self.remote = ""
        self.groups: dict[str, list[str]] = {}
        self.descriptions: dict[str, str] = {}
        self.targets: dict[str, Fields] = {}
        self.variables: list[Variable] = []
        self.unknown: list[str] = []

    def add_target(self, name: str, fields: Fields) -> None:
        """One more, or more of one that is there."""
        if len(self.targets) >= _MOST_TARGETS:
            raise InvalidDocument(f"more than {_MOST_TARGETS} targets")
        self.targets[name] = merged(self.targets.get(name, {}), fields)

    def add_group(self, name: str, targets: Sequence[str]) -> None:
        """The last one of a name counts."""
        self.groups[name] = list(dict.fromkeys(targets))


def add_bodies(
    found: Definition, bodies: Sequence[HclBody], environment: Mapping[str, str], given: Mapping[str, str]
) -> None:  # fmt: skip
    """Evaluate files in HCL and JSON into `found`; `given` are variables that nothing overrides.

    Raises InvalidDocument, Unsupported.
    """
    _Definer(found, bodies, environment, given).read()


class _Definer:
    def __init__(
        self, found: Definition, bodies: Sequence[HclBody], environment: Mapping[str, str],
        given: Mapping[str, str],
    ) -> None:  # fmt: skip
        self._found, self._environment = found, environment
        blocks = [block for body in bodies for block in body.blocks]
        self._targets, self._groups, self._variables, self._functions = (
            [block for block in blocks if block.kind == kind]
            for kind in ("target", "group", "variable", "function")
        )
        self._others = [block for block in blocks if block.kind not in _KINDS]
        self._attributes = {name: each for body in bodies for name, each in body.attributes.items()}
        self._known: dict[str, Any] = dict(given)
        self._begun: set[str] = set()
        self._scope = Scope(self._variable, self._function)

    def read(self) -> None:
        """All of it, in the order that docker has."""
        self._found.unknown += [f"{block.place.file}: {block.kind}" for block in self._others]
        for name in self._attributes:
            self._variable(name)
        for block in self._last(self._variables):
            self._found.variables.append(self._described(block))
        for block in self._groups:
            self._group(block)
        for block in self._targets:
            self._target(block)

    def _last(self, blocks: Sequence[Block]) -> list[Block]:
        return list({block.label: block for block in blocks}.values())

    # variables

    def _variable(self, name: str) -> Any:
        if name in self._known:
            return self._known[name]
        if name in ("target", "group"):
            return _Blocks(self._targets if name == "target" else self._groups, self._scope)
        if name in self._begun:
            raise BadValue(f"the variable {name} refers to itself")
        self._begun.add(name)
        self._known[name] = found = self._found_value(name)
        return found

    def _found_value(self, name: str) -> Any:
        declared = [block.body for block in self._variables if block.label == name]
        source = self._attributes.get(name) or next(
            (body.attributes["default"] for body in reversed(declared) if "default" in body.attributes), None
        )
        if source is None and not declared:
            raise BadValue(f"there is no variable named {name!r}")
        default = None if source is None else evaluate(source, self._scope)
        if not declared:
            return default
        return self._of_environment(name, default, _declared_type(declared[-1]))

    def _of_environment(self, name: str, default: Any, kind: str) -> Any:
        """NAME_JSON counts for declared lists and objects, NAME for all; both as the default's type."""
        encoded = self._environment.get(f"{name}_JSON")
        if kind and encoded is not None and name not in self._environment:
            return _from_json(encoded, f"{name}_JSON")
        if name not in self._environment:
            return "" if default is None and not kind else default
        try:
            return _converted(self._environment[name], default, kind)
        except BadValue as error:
            raise InvalidDocument(f"the variable {name} of the environment: {error}") from None

    def _described(self, block: Block) -> Variable:
        name = block.label
        try:
            value = self._variable(name)
        except BadValue as error:
            raise block.place.wrong(str(error)) from None
        for each in self._variables:
            if each.label == name:
                self._validate(each)
        about = block.body.attributes.get("description")
        text = values.text(evaluate(about, self._scope)) if about else ""
        return Variable(name, _declared_type(block.body), value, text)

    def _validate(self, variable: Block) -> None:
        for block in variable.body.blocks:
            condition = block.body.attributes.get("condition")
            if condition is None:
                raise block.place.wrong("a validation needs a condition")
            if not _as(values.truth, evaluate(condition, self._scope), condition.place):
                message = block.body.attributes.get("error_message")
                said = evaluate(message, self._scope) if message else "the condition does not hold"
                raise condition.place.wrong(f"validation of the variable {variable.label} failed: {said}")

    # functions

    def _function(self, name: str) -> Callable[..., Any] | None:
        blocks = [block for block in self._functions if block.label == name]
        if not blocks:
            return None
        block = blocks[-1]
        params, rest = _parameters(block, "params"), _parameters(block, "variadic_params")
        if "result" not in block.body.attributes:
            raise BadValue(f"the function {name} has no result")

        def function(*given: Any) -> Any:
            if len(given) < len(params) or (len(given) > len(params) and not rest):
                raise BadValue(f"{name}() does not take {len(given)} arguments")
            names = dict(zip(params, given, strict=False))
            names.update({each: list(given[len(params) :]) for each in rest})
            return bounded(evaluate(block.body.attributes["result"], self._scope.child(**names)))

        return function

    # groups and targets

    def _group(self, block: Block) -> None:
        self._check_name(block.label, block.place)
        fields = {name: evaluate(each, self._scope) for name, each in block.body.attributes.items()}
        for name in set(fields) & set(_OWN):
            raise block.place.wrong(f"{name} is not supported for groups")
        if "targets" not in fields:
            raise block.place.wrong(f"the group {block.label} has no targets")
        self._found.add_group(block.label, _as(TYPES["tags"], fields["targets"], block.place))
        self._found.descriptions[block.label] = str(fields.get("description") or "")

    def _target(self, block: Block) -> None:
        self._check_name(block.label, block.place)
        names = []
        for scope in self._scopes(block):
            name = self._name(block, scope)
            self._found.add_target(name, self._fields(block, scope))
            names.append(name)
        if names != [block.label]:
            if len(set(names)) < len(names):
                raise block.place.wrong(f"the names of the target {block.label} are not all different")
            self._found.add_group(block.label, names)

    def _scopes(self, block: Block) -> Iterator[Scope]:
        """One for each combination of the matrix."""
        matrix = block.body.attributes.get("matrix")
        if matrix is None:
            yield self._scope
            return
        axes = _as(values.mapping, evaluate(matrix, self._scope), matrix.place)
        lists = [_as(values.listed, axis, matrix.place) for axis in axes.values()]
        for number, row in enumerate(product(*lists)):
            if number >= _MOST_TARGETS:
                raise matrix.place.wrong(f"a matrix of more than {_MOST_TARGETS} targets")
            yield self._scope.child(**dict(zip(axes, row, strict=True)))

    def _name(self, block: Block, scope: Scope) -> str:
        written = block.body.attributes.get("name")
        if written is None:
            return block.label
        if "matrix" not in block.body.attributes:
            raise written.place.wrong("name requires a matrix")
        name: str = _as(values.text, evaluate(written, scope), written.place)
        self._check_name(name, written.place)
        return name

    def _fields(self, block: Block, scope: Scope) -> Fields:
        fields: Fields = {}
        for name, each in block.body.attributes.items():
            if name in TYPES:
                value = evaluate(each, scope)
                if value is not None:
                    fields[name] = _as(TYPES[name], value, each.place)
            elif name not in _OWN:
                self._found.unknown.append(f"target {block.label}: {name}")
        return fields

    def _check_name(self, name: str, place: SourcePlace) -> None:
        if not NAME.fullmatch(name):
            raise place.wrong(f"invalid name {name[:80]!r}: only letters, digits, _ and - are allowed")


class _Blocks:
    """`target` and `group` as values: `target.app.context` is what that block says."""

    def __init__(self, blocks: Sequence[Block], scope: Scope) -> None:
        self._blocks, self._scope = blocks, scope

    def member(self, label: str) -> _BlockMembers:
        """The blocks of one label. Raises BadValue."""
        found = [block for block in self._blocks if block.label == label]
        if not found:
            raise BadValue(f"there is no target named {label!r}")
        return _BlockMembers(found, self._scope)


class _BlockMembers:
    def __init__(self, blocks: Sequence[Block], scope: Scope) -> None:
        self._blocks, self._scope = blocks, scope

    def member(self, name: str) -> Any:
        """What the last of these blocks says. Raises BadValue."""
        for block in reversed(self._blocks):
            if name in block.body.attributes:
                return evaluate(block.body.attributes[name], self._scope)
        raise BadValue(f"{self._blocks[0].label} has no attribute {name!r}")


def _as(convert: Callable[[Any], Any], value: Any, place: SourcePlace) -> Any:
    try:
        return convert(value)
    except BadValue as error:
        raise place.wrong(str(error)) from None
    except NacreError as error:
        raise place.wrong(error.message) from None


def _parameters(block: Block, name: str) -> list[str]:
    """Identifiers of a list, or a single one; strings in JSON."""
    written = block.body.attributes.get(name)
    if written is None:
        return []
    items = written.items()
    if isinstance(items, list):
        return [str(evaluate(each, Scope(_own_name, lambda _: None))) for each in items]
    found = evaluate(written, Scope(_own_name, lambda _: None))
    return [str(each) for each in found] if isinstance(found, list) else [str(found)]


def _own_name(name: str) -> Any:
    return name


def _declared_type(body: HclBody) -> str:
    """`string`, `list(string)` and so on, as it was written; "" for none."""
    written = body.attributes.get("type")
    if written is None:
        return ""
    shown = evaluate(
        written, Scope(_own_name, lambda name: lambda *inner: f"{name}({','.join(map(str, inner))})")
    )
    return str(shown)


def _from_json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidDocument(f"the variable {name} of the environment is not valid JSON") from None


def _converted(text: str, default: Any, kind: str) -> Any:
    """What the environment says, of the declared type or that of the default. Raises BadValue."""
    known = kind or values.kind(default)
    if known == "bool":
        return _go_bool(text)
    if known == "number":
        return values.number(text)
    if known.startswith(("list", "set", "tuple")):
        return called("csv", _record, [text])
    if known in ("string", "null", "any", ""):
        return text
    raise BadValue(f"a variable of the type {known} takes its value from NAME_JSON")


def _record(text: str) -> list[str]:
    from ..csvline import read_record

    return read_record(text) if text else []


def _go_bool(text: str) -> bool:
    """The spellings that Go's strconv.ParseBool knows."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise BadValue(f"{text[:40]!r} is no bool")


_KINDS = ("target", "group", "variable", "function")
