"""Dockerfile words from descriptions: each piece is written down together with what it stands for.

The rules of substitution are those of POSIX (Shell Command Language, 2.6.2), as a table; patterns are matched
by trying every piece of the value.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import product
from typing import NamedTuple

ENV = {"SET": "value", "TWO_1": "b c", "EMPTY": "", "GRÖSSE": "groß"}
UNSET = ("NONE", "_", "1", "9", "001", "999", *"@*#?-$!0")


class Refused(Exception):
    """The word must not be expanded."""


class Piece(NamedTuple):
    """Part of a word; `means` is None where it is to be refused."""

    written: str
    means: str | None


PLAIN = [
    Piece("text", "text"), Piece("/a.b-c:d", "/a.b-c:d"), Piece("안녕", "안녕"), Piece("$", "$"),
    Piece("$.", "$."),
    Piece("{}", "{}"), Piece("'q $SET \"r\" \\s'", 'q $SET "r" \\s'), Piece("''", ""), Piece('""', ""),
    Piece('"q \'r\' s"', "q 'r' s"), Piece('"\\"\\$\\\\"', '"$\\'), Piece('"\\t\\n\\\'"', "\\t\\n\\'"),
    Piece("\\a\\$\\'\\\"\\\\", "a$'\"\\"), Piece("\\${SET}", "${SET}"), Piece("\\ ", " "),
]  # fmt: skip
BROKEN = [
    "'open", '"open', '"open\\"', "it's", "${", "${}", "${SET", "${.}", "${:}", "${:-x}", "${SET:x}",
    "${SET:=x}",
    "${SET=x}", "${SET^}", "${SET,,}", "${{SET}}", "${SET:-", "${SET:-${SET}", "${SET:-'x}", "${SET#",
    "${SET%\\x}",
    "${SET/a}", "${SET//a}", "${SET/a/b", "${SET:}", "${SET-x",
]  # fmt: skip


def named() -> list[Piece]:
    """Variables without a modifier, with and without braces."""
    values = ENV | dict.fromkeys(UNSET, "")
    braced = [Piece(f"${{{name}}}", value) for name, value in values.items()]
    return braced + [Piece(f"${name}", value) for name, value in values.items()]


def chosen(word: Piece) -> list[Piece]:
    """Every default, alternative and requirement, with `word` as its word."""
    names = [*ENV, *UNSET]
    return [
        _chosen(name, modifier, word) for name, modifier in product(names, ["-", ":-", "+", ":+", "?", ":?"])
    ]


def _chosen(name: str, modifier: str, word: Piece) -> Piece:
    there = bool(ENV.get(name)) if modifier[0] == ":" else name in ENV
    written = f"${{{name}{modifier}{word.written}}}"
    if word.means is None:
        return Piece(written, None)
    if modifier[-1] == "+":
        return Piece(written, word.means if there else "")
    otherwise = word.means if modifier[-1] == "-" else None
    return Piece(written, ENV[name] if there else otherwise)


def doubly() -> list[Piece]:
    """A substitution within a substitution, three deep."""
    deep = _chosen("NONE", ":-", _chosen("SET", ":+", Piece("x y", "x y")))
    inner = [Piece("$SET", "value"), Piece("a${NONE}b", "ab"), _chosen("EMPTY", ":-", Piece("z", "z")), deep]
    inner += [
        _chosen("NONE", "?", Piece("why", "why")),
        Piece("{", "{"),
        Piece("\\}", "}"),
        Piece("'}'", "}"),
    ]
    return [found for word in inner for found in chosen(word)]


def around(piece: Piece) -> list[Piece]:
    """`piece` alone, between other text, in double quotes, and in single ones, where it is text."""
    sides = [("", ""), ("he", "}xx"), ("안녕", "/"), ("$SET", "''"), ('"<', '>"')]
    found = [_between(piece, Piece(a, _plain(a)), Piece(b, _plain(b))) for a, b in sides]
    return [*found, Piece(f"'{piece.written}'", piece.written)]


def _between(piece: Piece, before: Piece, after: Piece) -> Piece:
    means = None if piece.means is None else f"{before.means}{piece.means}{after.means}"
    return Piece(before.written + piece.written + after.written, means)


def _plain(text: str) -> str:
    return text.replace("$SET", "value").replace("''", "").replace('"', "")


VALUES = ("", "a", "ab", "aba", "b.a/b", "abab", "a*b", "?")
PATTERNS = ["".join(found) for size in (1, 2, 3) for found in product(("a", "b", "*", "?"), repeat=size)]
PATTERNS += [".", "/", "[ab]", "a|b", "^a", "b$", "\\*", "\\?", "a\\*", "\\\\", "+", "(a)", "\\/b", "\\}"]


def trimmed(value: str, modifier: str, pattern: str) -> str:
    """`value` without the shortest or longest prefix or suffix that matches."""
    sizes = range(len(value) + 1) if len(modifier) == 1 else range(len(value), -1, -1)
    for size in sizes:
        piece, rest = _ends(value, modifier[0], size)
        if matches(piece, pattern):
            return rest
    return value


def _ends(value: str, modifier: str, size: int) -> tuple[str, str]:
    if modifier == "#":
        return value[:size], value[size:]
    return value[len(value) - size :], value[: len(value) - size]


def replaced(value: str, pattern: str, text: str, everywhere: bool) -> str:
    """`value` with the leftmost longest match replaced, or all; nothing empty right behind a match."""
    out, at, last = "", 0, -1
    while at <= len(value):
        end = next((end for end in range(len(value), at - 1, -1) if matches(value[at:end], pattern)), -1)
        if end < 0 or end == last:
            out, at = out + value[at : at + 1], at + 1
            continue
        out, at, last = out + text, end, end
        if not everywhere:
            break
    return out + value[at:]


def matches(piece: str, pattern: str) -> bool:
    """Shell patterns have no classes here; `\\` makes the next character ordinary."""
    translated, at = "", 0
    while at < len(pattern):
        char = pattern[at]
        escaped = char == "\\"
        at += 2 if escaped else 1
        char = pattern[at - 1] if escaped else char
        translated += f"[{char}]" if (escaped and char in "*?") or char == "[" else char
    return fnmatchcase(piece, translated)
