"""The tree of a template over a value. Source: Go text/template, exec.go, whose messages these are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ...words.errors import UsageError
from .functions import FUNCTIONS, Failure, Function
from .nodes import (
    ActionNode,
    BoolNode,
    BranchNode,
    ChainNode,
    CommandNode,
    DotNode,
    FieldNode,
    IdentifierNode,
    JumpNode,
    NilNode,
    NumberNode,
    PipeNode,
    StringNode,
    SyntaxNode,
    TemplateNode,
    TextNode,
    VariableNode,
)  # fmt: skip
from .parse import parse
from .printf import shown
from .values import INVALID, GoMap, GoString, Nil, Struct, is_true, type_name

_MAX_CALLS = 50
_MISSING = object()
"""No value came from the command before."""


class _Arguments(NamedTuple):
    """The words behind a name, and what came from the command before."""

    words: Sequence[SyntaxNode] = ()
    final: Any = _MISSING


class Template:
    """A parsed template. Raises UsageError, which shows where, for one that is wrong."""

    def __init__(self, source: str, functions: Mapping[str, Function] = FUNCTIONS) -> None:
        self.source, self.functions = source, functions
        self.bodies = parse(source, functions)

    def render(self, value: Any, *, strict: bool = False) -> str:
        """The text for `value`: see `values`. `strict`: what a map has not got is an error too.

        Raises UsageError, whose `hint` names the fields that there are.
        """
        state = _State(self, strict)
        state.variables = [("$", value)]
        try:
            state.walk(value, self.bodies[""])
        except RecursionError:
            raise state.error(f"exceeded maximum template depth ({_MAX_CALLS})") from None
        return "".join(state.out)


class _Jumped(Exception):
    """A `break` or `continue`; `args[0]` says which."""


class _State:
    def __init__(self, template: Template, strict: bool) -> None:
        self.template, self.strict = template, strict
        self.out: list[str] = []
        self.variables: list[tuple[str, Any]] = []
        self.name, self.calls = "", 0
        self.node: SyntaxNode | None = None

    def error(self, message: str, hint: str = "") -> UsageError:
        if self.node is None:
            return UsageError(f"template: : {message}", hint=hint)
        before = self.template.source[: self.node.at]
        column = len(before[before.rfind("\n") + 1 :].encode(errors="surrogatepass"))
        place = f":{1 + before.count(chr(10))}:{column}"
        name = self.name.replace("\\", "\\\\").replace('"', '\\"')
        return UsageError(f'template: {place}: executing "{name}" at <{self.node}>: {message}', hint=hint)

    # actions

    def walk(self, dot: Any, body: Sequence[SyntaxNode]) -> None:
        for node in body:
            if isinstance(node, TextNode):
                self.out.append(node.text)
            else:
                self.node = node
                _WALKS[type(node)](self, dot, node)

    def action(self, dot: Any, node: ActionNode) -> None:
        value = self.pipe(dot, node.pipe)
        if not node.pipe.declared:
            self.out.append("<no value>" if value is INVALID else shown(value))

    def jump(self, _dot: Any, node: JumpNode) -> None:
        raise _Jumped(node.kind)

    def branch(self, dot: Any, node: BranchNode) -> None:
        known = len(self.variables)
        value = self.pipe(dot, node.pipe)
        try:
            if node.kind == "range":
                self.range(dot, node, value)
            elif is_true(value):
                self.walk(value if node.kind == "with" else dot, node.body)
            else:
                self.walk(dot, node.other or ())
        finally:
            del self.variables[known:]

    def range(self, dot: Any, node: BranchNode, value: Any) -> None:
        pairs = self.pairs(node, value)
        known = len(self.variables)
        for key, item in pairs:
            try:
                self.bind(node.pipe, key, item)
                self.walk(item, node.body)
            except _Jumped as jumped:
                if jumped.args[0] == "break":
                    return
            finally:
                del self.variables[known:]
        if not pairs:
            self.walk(dot, node.other or ())

    def pairs(self, node: BranchNode, value: Any) -> Sequence[tuple[Any, Any]]:
        """What is gone through, with indexes or keys."""
        if isinstance(value, Mapping) and not isinstance(value, Struct):
            return sorted(value.items())
        if isinstance(value, list | tuple):
            return list(enumerate(value))
        if value is INVALID or value is None:
            return ()
        if isinstance(value, int) and not isinstance(value, bool):
            if len(node.pipe.declared) > 1:
                raise self.error(f"can't use {value} to iterate over more than one variable")
            return _Count(value)
        raise self.error(f"range can't iterate over {shown(value)}")

    def bind(self, pipe: PipeNode, key: Any, item: Any) -> None:
        """One variable is the item; of two the first is the key."""
        names = [variable.names[0] for variable in pipe.declared]
        values = [key, item] if len(names) > 1 else [item]
        if pipe.assigns:
            for name, value in zip(names, values, strict=False):
                self.assign(name, value)
        elif names:
            begin = len(self.variables) - len(names)
            self.variables[begin:] = zip(names, values, strict=True)

    def assign(self, name: str, value: Any) -> None:
        for place in range(len(self.variables) - 1, -1, -1):
            if self.variables[place][0] == name:
                self.variables[place] = (name, value)
                return
        raise self.error(f"undefined variable: {name}")

    def template_call(self, dot: Any, node: TemplateNode) -> None:
        body = self.template.bodies.get(node.name)
        if body is None:
            raise self.error(f'template "{node.name}" not defined')
        if self.calls == _MAX_CALLS:
            raise self.error(f"exceeded maximum template depth ({_MAX_CALLS})")
        value = self.pipe(dot, node.pipe) if node.pipe else INVALID
        kept = self.variables, self.name
        self.variables, self.name = [("$", value)], node.name
        self.calls += 1
        self.walk(value, body)
        self.calls -= 1
        self.variables, self.name = kept

    # expressions

    def pipe(self, dot: Any, pipe: PipeNode) -> Any:
        """The value of the last command; what is declared stays until the end of the block."""
        self.node, value = pipe, _MISSING
        for command in pipe.commands:
            value = self.command(dot, command, value)
            value = INVALID if value is None else value
        for variable in pipe.declared:
            if pipe.assigns:
                self.assign(variable.names[0], value)
            else:
                self.variables.append((variable.names[0], value))
        return value

    def command(self, dot: Any, command: CommandNode, final: Any) -> Any:
        first, rest = command.words[0], command.words[1:]
        if isinstance(first, FieldNode | ChainNode | VariableNode | IdentifierNode):
            return self.term(dot, first, rest, final, command)
        if not isinstance(first, PipeNode):
            self.node = first
        if rest or final is not _MISSING:
            raise self.error(f"can't give argument to non-function {first}")
        if isinstance(first, NilNode):
            raise self.error("nil is not a command")
        return self.pipe(dot, first) if isinstance(first, PipeNode) else self.constant(dot, first)

    def term(
        self, dot: Any, node: SyntaxNode, rest: Sequence[SyntaxNode], final: Any, command: SyntaxNode
    ) -> Any:
        self.node = node
        if isinstance(node, IdentifierNode):
            return self.call(dot, self.template.functions[node.name], node.name, rest, final, command)
        if isinstance(node, FieldNode):
            return self.fields(dot, dot, node, node.names, rest, final)
        if isinstance(node, ChainNode):
            if isinstance(node.node, NilNode):
                raise self.error(f"indirection through explicit nil in {node}")
            return self.fields(dot, self.operand(dot, node.node), node, node.names, rest, final)
        return self.variable(dot, node, rest, final)

    def variable(self, dot: Any, node: Any, rest: Sequence[SyntaxNode], final: Any) -> Any:
        found = [value for name, value in self.variables if name == node.names[0]]
        if not found:
            raise self.error(f"undefined variable: {node.names[0]}")
        if len(node.names) > 1:
            return self.fields(dot, found[-1], node, node.names[1:], rest, final)
        if rest or final is not _MISSING:
            raise self.error(f"can't give argument to non-function {node}")
        return found[-1]

    def constant(self, dot: Any, node: SyntaxNode) -> Any:
        if isinstance(node, DotNode):
            return dot
        if isinstance(node, NumberNode):
            if isinstance(node.value, int) and not -(1 << 63) <= node.value < 1 << 63:
                raise self.error(f"{node.text} overflows int")
            return node.value
        return node.value if isinstance(node, BoolNode | StringNode) else INVALID

    def operand(self, dot: Any, node: SyntaxNode) -> Any:
        """An argument, of whatever type."""
        self.node = node
        if isinstance(node, PipeNode):
            return self.pipe(dot, node)
        if isinstance(node, FieldNode | ChainNode | VariableNode | IdentifierNode):
            return self.term(dot, node, (), _MISSING, node)
        return self.constant(dot, node)

    def fields(
        self,
        dot: Any,
        value: Any,
        node: SyntaxNode,
        names: Sequence[str],
        rest: Sequence[SyntaxNode],
        final: Any,
    ) -> Any:
        """`.A.B.C` from `value`; arguments are for the last, which must be a method then."""
        type = type_name(value)
        for name in names[:-1]:
            untyped = isinstance(value, Mapping) and not isinstance(value, Struct | GoMap)
            value = self.field(dot, value, node, name, _Arguments(), type)
            type = "interface {}" if untyped else type_name(value)
        return self.field(dot, value, node, names[-1], _Arguments(rest, final), type)

    def field(
        self, dot: Any, value: Any, node: SyntaxNode, name: str, arguments: _Arguments, type: str
    ) -> Any:
        if value is INVALID:
            if self.strict:
                raise self.error(f'nil data; no entry for key "{name}"')
            return INVALID
        if isinstance(value, Struct | GoString) and name in value.methods:
            return self.method(dot, value, node, name, arguments)
        if isinstance(value, Mapping):
            return self.entry(value, name, bool(arguments.words) or arguments.final is not _MISSING)
        if value is None or isinstance(value, Nil):
            raise self.error(f"nil pointer evaluating {type}.{name}")
        raise self.error(f"can't evaluate field {name} in type {type}")

    def method(self, dot: Any, value: Any, node: SyntaxNode, name: str, given: _Arguments) -> Any:
        method = value.methods[name]
        function = Function(
            lambda *arguments: method(value, *arguments), ("text",) * (method.__code__.co_argcount - 1)
        )
        return self.call(dot, function, name, given.words, given.final, node)

    def entry(self, value: Mapping[str, Any], name: str, has_arguments: bool) -> Any:
        if isinstance(value, Struct):
            try:
                found = value.field(name)
            except KeyError:
                known = f"fields are {', '.join(value.names)}"
                raise self.error(f"can't evaluate field {name} in type {value.type}", known) from None
            if has_arguments:
                raise self.error(f"{name} has arguments but cannot be invoked as function")
            return found
        if has_arguments:
            raise self.error(f"{name} is not a method but has arguments")
        if name not in value and self.strict:
            raise self.error(f'map has no entry for key "{name}"')
        return value.get(name, INVALID)

    # calls

    def call(
        self,
        dot: Any,
        function: Function,
        name: str,
        rest: Sequence[SyntaxNode],
        final: Any,
        node: SyntaxNode,
    ) -> Any:
        self.check_number(function, name, len(rest), final)
        if name in ("and", "or"):
            return self.short_circuit(dot, name, rest, final)
        arguments = [self.argument(dot, function.kind(place), word) for place, word in enumerate(rest)]
        if final is not _MISSING:
            arguments.append(self.checked(final, function.kind(len(rest))))
        try:
            return function.call(*arguments)
        except Failure as failure:
            self.node = node
            raise self.error(f"error calling {name}: {failure}") from None

    def check_number(self, function: Function, name: str, given: int, final: Any) -> None:
        total = given + (final is not _MISSING)
        if function.repeats and total < function.least:
            raise self.error(f"wrong number of args for {name}: want at least {function.least} got {given}")
        if not function.repeats and total != function.least:
            raise self.error(f"wrong number of args for {name}: want {function.least} got {total}")

    def short_circuit(self, dot: Any, name: str, rest: Sequence[SyntaxNode], final: Any) -> Any:
        """The first that decides; what comes after it is not looked at."""
        value: Any = None
        for word in rest:
            value = self.argument(dot, "value", word)
            if is_true(value) == (name == "or"):
                return value
        return value if final is _MISSING else final

    def argument(self, dot: Any, kind: str, node: SyntaxNode) -> Any:
        self.node = node
        if isinstance(node, NilNode):
            if kind in ("value", "any"):
                return INVALID if kind == "value" else None
            raise self.error(f"cannot assign nil to {_KINDS[kind]}")
        if isinstance(node, BoolNode | NumberNode | StringNode):
            return self.literal(dot, kind, node)
        return self.checked(self.operand(dot, node), kind)

    def literal(self, dot: Any, kind: str, node: BoolNode | NumberNode | StringNode) -> Any:
        if kind == "text" and not isinstance(node, StringNode):
            raise self.error(f"expected string; found {node}")
        if kind == "int":
            if isinstance(node, NumberNode) and node.whole is not None:
                return node.whole
            raise self.error(f"expected integer; found {node}")
        return self.constant(dot, node)

    def checked(self, value: Any, kind: str) -> Any:
        """`value`, if a function takes it that takes `kind`."""
        if kind in ("value", "any"):
            return None if kind == "any" and value is INVALID else value
        if value is INVALID:
            raise self.error(f"invalid value; expected {_KINDS[kind]}")
        good = isinstance(value, str) if kind == "text" else type(value) is int
        if not good:
            raise self.error(f"wrong type for value; expected {_KINDS[kind]}; got {type_name(value)}")
        return value


class _Count(Sequence[tuple[Any, Any]]):
    """The numbers below `end`."""

    def __init__(self, end: int) -> None:
        self.end = max(end, 0)

    def __len__(self) -> int:
        return self.end

    def __getitem__(self, place: Any) -> Any:
        if not 0 <= place < self.end:
            raise IndexError
        return INVALID, place


_KINDS = {"text": "string", "int": "int"}
_WALKS: Mapping[type[SyntaxNode], Any] = {
    ActionNode: _State.action,
    BranchNode: _State.branch,
    TemplateNode: _State.template_call,
    JumpNode: _State.jump,
}
