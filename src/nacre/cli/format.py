r"""Go templates, as far as `--format` needs them.

    template = *( text | "{{" [ "- " ] action [ " -" ] "}}" )
    action   = "if" pipe | "else" [ "if" pipe ] | "range" [ var [ "," var ] ":=" ] pipe | "with" pipe | "end"
             | var ":=" pipe | comment | pipe
    pipe     = call *( "|" call )                the value of the left is the last argument of the right
    call     = function *operand | operand
    operand  = ( "." | *( "." name ) | var *( "." name ) | string | number | "true" | "false" | "nil"
             | "(" pipe ")" ) *( "." name )

In text `\t` and `\n` stand for tab and newline, as docker has it. A field that does not exist is an
error here, never `<no value>`. Source: Go text/template; docker/cli templates/templates.go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..words.errors import UsageError

_INSIDE = re.compile(r"\"(?:\\.|[^\"\\])*\"|`[^`]*`|\}\}")
_TOKEN = re.compile(
    r"\s*(?:(?P<string>\"(?:\\.|[^\"\\])*\"|`[^`]*`)|(?P<number>-?\d+(?:\.\d+)?)|(?P<variable>\$\w*)"
    r"|(?P<field>\.\w+)|(?P<word>\w+)|(?P<mark>:=|[.,|()]))"
)
_MAX_DEPTH = 50


class Template:
    """A parsed template. Raises UsageError, which shows where, for one that is wrong."""

    def __init__(self, source: str) -> None:
        self._body = _Parser(source).parse()

    def render(self, value: Any) -> str:
        """The text for `value`, a mapping or anything JSON can hold. Raises UsageError for unknown fields."""
        out: list[str] = []
        self._body(_Scope(value, {"$": value}), out)
        return "".join(out)


class _Scope:
    def __init__(self, dot: Any, variables: dict[str, Any]) -> None:
        self.dot, self.variables = dot, variables

    def inner(self, dot: Any, **variables: Any) -> _Scope:
        return _Scope(dot, self.variables | variables)


Expression = Callable[[_Scope], Any]
Body = Callable[[_Scope, list[str]], None]


class _Piece:
    """Text, or the inside of an action, with the column at which it begins."""

    def __init__(self, text: str, column: int, action: bool) -> None:
        self.text, self.column, self.action = text, column, action


def _pieces(source: str) -> list[_Piece]:
    """Text and actions in turn; `{{- ` and ` -}}` have trimmed the text beside them."""
    pieces: list[_Piece] = []
    at, trim = 0, False
    while (begin := source.find("{{", at)) >= 0:
        end = _closing(source, begin)
        inside = source[begin + 2 : end]
        text = source[at:begin].lstrip() if trim else source[at:begin]
        trim_before = inside[:1] == "-" and inside[1:2].isspace()
        trim = inside[-1:] == "-" and inside[-2:-1].isspace()
        pieces.append(_Piece(text.rstrip() if trim_before else text, at + 1, False))
        inside = " " + inside[1:] if trim_before else inside
        pieces.append(_Piece(inside[:-1] if trim else inside, begin + 3, True))
        at = end + 2
    pieces.append(_Piece(source[at:].lstrip() if trim else source[at:], at + 1, False))
    return pieces


def _closing(source: str, begin: int) -> int:
    """Where the "}}" of the action that begins at `begin` is; one inside a string does not count."""
    for match in _INSIDE.finditer(source, begin + 2):
        if match.group() == "}}":
            return match.start()
    raise UsageError(f"template column {begin + 1}: '{{{{' is never closed")


class _Parser:
    def __init__(self, source: str) -> None:
        self.pieces = _pieces(source)
        self.next = 0
        self.depth = 0

    def parse(self) -> Body:
        body, ended_by = self.block()
        if ended_by is not None:
            raise ended_by.error(f"unexpected {{{{{ended_by.words[0].text}}}}}")
        return body

    def block(self) -> tuple[Body, _Action | None]:
        """Everything up to an `else` or `end`, which is returned too (None: the end of the template)."""
        parts: list[Body] = []
        self.depth += 1
        while self.next < len(self.pieces):
            piece = self.pieces[self.next]
            self.next += 1
            if not piece.action:
                parts.append(_literal(piece.text.replace("\\t", "\t").replace("\\n", "\n")))
                continue
            action = _Action(piece)
            if action.keyword in ("else", "end"):
                self.depth -= 1
                return _sequence(parts), action
            parts.append(self.action(action))
        self.depth -= 1
        return _sequence(parts), None

    def action(self, action: _Action) -> Body:
        if self.depth > _MAX_DEPTH:
            raise action.error("nested too deeply")
        if not action.words:
            return _sequence([])
        kind = action.keyword
        if kind in ("if", "with", "range"):
            action.take()
            return self.control(kind, action)
        names = action.assignment()
        value = action.whole()
        return _assign(names[0], value) if names else _emit(value)

    def control(self, kind: str, action: _Action) -> Body:
        names = action.assignment()
        value = action.whole()
        body, ended_by = self.block()
        other: Body = _sequence([])
        if ended_by is not None and ended_by.keyword == "else":
            other = self.otherwise(ended_by)
        elif ended_by is None:
            raise action.error(f"{{{{{kind}}}}} has no {{{{end}}}}")
        return _CONTROLS[kind](value, names, body, other)

    def otherwise(self, action: _Action) -> Body:
        action.take()
        if action.words:
            kind = action.take().text
            if kind not in ("if", "with"):
                raise action.error(f"{{{{else {kind}}}}} is not known")
            return self.control(kind, action)
        other, ended_by = self.block()
        if ended_by is None or ended_by.keyword != "end":
            raise action.error("{{else}} has no {{end}}")
        return other


class _Token:
    def __init__(self, kind: str, text: str, column: int, spaced: bool) -> None:
        self.kind, self.text, self.column, self.spaced = kind, text, column, spaced


class _Action:
    """The tokens of one action, and the grammar of expressions over them."""

    def __init__(self, piece: _Piece) -> None:
        self.column = piece.column
        self.depth = 0
        self.words: list[_Token] = []
        self.words = self.scan(piece) if not _is_comment(piece.text) else []

    def scan(self, piece: _Piece) -> list[_Token]:
        tokens, at, text = [], 0, piece.text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                self.column += at
                raise self.error(f"unexpected {text[at:].strip()[:20]!r}")
            kind = match.lastgroup
            begin = match.start(kind)
            tokens.append(_Token(kind, match.group(kind), piece.column + begin, begin > at or at == 0))
            at = match.end()
        return tokens

    @property
    def keyword(self) -> str:
        return self.words[0].text if self.words and self.words[0].kind == "word" else ""

    def error(self, message: str) -> UsageError:
        return UsageError(f"template column {self.words[0].column if self.words else self.column}: {message}")

    def take(self) -> _Token:
        if not self.words:
            raise self.error("something is missing before '}}'")
        return self.words.pop(0)

    def accept(self, mark: str) -> bool:
        found = bool(self.words) and self.words[0].kind == "mark" and self.words[0].text == mark
        if found:
            self.words.pop(0)
        return found

    def assignment(self) -> list[str]:
        """`$a :=` or `$a, $b :=` in front, as names."""
        shape = [word.text if word.kind == "mark" else word.kind for word in self.words[:4]]
        if shape[:2] == ["variable", ":="]:
            names, self.words = [self.words[0].text], self.words[2:]
        elif shape == ["variable", ",", "variable", ":="]:
            names, self.words = [self.words[0].text, self.words[2].text], self.words[4:]
        else:
            names = []
        return names

    def whole(self) -> Expression:
        """The pipe that is all the rest."""
        value = self.pipe()
        if self.words:
            raise self.error(f"unexpected {self.words[0].text!r}")
        return value

    def pipe(self) -> Expression:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self.error("nested too deeply")
        value = self.call(None)
        while self.accept("|"):
            value = self.call(value)
        self.depth -= 1
        return value

    def call(self, piped: Expression | None) -> Expression:
        token = self.words[0] if self.words else None
        if token is None or token.kind != "word" or token.text in _CONSTANTS:
            if piped is not None:
                raise self.error("a function is expected after '|'")
            return self.operand()
        if token.text not in _FUNCTIONS:
            raise self.error(f"unknown function {token.text!r}: known are {', '.join(sorted(_FUNCTIONS))}")
        self.take()
        arguments = []
        while self.words and not (self.words[0].kind == "mark" and self.words[0].text in ("|", ")")):
            arguments.append(self.operand())
        return _call(token, [*arguments, piped] if piped else arguments)

    def operand(self) -> Expression:
        token = self.take()
        if token.kind == "mark" and token.text == "(":
            value = self.pipe()
            if not self.accept(")"):
                raise self.error("')' is missing")
        else:
            value = self.simple(token)
        while self.words and self.words[0].kind == "field" and not self.words[0].spaced:
            value = _field(value, self.take())
        return value

    def simple(self, token: _Token) -> Expression:
        if token.kind == "field":
            return _field(lambda scope: scope.dot, token)
        if token.kind == "variable":
            return _variable(token)
        if token.kind == "mark" and token.text == ".":
            return lambda scope: scope.dot
        if token.kind in ("string", "number"):
            return _constant(_unquote(token))
        if token.kind == "word" and token.text in _CONSTANTS:
            return _constant(_CONSTANTS[token.text])
        self.words.insert(0, token)
        raise self.error(f"unexpected {token.text!r}")


def _is_comment(text: str) -> bool:
    return text.strip().startswith("/*") and text.strip().endswith("*/")


def _unquote(token: _Token) -> Any:
    if token.kind == "number" or token.text[0] == '"':
        try:
            return json.loads(token.text)
        except ValueError:
            raise UsageError(f"template column {token.column}: {token.text} is no valid literal") from None
    return token.text[1:-1]


def _constant(value: Any) -> Expression:
    return lambda _scope: value


def _variable(token: _Token) -> Expression:
    def value(scope: _Scope) -> Any:
        if token.text not in scope.variables:
            raise UsageError(f"template column {token.column}: undefined variable {token.text}")
        return scope.variables[token.text]

    return value


def _field(base: Expression, token: _Token) -> Expression:
    name = token.text[1:]

    def value(scope: _Scope) -> Any:
        owner = base(scope)
        if not isinstance(owner, Mapping):
            raise UsageError(f"template column {token.column}: {shown(owner)[:40]!r} has no field .{name}")
        try:
            return owner[name]
        except KeyError:
            known = f"fields are {', '.join(map(str, owner))}"
            message = f"template column {token.column}: there is no field .{name}"
            raise UsageError(message, hint=known) from None

    return value


def _call(token: _Token, arguments: Sequence[Expression]) -> Expression:
    function = _FUNCTIONS[token.text]

    def value(scope: _Scope) -> Any:
        try:
            return function(*(argument(scope) for argument in arguments))
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise UsageError(f"template column {token.column}: {token.text}: {error}") from None

    return value


def _literal(text: str) -> Body:
    return lambda _scope, out: out.append(text)


def _emit(value: Expression) -> Body:
    return lambda scope, out: out.append(shown(value(scope)))


def _assign(name: str, value: Expression) -> Body:
    def body(scope: _Scope, _out: list[str]) -> None:
        scope.variables[name] = value(scope)

    return body


def _sequence(parts: Sequence[Body]) -> Body:
    def body(scope: _Scope, out: list[str]) -> None:
        for part in parts:
            part(scope, out)

    return body


def _if(value: Expression, names: list[str], body: Body, other: Body) -> Body:
    def chosen(scope: _Scope, out: list[str]) -> None:
        found = value(scope)
        inner = scope.inner(scope.dot, **dict.fromkeys(names, found))
        (body if found else other)(inner, out)

    return chosen


def _with(value: Expression, names: list[str], body: Body, other: Body) -> Body:
    def chosen(scope: _Scope, out: list[str]) -> None:
        found = value(scope)
        if found:
            body(scope.inner(found, **dict.fromkeys(names, found)), out)
        else:
            other(scope, out)

    return chosen


def _range(value: Expression, names: list[str], body: Body, other: Body) -> Body:
    def repeated(scope: _Scope, out: list[str]) -> None:
        items = _items(value(scope))
        for pair in items:
            bound = dict(zip(names, pair[2 - len(names) :], strict=True))
            body(scope.inner(pair[1], **bound), out)
        if not items:
            other(scope, out)

    return repeated


def _items(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return sorted(value.items())
    if isinstance(value, list | tuple):
        return list(enumerate(value))
    if value is None:
        return []
    raise UsageError(f"template: range cannot walk over {shown(value)[:40]!r}")


_CONTROLS = {"if": _if, "with": _with, "range": _range}
_CONSTANTS = {"true": True, "false": False, "nil": None}


def shown(value: Any) -> str:
    """A value as Go prints it: `true`, `[a b]`, `map[k:v]`, `<no value>`."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{shown(item)}' for key, item in sorted(value.items()))}]"
    if isinstance(value, list | tuple):
        return f"[{' '.join(map(shown, value))}]"
    return str(value)


def _to_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = (value or {}).get(key, "") if isinstance(value, Mapping) or value is None else value[key]
    return value


def _printf(form: str, *values: Any) -> str:
    rest = list(values)

    def one(match: re.Match[str]) -> str:
        flags, verb = match.groups()
        if verb == "%":
            return "%"
        value = rest.pop(0)
        if verb == "q":
            return _to_json(shown(value))
        return f"%{flags}{'s' if verb in 'vs' else verb}" % (shown(value) if verb in "vs" else value)

    return re.sub(r"%([-+0 ]*\d*(?:\.\d+)?)([vsdqxf%])", one, form)


def _is_equal(value: Any, *others: Any) -> bool:
    return any(value == other for other in others)


def _split(text: str, separator: str) -> list[str]:
    return text.split(separator)


def _join(items: Sequence[Any] | None, separator: str) -> str:
    return separator.join(map(shown, items or ()))


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else text


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": lambda *values: next((value for value in values if not value), values[-1]),
    "eq": _is_equal,
    "ge": lambda a, b: a >= b,
    "gt": lambda a, b: a > b,
    "index": _index,
    "join": _join,
    "json": _to_json,
    "le": lambda a, b: a <= b,
    "len": lambda value: len(value or ()),
    "lower": lambda text: text.lower(),
    "lt": lambda a, b: a < b,
    "ne": lambda a, b: a != b,
    "not": lambda value: not value,
    "or": lambda *values: next((value for value in values if value), values[-1]),
    "pad": _pad,
    "print": lambda *values: "".join(map(shown, values)),
    "printf": _printf,
    "println": lambda *values: " ".join(map(shown, values)) + "\n",
    "split": _split,
    "title": lambda text: text.title(),
    "truncate": lambda text, width: text[:width],
    "upper": lambda text: text.upper(),
}
