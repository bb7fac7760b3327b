"""The tree of a template. Each node has the place of its first character, and prints as Go prints it."""

from __future__ import annotations

from typing import Any

from ...words.value import Value
from .printf import quote


class SyntaxNode(Value):
    """Base of all: `at` counts characters from 0."""

    at: int


class TextNode(SyntaxNode):
    """Text between actions, which is printed unchanged."""

    text: str


class DotNode(SyntaxNode):
    """The current value, written `.`."""

    def __str__(self) -> str:
        return "."


class NilNode(SyntaxNode):
    """The constant `nil` of Go."""

    def __str__(self) -> str:
        return "nil"


class BoolNode(SyntaxNode):
    """The constant `true` or `false`."""

    value: bool

    def __str__(self) -> str:
        return "true" if self.value else "false"


class NumberNode(SyntaxNode):
    """`value` is what it is where no type is asked for: int or float; `whole` as an int if it is one."""

    text: str
    value: Any
    whole: int | None

    def __str__(self) -> str:
        return self.text


class StringNode(SyntaxNode):
    """`quoted` as written, `value` as meant."""

    quoted: str
    value: str

    def __str__(self) -> str:
        return self.quoted


class IdentifierNode(SyntaxNode):
    """The name of a function."""

    name: str

    def __str__(self) -> str:
        return self.name


class FieldNode(SyntaxNode):
    """A field of the current value, written `.A.B`."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return "".join(f".{name}" for name in self.names)


class VariableNode(SyntaxNode):
    """`$x.A.B`; the first of `names` is `$x`."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join(self.names)


class ChainNode(SyntaxNode):
    """A field of a parenthesized pipeline, written `(pipe).A.B`."""

    node: SyntaxNode
    names: tuple[str, ...]

    def __str__(self) -> str:
        return _in_parentheses(self.node) + "".join(f".{name}" for name in self.names)


class CommandNode(SyntaxNode):
    """A word and its arguments."""

    words: tuple[SyntaxNode, ...]

    def __str__(self) -> str:
        return " ".join(map(_in_parentheses, self.words))


class PipeNode(SyntaxNode):
    """Commands, each with the value of the one before as its last argument."""

    commands: tuple[CommandNode, ...]
    declared: tuple[VariableNode, ...] = ()
    assigns: bool = False

    def __str__(self) -> str:
        mark = " = " if self.assigns else " := "
        begin = ", ".join(map(str, self.declared)) + mark if self.declared else ""
        return begin + " | ".join(map(str, self.commands))


class ActionNode(SyntaxNode):
    """A pipe whose value is printed, unless it declares."""

    pipe: PipeNode

    def __str__(self) -> str:
        return f"{{{{{self.pipe}}}}}"


class BranchNode(SyntaxNode):
    """`kind`: if, with or range."""

    kind: str
    pipe: PipeNode
    body: tuple[SyntaxNode, ...]
    other: tuple[SyntaxNode, ...] | None


class JumpNode(SyntaxNode):
    """The action `break` or `continue`."""

    kind: str


class TemplateNode(SyntaxNode):
    """The action `{{template "name" pipe}}`."""

    name: str
    pipe: PipeNode | None

    def __str__(self) -> str:
        return f"{{{{template {quote(self.name)}{f' {self.pipe}' if self.pipe else ''}}}}}"


class EndNode(SyntaxNode):
    """`{{end}}` or `{{else}}`; only the parser sees it."""

    kind: str

    def __str__(self) -> str:
        return f"{{{{{self.kind}}}}}"


def _in_parentheses(node: SyntaxNode) -> str:
    return f"({node})" if isinstance(node, PipeNode) else str(node)
