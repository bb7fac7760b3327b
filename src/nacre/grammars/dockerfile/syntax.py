r"""Logical lines into nodes: a name, flags, arguments; nothing is checked against the instruction yet.

    instruction = name *( WS flag ) [ WS "--" ] WS rest
    flag        = "--" word              without quotes and escapes; flags end at the first other word
    rest        = json / words / pairs / text, by instruction:
      json      = "[" [ string *( "," string ) ] "]"      RUN CMD ENTRYPOINT SHELL HEALTHCHECK ADD COPY VOLUME
      words     = word *( WS word )                       ADD COPY VOLUME without JSON; EXPOSE FROM
      pairs     = name WS text / name "=" word *( WS name "=" word )           ENV LABEL
      declared  = name [ "=" word ] *( WS … )             ARG
      text      = everything                              the others, and those above without JSON
    heredoc     = [ DIGITS ] "<<" [ "-" ] *WS name        in ADD COPY RUN without JSON; a name with quotes
                                                          means no expansion

Source: Dockerfile reference; BuildKit's line parsers for what the reference leaves open: text that begins
with "[" and is no JSON is ordinary text, an array of anything but strings is an error.
"""

from __future__ import annotations

from ...words.errors import DockerfileError
from ...words.quickjson import loads
from ...words.value import Value
from .expand import split_raw, unquote
from .lines import LineReader
from .tokens import BLANKS, LogicalLine, Token, strip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .checks import LintWarning

_HEREDOC_IN = ("ADD", "COPY", "RUN")


class Heredoc(Value):
    """A here-document: `name` as it ends, `text` as written, `expand` False if the name was quoted."""

    name: str
    text: str = ""
    expand: bool = True
    strip_tabs: bool = False
    descriptor: int = 0

    @property
    def content(self) -> str:
        """The text as it is used: without leading tabs after `<<-`."""
        if not self.strip_tabs:
            return self.text
        return "\n".join(line.lstrip("\t") for line in self.text.split("\n"))


class RawInstruction(Value):
    """One instruction as written. `json`: `args` came from a JSON array. `child`: that of ONBUILD."""

    name: Token
    flags: tuple[Token, ...]
    args: tuple[Token, ...]
    line: LogicalLine
    json: bool = False
    heredocs: tuple[Heredoc, ...] = ()
    child: RawInstruction | None = None
    start: int = 0


class Syntax(Value):
    """A whole file: its nodes, parser directives, escape character and warnings."""

    nodes: tuple[RawInstruction, ...]
    directives: tuple[tuple[str, str], ...]
    escape: str
    warnings: tuple[LintWarning, ...]


def read(text: str, file: str = "Dockerfile") -> Syntax:
    """Read a Dockerfile. Raises DockerfileError."""
    reader = LineReader(text, file)
    nodes = []
    while (line := reader.next()) is not None:
        nodes.append(_with_heredocs(_node(line, 0, reader.escape), reader))
    if not nodes:
        raise DockerfileError("file with no instructions", file=file, line=max(reader.last_line, 1))
    return Syntax(tuple(nodes), tuple(reader.directives.items()), reader.escape, tuple(reader.warnings))


def parse_heredoc(word: str) -> Heredoc | None:
    """`<<NAME`, `3<<-"NAME"` without its text; None for any other word."""
    number, marker, rest = word.partition("<<")
    if not marker or (number and not (number.isascii() and number.isdigit())):
        return None
    strip_tabs = rest.startswith("-")
    rest = rest[strip_tabs:].lstrip()
    if not rest or "<" in rest:
        return None
    plain, raw = unquote(rest, False), unquote(rest, True)
    if len(plain) != 1 or len(raw) != 1:
        return None
    return Heredoc(plain[0], "", _quotes(plain[0]) == _quotes(raw[0]), strip_tabs, int(number or 0))


def _quotes(text: str) -> int:
    return text.count("'") + text.count('"')


def _with_heredocs(node: RawInstruction, reader: LineReader) -> RawInstruction:
    holder = node.child or node
    if holder.name.upper() not in _HEREDOC_IN or holder.json or "<<" not in node.line.text:
        return node
    found = [doc for word in split_raw(node.line.text) if (doc := parse_heredoc(word))]
    docs = tuple(doc.replace(text=reader.heredoc(node.line, doc.name, doc.strip_tabs)) for doc in found)
    return node.replace(heredocs=docs)


def _node(line: LogicalLine, start: int, escape: str) -> RawInstruction:
    text = line.text
    start, end = strip(text, start, len(text))
    stop = _blank(text, start, end)
    name = line.token(start, stop)
    at, flags = _flags(line, stop, end, escape)
    at, end = strip(text, at, end)
    upper = name.upper()
    if upper == "ONBUILD":
        child = _node(line, at, escape) if at < end else None
        return RawInstruction(name, flags, (), line, child=child, start=start)
    if upper == "HEALTHCHECK":
        args, is_json = _health(line, at, end)
    elif upper in _RESTS:
        args, is_json = _RESTS[upper](line, at, end, escape)
    else:
        args, is_json = (), False
    return RawInstruction(name, flags, args, line, is_json, start=start)


def _blank(text: str, start: int, end: int) -> int:
    """The first blank in `text[start:end]`, `end` if there is none."""
    while start < end and text[start] not in BLANKS:
        start += 1
    return start


def _flags(line: LogicalLine, at: int, end: int, escape: str) -> tuple[int, tuple[Token, ...]]:
    flags: list[Token] = []
    while True:
        at, _ = strip(line.text, at, end)
        if not line.text.startswith("--", at, end):
            return at, tuple(flags)
        stop, word = _flag(line.text, at, end, escape)
        if word == "--":
            return stop, tuple(flags)
        if word:
            flags.append(Token(word, *line.where(at)))
        at = stop


def _flag(text: str, at: int, end: int, escape: str) -> tuple[int, str]:
    """One word without its quotes and escapes, and where it ends."""
    quote, word = "", ""
    while at < end:
        char = text[at]
        if not quote and char.isspace():
            break
        if char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif char == escape:
            at += 1
            word += text[at : min(at + 1, end)]
        else:
            word += char
        at += 1
    return min(at, end), word


def _words(line: LogicalLine, at: int, end: int, escape: str) -> list[Token]:
    """Words, split at white space outside quotes; quotes and escapes are kept for the expansion."""
    words: list[Token] = []
    while True:
        at, _ = strip(line.text, at, end)
        if at >= end:
            return words
        stop, word = _quoted_word(line.text, at, end, escape)
        if word:
            words.append(Token(word, *line.where(at)))
        at = stop


def _quoted_word(text: str, at: int, end: int, escape: str) -> tuple[int, str]:
    quote, word = "", ""
    while at < end:
        char = text[at]
        if not quote and char.isspace():
            break
        if char == escape and quote != "'":
            at += 1
            word += char + text[at] if at < end else ""
        else:
            quote = _next_quote(quote, char)
            word += char
        at += 1
    return min(at, end), word


def _next_quote(quote: str, char: str) -> str:
    if quote:
        return "" if char == quote else quote
    return char if char in "'\"" else ""


def _split(line: LogicalLine, at: int, end: int) -> list[Token]:
    """Words split at blanks, whatever they hold."""
    words = []
    while at < end:
        stop = _blank(line.text, at, end)
        words.append(line.token(at, stop))
        at = stop
        while at < end and line.text[at] in BLANKS:
            at += 1
    return words


_Rest = tuple[tuple[Token, ...], bool]


def _strings(line: LogicalLine, at: int, end: int) -> list[str] | None:
    """The strings of a JSON array, None for text that is no JSON array. Raises for other elements."""
    text = line.text[at:end]
    if not text.startswith("["):
        return None
    try:
        found = loads(text)
        are_strings = all(isinstance(item, str) for item in found)
        if not are_strings:
            _refuse_constants(text)
    except (ValueError, RecursionError):
        return None
    if not are_strings:
        raise line.error("when using JSON array syntax, arrays must be comprised of strings only", at)
    return list(found)


def _refuse_constants(text: str) -> None:
    """Raises ValueError for NaN and the like, which are no JSON."""
    import json

    json.loads(text, parse_constant=_no_constant)


def _no_constant(text: str) -> None:
    raise ValueError(text)


def _json_or(
    line: LogicalLine, at: int, end: int, otherwise: Callable[[LogicalLine, int, int], list[Token]]
) -> _Rest:
    found = _strings(line, at, end)
    if found is None:
        return tuple(otherwise(line, at, end)), False
    place = line.where(at)
    return tuple(Token(item, *place) for item in found), True


def _whole(line: LogicalLine, at: int, end: int) -> list[Token]:
    return [line.token(at, end)] if at < end else []


def _command_rest(line: LogicalLine, at: int, end: int, _escape: str) -> _Rest:
    return _json_or(line, at, end, _whole)


def _list_rest(line: LogicalLine, at: int, end: int, _escape: str) -> _Rest:
    return _json_or(line, at, end, _split)


def _split_rest(line: LogicalLine, at: int, end: int, _escape: str) -> _Rest:
    return tuple(_split(line, at, end)), False


def _whole_rest(line: LogicalLine, at: int, end: int, _escape: str) -> _Rest:
    return tuple(_whole(line, at, end)), False


def _declared_rest(line: LogicalLine, at: int, end: int, escape: str) -> _Rest:
    return tuple(_words(line, at, end, escape)), False


def _pairs_rest(line: LogicalLine, at: int, end: int, escape: str) -> _Rest:
    """Triples of name, value and "=" (or "" for the form without it)."""
    words = _words(line, at, end, escape)
    if words and "=" not in words[0]:
        return _old_pair(line, at, end), False
    args: list[Token] = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise line.error_at(word, f"can't find = in {str(word)!r}: it must be of the form name=value")
        args += (word.like(name), Token(value, word.line, word.column + len(name) + 1), word.like("="))
    return tuple(args), False


def _old_pair(line: LogicalLine, at: int, end: int) -> tuple[Token, ...]:
    stop = _blank(line.text, at, end)
    value = stop
    while value < end and line.text[value] in BLANKS:
        value += 1
    if value == end:
        name = line.text.split(None, 1)[0].upper()
        raise line.error(f"{name} must have two arguments", at, hint=f"write {name} name=value")
    return (line.token(at, stop), line.token(value, end), Token(""))


def _health(line: LogicalLine, at: int, end: int) -> _Rest:
    stop = at
    while stop < end and not line.text[stop].isspace():
        stop += 1
    if stop == at:
        return (), False
    kind = line.token(at, stop)
    at, end = strip(line.text, stop, end)
    args, is_json = _json_or(line, at, end, _whole)
    return (kind, *args), is_json


_RESTS: dict[str, Callable[[LogicalLine, int, int, str], _Rest]] = {
    "ADD": _list_rest, "ARG": _declared_rest, "CMD": _command_rest, "COPY": _list_rest,
    "ENTRYPOINT": _command_rest, "ENV": _pairs_rest, "EXPOSE": _split_rest, "FROM": _split_rest,
    "LABEL": _pairs_rest, "MAINTAINER": _whole_rest, "RUN": _command_rest, "SHELL": _command_rest,
    "STOPSIGNAL": _whole_rest, "USER": _whole_rest, "VOLUME": _list_rest, "WORKDIR": _whole_rest,
}  # fmt: skip
