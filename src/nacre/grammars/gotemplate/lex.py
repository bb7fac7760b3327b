"""From the text of a template to tokens.

    {{ … }}  an action; `{{- ` and ` -}}` trim the text beside it; {{/* … */}} is a comment

An error is a token, `error`, and the last: the parser tells it where it meets it. Source: Go
text/template/parse, lex.go.
"""

from __future__ import annotations

import re

from ...words.value import Value
from .printf import quote

SPACES = " \t\r\n"
KEYWORDS = frozenset(
    ["block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with"]
)
_NUMBER = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F_]*(?:\.[0-9a-fA-F_]*)?(?:[pP][+-]?[0-9_]*)?|0[oO][0-7_]*(?:\.[0-7_]*)?"
    r"|0[bB][01_]*(?:\.[01_]*)?|[0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]*)?)i?"
)
_QUOTED = {
    '"': (re.compile(r'"(?:\\[^\n]|[^"\\\n])*"'), "string", "unterminated quoted string"),
    "'": (re.compile(r"'(?:\\[^\n]|[^'\\\n])*'"), "character", "unterminated character constant"),
    "`": (re.compile(r"`[^`]*`"), "raw", "unterminated raw quoted string"),
}


class TemplateToken(Value):
    """`kind`: text {{ }} space char = := | ( ) string raw character number complex variable field .
    identifier bool keyword error eof. `at` counts characters from 0, `line` from 1.
    """

    kind: str
    at: int
    text: str
    line: int

    def __str__(self) -> str:
        """As Go's messages show it."""
        if self.kind in ("eof", "error"):
            return self.text
        if self.kind == "keyword":
            return f"<{self.text}>"
        return quote(self.text[:10]) + "..." if len(self.text) > 10 else quote(self.text)


def lex(source: str) -> list[TemplateToken]:
    """All tokens; the last is `eof` or `error`."""
    lexer = _Lexer(source)
    while not lexer.tokens or lexer.tokens[-1].kind not in ("eof", "error"):
        lexer.inside() if lexer.is_inside else lexer.outside()
    return lexer.tokens


class _Lexer:
    def __init__(self, source: str) -> None:
        self.source = source
        self.at = self.start = self.depth = 0
        self.is_inside = False
        self.tokens: list[TemplateToken] = []

    def emit(self, kind: str, end: int) -> None:
        self.tokens.append(self.token(kind, self.source[self.start : end]))
        self.at = self.start = end

    def token(self, kind: str, text: str) -> TemplateToken:
        return TemplateToken(kind, self.start, text, 1 + self.source.count("\n", 0, self.start))

    def fail(self, message: str) -> None:
        self.tokens.append(self.token("error", message))

    def skip(self, end: int) -> None:
        self.at = self.start = end

    def outside(self) -> None:
        """Text up to an action, and the mark that opens it."""
        begin = self.source.find("{{", self.at)
        end = len(self.source) if begin < 0 else begin
        trim = begin >= 0 and self.trims_left(begin + 2)
        kept = len(self.source[:end].rstrip(SPACES)) if trim else end
        if kept > self.at:
            self.emit("text", kept)
        self.skip(end)
        if begin < 0:
            self.tokens.append(self.token("eof", "EOF"))
        else:
            self.open(begin + 2 + 2 * trim)

    def open(self, inside: int) -> None:
        if self.source.startswith("/*", inside):
            self.skip(inside)
            return self.comment()
        self.emit("{{", self.at + 2)
        self.skip(inside)
        self.is_inside, self.depth = True, 0
        return None

    def trims_left(self, at: int) -> bool:
        return self.source[at : at + 1] == "-" and self.source[at + 1 : at + 2] in tuple(SPACES)

    def closing(self, at: int) -> int:
        """The length of the mark that closes an action at `at`, 0 if there is none."""
        if self.source[at : at + 1] in tuple(SPACES) and self.source.startswith("-}}", at + 1):
            return 4
        return 2 if self.source.startswith("}}", at) else 0

    def comment(self) -> None:
        end = self.source.find("*/", self.at + 2)
        if end < 0:
            return self.fail("unclosed comment")
        if not self.closing(end + 2):
            return self.fail("comment ends before closing delimiter")
        return self.close(end + 2)

    def close(self, at: int) -> None:
        """Behind the mark at `at`, and the space that it trims."""
        length = self.closing(at)
        self.skip(at + length)
        if length == 4:
            rest = self.source[self.at :]
            self.skip(self.at + len(rest) - len(rest.lstrip(SPACES)))
        self.is_inside = False

    def inside(self) -> None:
        """One token of an action."""
        char = self.source[self.at : self.at + 1]
        if length := self.closing(self.at):
            self.finish(length)
        elif not char:
            self.fail("unclosed action")
        elif char in SPACES:
            self.space()
        elif char in _QUOTED:
            self.quoted(*_QUOTED[char])
        else:
            self.word(char)

    def finish(self, length: int) -> None:
        if self.depth:
            return self.fail("unclosed left paren")
        at = self.at
        self.skip(at + length - 2)
        self.tokens.append(self.token("}}", "}}"))
        return self.close(at)

    def space(self) -> None:
        end = self.at
        while self.source[end : end + 1] in tuple(SPACES) and not self.closing(end):
            end += 1
        self.emit("space", end)

    def quoted(self, form: re.Pattern[str], kind: str, unterminated: str) -> None:
        match = form.match(self.source, self.at)
        if match:
            self.emit(kind, match.end())
        else:
            self.fail(unterminated)

    def word(self, char: str) -> None:
        following = self.source[self.at + 1 : self.at + 2]
        if char == ":":
            self.emit(":=", self.at + 2) if following == "=" else self.fail("expected :=")
        elif char in "=|":
            self.emit(char, self.at + 1)
        elif char in "()":
            self.parenthesis(char)
        elif char in "+-" or _is_digit(char) or (char == "." and _is_digit(following)):
            self.number()
        elif char in "$." or _is_alphanumeric(char):
            self.name(char)
        else:
            self.mark(char)

    def parenthesis(self, char: str) -> None:
        self.depth += 1 if char == "(" else -1
        if self.depth < 0:
            return self.fail("unexpected right paren")
        return self.emit(char, self.at + 1)

    def mark(self, char: str) -> None:
        if char.isascii() and char.isprintable():
            self.emit("char", self.at + 1)
        else:
            self.fail(f"unrecognized character in action: {_named(char)}")

    def number(self) -> None:
        end, kind = self.scan_number(self.at), "number"
        if end > 0 and self.source[end : end + 1] in ("+", "-"):
            end, kind = self.scan_number(end), "complex"
            if end > 0 and self.source[end - 1] != "i":
                end = -end
        if end > 0:
            return self.emit(kind, end)
        return self.fail(f"bad number syntax: {quote(self.source[self.start : -end])}")

    def scan_number(self, at: int) -> int:
        """Where the number ends; negative if a letter follows, which it includes then."""
        match = _NUMBER.match(self.source, at)
        end = match.end() if match else at
        return -(end + 1) if _is_alphanumeric(self.source[end : end + 1]) else end

    def name(self, char: str) -> None:
        """`$`, `$x`, `.`, `.Field`, or a word."""
        end = self.at + (char in "$.")
        while _is_alphanumeric(self.source[end : end + 1]):
            end += 1
        if not self.terminates(end):
            return self.fail(f"bad character {_named(self.source[end])}")
        text = self.source[self.at : end]
        return self.emit(_kind(text), end)

    def terminates(self, at: int) -> bool:
        char = self.source[at : at + 1]
        return not char or char in SPACES + ".,|:)(" or self.source.startswith("}}", at)


def _kind(text: str) -> str:
    if text[0] == "$":
        return "variable"
    if text[0] == ".":
        return "field" if len(text) > 1 else "."
    if text in KEYWORDS:
        return "keyword"
    return "bool" if text in ("true", "false") else "identifier"


def _is_digit(char: str) -> bool:
    return char.isascii() and char.isdigit()


def _is_alphanumeric(char: str) -> bool:
    return char == "_" or char.isalpha() or char.isdecimal()


def _named(char: str) -> str:
    return f"U+{ord(char):04X}" + (f" '{char}'" if char.isprintable() else "")
