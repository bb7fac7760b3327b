"""From tokens to the tree of a template and those that it defines.

    template = *( text | "{{" action "}}" | "{{define" name "}}" template "{{end}}" )
    action   = ( "if" | "with" ) pipe … [ "else" … ] "end" | "range" [ var [ "," var ] ( ":=" | "=" ) ] pipe …
             | "template" name [ pipe ] | "block" name pipe … "end" | "break" | "continue" | pipe
    pipe     = [ var ( ":=" | "=" ) ] command *( "|" command )
    command  = operand *( space operand )
    operand  = ( "." | field | var | string | number | bool | "nil" | function | "(" pipe ")" ) *field

Source: Go text/template/parse, parse.go, whose messages these are.
"""

from __future__ import annotations

from collections.abc import Container

from ...words.errors import UsageError
from .lex import TemplateToken, lex
from .literals import character, number, unquote
from .nodes import (
    ActionNode,
    BoolNode,
    BranchNode,
    ChainNode,
    CommandNode,
    DotNode,
    EndNode,
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
from .printf import quote

MAX_DEPTH = 50
_OPERANDS = frozenset(
    ["bool", "character", "complex", ".", "field", "identifier", "number", "raw", "string", "variable", "("]
)
_CONSTANT = (BoolNode, DotNode, NilNode, NumberNode, StringNode)
Body = tuple[SyntaxNode, ...]


def parse(source: str, functions: Container[str]) -> dict[str, Body]:
    """The templates by name; the whole one is "". Raises UsageError."""
    return _TemplateParser(source, functions).parse()


class _TemplateParser:
    def __init__(self, source: str, functions: Container[str]) -> None:
        self.tokens, self.functions = lex(source), functions
        self.next = self.furthest = 0
        self.variables = ["$"]
        self.ranges = self.depth = self.action_line = 0
        self.found: dict[str, Body] = {}

    # tokens

    def take(self) -> TemplateToken:
        """The next token; the last one again and again."""
        token = self.tokens[min(self.next, len(self.tokens) - 1)]
        self.next += 1
        self.furthest = max(self.furthest, min(self.next, len(self.tokens)) - 1)
        return token

    def peek(self) -> TemplateToken:
        token = self.take()
        self.next -= 1
        return token

    def take_word(self) -> TemplateToken:
        """The next that is no space."""
        token = self.take()
        while token.kind == "space":
            token = self.take()
        return token

    def peek_word(self) -> TemplateToken:
        token = self.take_word()
        self.next -= 1
        return token

    def expect(self, kinds: str, where: str) -> TemplateToken:
        token = self.take_word()
        if token.kind not in kinds.split():
            raise self.unexpected(token, where)
        return token

    def error(self, message: str) -> UsageError:
        line = self.tokens[self.furthest].line
        return UsageError(f"template parsing error: template: :{line}: {message}")

    def unexpected(self, token: TemplateToken, where: str) -> UsageError:
        if token.kind != "error":
            return self.error(f"unexpected {token} in {where}")
        begun = self.action_line
        started = f" in action started at :{begun}" if begun and begun != token.line else ""
        return self.error(
            token.text + (started.removeprefix(" in action") if token.text.endswith(" action") else started)
        )

    # templates

    def parse(self) -> dict[str, Body]:
        nodes: list[SyntaxNode] = []
        while self.peek().kind != "eof":
            if not self.definition():
                node = self.text_or_action()
                if isinstance(node, EndNode):
                    raise self.error(f"unexpected {node}")
                nodes.append(node)
        self.add("", tuple(nodes))
        return self.found

    def definition(self) -> bool:
        """`{{define "name"}} … {{end}}`, if that is what comes."""
        place = self.next
        if self.take().kind != "{{" or not _is_keyword(self.take_word(), "define"):
            self.next = place
            return False
        name = self.unquoted(self.expect("string raw", "define clause"))
        self.expect("}}", "define clause")
        self.separate(name, "define clause")
        return True

    def separate(self, name: str, where: str) -> None:
        """A body with variables of its own, kept as `name`."""
        kept, self.variables, ranges, self.ranges = self.variables, ["$"], self.ranges, 0
        body, ending = self.body()
        if ending.kind != "end":
            raise self.error(f"unexpected {ending} in {where}")
        self.variables, self.ranges = kept, ranges
        self.add(name, body)

    def add(self, name: str, body: Body) -> None:
        if name not in self.found or _is_empty(self.found[name]):
            self.found[name] = body
        elif not _is_empty(body):
            raise self.error(f"template: multiple definition of template {quote(name)}")

    def body(self) -> tuple[Body, EndNode]:
        """All up to {{end}} or {{else}}, which is given too."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error("actions are nested too deeply")
        nodes: list[SyntaxNode] = []
        while self.peek_word().kind != "eof":
            node = self.text_or_action()
            if isinstance(node, EndNode):
                self.depth -= 1
                return tuple(nodes), node
            nodes.append(node)
        raise self.error("unexpected EOF")

    def text_or_action(self) -> SyntaxNode:
        token = self.take_word()
        if token.kind == "text":
            return TextNode(token.at, token.text)
        if token.kind != "{{":
            raise self.unexpected(token, "input")
        self.action_line = token.line
        node = self.action()
        self.action_line = 0
        return node

    # actions

    def action(self) -> SyntaxNode:
        token = self.take_word()
        control = getattr(self, f"{token.text}_control", None) if token.kind == "keyword" else None
        if control:
            node: SyntaxNode = control(token)
            return node
        self.next -= 1
        return ActionNode(self.peek().at, self.pipe("command", "}}"))

    def if_control(self, token: TemplateToken) -> SyntaxNode:
        return self.branch("if", token)

    def with_control(self, token: TemplateToken) -> SyntaxNode:
        return self.branch("with", token)

    def range_control(self, token: TemplateToken) -> SyntaxNode:
        return self.branch("range", token)

    def branch(self, kind: str, _token: TemplateToken) -> SyntaxNode:
        """Variables that are made within end with it."""
        known = len(self.variables)
        pipe = self.pipe(kind, "}}")
        self.ranges += kind == "range"
        body, ending = self.body()
        self.ranges -= kind == "range"
        other = self.otherwise(kind) if ending.kind == "else" else None
        del self.variables[known:]
        return BranchNode(pipe.at, kind, pipe, body, other)

    def otherwise(self, kind: str) -> Body:
        """What follows {{else}}; `{{else if …}}` is an {{if}} in it whose {{end}} is that of the whole."""
        if kind in ("if", "with") and _is_keyword(self.peek(), kind):
            return (self.branch(kind, self.take()),)
        body, ending = self.body()
        if ending.kind != "end":
            raise self.error(f"expected end; found {ending}")
        return body

    def end_control(self, _token: TemplateToken) -> SyntaxNode:
        return EndNode(self.expect("}}", "end").at, "end")

    def else_control(self, _token: TemplateToken) -> SyntaxNode:
        following = self.peek_word()
        if _is_keyword(following, "if") or _is_keyword(following, "with"):
            return EndNode(following.at, "else")
        return EndNode(self.expect("}}", "else").at, "else")

    def break_control(self, token: TemplateToken) -> SyntaxNode:
        return self.jump(token)

    def continue_control(self, token: TemplateToken) -> SyntaxNode:
        return self.jump(token)

    def jump(self, token: TemplateToken) -> SyntaxNode:
        self.expect("}}", f"{{{{{token.text}}}}}")
        if not self.ranges:
            raise self.error(f"{{{{{token.text}}}}} outside {{{{range}}}}")
        return JumpNode(token.at, token.text)

    def template_control(self, _token: TemplateToken) -> SyntaxNode:
        token = self.expect("string raw", "template clause")
        name, pipe = self.unquoted(token), None
        if self.take_word().kind != "}}":
            self.next -= 1
            pipe = self.pipe("template clause", "}}")
        return TemplateNode(token.at, name, pipe)

    def block_control(self, _token: TemplateToken) -> SyntaxNode:
        token = self.expect("string raw", "block clause")
        name, pipe = self.unquoted(token), self.pipe("block clause", "}}")
        self.separate(name, "block clause")
        return TemplateNode(token.at, name, pipe)

    # expressions

    def pipe(self, where: str, end: str) -> PipeNode:
        at = self.peek_word().at
        declared, assigns = self.declarations(where)
        commands: list[CommandNode] = []
        while (token := self.take_word()).kind != end:
            if token.kind not in _OPERANDS and not _is_keyword(token, "nil"):
                raise self.unexpected(token, where)
            self.next -= 1
            commands.append(self.command())
        self.check(commands, where)
        return PipeNode(at, tuple(commands), declared, assigns)

    def declarations(self, where: str) -> tuple[tuple[VariableNode, ...], bool]:
        """`$a :=`, `$a =`, and for range `$a, $b :=`."""
        declared: list[VariableNode] = []
        while self.peek_word().kind == "variable":
            self.take_word()
            place, variable = self.next - 1, self.tokens[self.next - 1]
            following = self.take_word()
            if following.kind not in (":=", "=") and following.text != ",":
                self.next = place
                break
            declared.append(VariableNode(variable.at, (variable.text,)))
            self.variables.append(variable.text)
            if following.kind in (":=", "="):
                return tuple(declared), following.kind == "="
            self.check_list(declared, where)
        return tuple(declared), False

    def check_list(self, declared: list[VariableNode], where: str) -> None:
        if where != "range" or len(declared) > 1:
            raise self.error(f"too many declarations in {where}")
        if self.peek_word().kind not in ("variable", "}}", ")"):
            raise self.error("range can only initialize variables")

    def check(self, commands: list[CommandNode], where: str) -> None:
        if not commands:
            raise self.error(f"missing value for {where}")
        for stage, command in enumerate(commands[1:], 2):
            if isinstance(command.words[0], _CONSTANT):
                raise self.error(f"non executable command in pipeline stage {stage}")

    def command(self) -> CommandNode:
        at = self.peek_word().at
        words: list[SyntaxNode] = []
        while True:
            self.peek_word()
            words += self.operand()
            token = self.take()
            if token.kind in ("}}", ")"):
                self.next -= 1
            elif token.kind not in ("space", "|"):
                raise self.unexpected(token, "operand")
            if token.kind != "space":
                break
        if not words:
            raise self.error("empty command")
        return CommandNode(at, tuple(words))

    def operand(self) -> list[SyntaxNode]:
        """A term with the fields behind it; nothing if there is no term."""
        node = self.term()
        if node is None:
            return []
        if self.peek().kind != "field":
            return [node]
        at, names = self.peek().at, []
        while self.peek().kind == "field":
            names.append(self.take().text[1:])
        return [self.chained(at, node, tuple(names))]

    def chained(self, at: int, node: SyntaxNode, names: tuple[str, ...]) -> SyntaxNode:
        if isinstance(node, FieldNode):
            return FieldNode(at, node.names + names)
        if isinstance(node, VariableNode):
            return VariableNode(at, node.names + names)
        if isinstance(node, _CONSTANT):
            raise self.error(f"unexpected . after term {quote(str(node))}")
        return ChainNode(at, node, names)

    def term(self) -> SyntaxNode | None:
        token = self.take_word()
        maker = _TERMS.get(token.text if token.kind == "keyword" else token.kind)
        if maker is None:
            self.next -= 1
            return None
        return maker(self, token)

    def identifier(self, token: TemplateToken) -> SyntaxNode:
        if token.text not in self.functions:
            raise self.error(f'function "{token.text}" not defined')
        return IdentifierNode(token.at, token.text)

    def variable(self, token: TemplateToken) -> SyntaxNode:
        if token.text not in self.variables:
            raise self.error(f'undefined variable "{token.text}"')
        return VariableNode(token.at, (token.text,))

    def number(self, token: TemplateToken) -> SyntaxNode:
        try:
            if token.kind == "character":
                code = character(token.text)
                return NumberNode(token.at, token.text, code, code)
            value, whole = number(token.text)
        except ValueError as error:
            raise self.error(str(error)) from None
        return NumberNode(token.at, token.text, value, whole)

    def group(self, _token: TemplateToken) -> SyntaxNode:
        if self.depth >= MAX_DEPTH:
            raise self.error("max expression depth exceeded")
        self.depth += 1
        pipe = self.pipe("parenthesized pipeline", ")")
        self.depth -= 1
        return pipe

    def string(self, token: TemplateToken) -> SyntaxNode:
        return StringNode(token.at, token.text, self.unquoted(token))

    def unquoted(self, token: TemplateToken) -> str:
        try:
            return unquote(token.text)
        except ValueError as error:
            raise self.error(str(error)) from None


_TERMS = {
    ".": lambda _parser, token: DotNode(token.at),
    "(": _TemplateParser.group,
    "bool": lambda _parser, token: BoolNode(token.at, token.text == "true"),
    "character": _TemplateParser.number,
    "complex": _TemplateParser.number,
    "field": lambda _parser, token: FieldNode(token.at, (token.text[1:],)),
    "identifier": _TemplateParser.identifier,
    "nil": lambda _parser, token: NilNode(token.at),
    "number": _TemplateParser.number,
    "raw": _TemplateParser.string,
    "string": _TemplateParser.string,
    "variable": _TemplateParser.variable,
}


def _is_keyword(token: TemplateToken, word: str) -> bool:
    return token.kind == "keyword" and token.text == word


def _is_empty(body: Body) -> bool:
    return all(isinstance(node, TextNode) and not node.text.strip() for node in body)
