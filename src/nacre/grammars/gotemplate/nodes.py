"""The tree of a template. Each node has the place of its first character, and prints as Go prints it."""

from __future__ import annotations

from typing import Any

from ...words.value import Value
from .printf import quote


class Node(Value):
    """Base of all: `at` counts characters from 0."""

    at: int


class Text(Node):
    """Text between actions, which is printed unchanged."""

    text: str


class Dot(Node):
    """The current value, written `.`."""

    def __str__(self) -> str:
        return "."


class NilWord(Node):
    """The constant `nil` of Go."""

    def __str__(self) -> str:
        return "nil"


class Bool(Node):
    """The constant `true` or `false`."""

    value: bool

    def __str__(self) -> str:
        return "true" if self.value else "false"


class Number(Node):
    """`value` is what it is where no type is asked for: int or float; `whole` as an int if it is one."""

    text: str
    value: Any
    whole: int | None

    def __str__(self) -> str:
        return self.text


class String(Node):
    """`quoted` as written, `value` as meant."""

    quoted: str
    value: str

    def __str__(self) -> str:
        return self.quoted


class Identifier(Node):
    """The name of a function."""

    name: str

    def __str__(self) -> str:
        return self.name


class Field(Node):
    """A field of the current value, written `.A.B`."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return "".join(f".{name}" for name in self.names)


class Variable(Node):
    """`$x.A.B`; the first of `names` is `$x`."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join(self.names)


class Chain(Node):
    """A field of a parenthesized pipeline, written `(pipe).A.B`."""

    node: Node
    names: tuple[str, ...]

    def __str__(self) -> str:
        return _in_parentheses(self.node) + "".join(f".{name}" for name in self.names)


class Command(Node):
    """A word and its arguments."""

    words: tuple[Node, ...]

    def __str__(self) -> str:
        return " ".join(map(_in_parentheses, self.words))


class Pipe(Node):
    """Commands, each with the value of the one before as its last argument."""

    commands: tuple[Command, ...]
    declared: tuple[Variable, ...] = ()
    assigns: bool = False

    def __str__(self) -> str:
        mark = " = " if self.assigns else " := "
        begin = ", ".join(map(str, self.declared)) + mark if self.declared else ""
        return begin + " | ".join(map(str, self.commands))


class Action(Node):
    """A pipe whose value is printed, unless it declares."""

    pipe: Pipe

    def __str__(self) -> str:
        return f"{{{{{self.pipe}}}}}"


class Branch(Node):
    """`kind`: if, with or range."""

    kind: str
    pipe: Pipe
    body: tuple[Node, ...]
    other: tuple[Node, ...] | None


class Jump(Node):
    """The action `break` or `continue`."""

    kind: str


class Call(Node):
    """The action `{{template "name" pipe}}`."""

    name: str
    pipe: Pipe | None

    def __str__(self) -> str:
        return f"{{{{template {quote(self.name)}{f' {self.pipe}' if self.pipe else ''}}}}}"


class Ending(Node):
    """`{{end}}` or `{{else}}`; only the parser sees it."""

    kind: str

    def __str__(self) -> str:
        return f"{{{{{self.kind}}}}}"


def _in_parentheses(node: Node) -> str:
    return f"({node})" if isinstance(node, Pipe) else str(node)
