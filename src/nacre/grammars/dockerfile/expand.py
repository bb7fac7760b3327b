r"""Variables in Dockerfile words, as BuildKit's shell lexer reads them.

    word      = *( char / escape char / "'" *any "'" / '"' *( char / escape / dollar ) '"' / dollar )
    dollar    = "$" name / "${" name [ modifier ] "}" / "$"
    name      = 1*DIGIT / special / ( letter / digit / "_" )*        special: @ * # ? - $ ! 0
    modifier  = [ ":" ] ( "-" / "+" / "?" ) word                 default, alternative, required
              / ( "#" / "##" / "%" / "%%" ) pattern              without the shortest, longest prefix, suffix
              / ( "/" / "//" ) pattern "/" text                  first or every match replaced
    pattern   = *( "*" / "?" / "\" ( "*" / "?" / "\" / "}" / "/" ) / char )

Sources: Dockerfile reference, "Environment replacement"; POSIX shell 2.6.2; buildkit shell/lex.go. In
double quotes the escape works only before `"`, `$` and itself; at the end of a word it vanishes.
"""

from __future__ import annotations

from ...words.errors import DockerfileError
from ...words.value import Value
from .tokens import position

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping

_SPECIAL = "@*#?-$!0"
_MAX_DEPTH = 100


class _Bad(Exception):
    """A substitution that cannot be read or is refused."""


def expand(
    word: str, env: Mapping[str, str], *, escape: str = "\\", file: str = "Dockerfile", at: str = ""
) -> str:
    """`word` with quotes removed and variables replaced; unset ones become "".

    Raises DockerfileError at the place of the token, or of `at` for text that was not read from a file.
    """
    if _is_plain(word, escape):
        return word
    return _run(Lexer(word, env, escape), word, file, at)[0]


def expand_words(
    word: str, env: Mapping[str, str], *, escape: str = "\\", file: str = "Dockerfile", at: str = ""
) -> list[str]:
    """As `expand`, then split at white space that was neither quoted nor escaped."""
    return _run(Lexer(word, env, escape), word, file, at)[1]


def expand_document(text: str, env: Mapping[str, str], *, file: str = "Dockerfile", at: str = "") -> str:
    """A here-document: variables replaced, quotes left alone."""
    return _run(Lexer(text, env, "\\", Quoting(quotes=False)), text, file, at)[0]


def split_raw(text: str) -> list[str]:
    """The words of a line with quotes, escapes and variables kept; [] when its quotes do not close."""
    return _quietly(Lexer(text, {}, "\\", Quoting(raw_quotes=True, raw_escapes=True, keep_unset=True)))[1]


def unquote(text: str, raw: bool) -> list[str]:
    """The words of `text`, with quotes kept (`raw`) or removed; variables stay. [] when it is malformed."""
    return _quietly(Lexer(text, {}, "\\", Quoting(raw_quotes=raw, keep_unset=True)))[1]


def _is_plain(word: str, escape: str) -> bool:
    return "$" not in word and "'" not in word and '"' not in word and escape not in word


def _run(lexer: Lexer, word: str, file: str, at: str) -> tuple[str, list[str]]:
    try:
        return lexer.run()
    except _Bad as error:
        line, column = position(word) or position(at) or (0, 0)
        raise DockerfileError(
            f"failed to process {word[:200]!r}: {error}", file=file, line=line, column=column, text=word
        ) from None


def _quietly(lexer: Lexer) -> tuple[str, list[str]]:
    try:
        return lexer.run()
    except _Bad:
        return "", []


class _Output:
    """Text, and the same text as words."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self._pieces: list[str] = []
        self._word: list[str] = []

    @property
    def text(self) -> str:
        """All text that was added, joined."""
        return "".join(self._pieces)

    def keep(self, text: str) -> None:
        """Add text that white space does not split."""
        self._pieces.append(text)
        self._word.append(text)

    def split(self, text: str) -> None:
        """Add text that white space splits into words."""
        self._pieces.append(text)
        parts = text.split()
        if text[:1].isspace():
            self.end()
        for part in parts[:-1]:
            self._word.append(part)
            self.end()
        self._word += parts[-1:]
        if text[-1:].isspace():
            self.end()

    def end(self) -> None:
        """The word, if there is one, is complete."""
        word = "".join(self._word)
        if word:
            self.words.append(word)
            self._word = []


class Quoting(Value):
    """What stays in a word as it was written.

    `quotes` False: quotes mean nothing. `raw_quotes`, `raw_escapes`: they work and are kept.
    `keep_unset`: a variable that is not set stays as it was written.
    """

    quotes: bool = True
    raw_quotes: bool = False
    raw_escapes: bool = False
    keep_unset: bool = False


class Lexer:
    """One pass over one word."""

    def __init__(
        self, text: str, env: Mapping[str, str], escape: str, quoting: Quoting | None = None
    ) -> None:
        quoting = quoting or Quoting()
        self._text, self._env, self._escape = text, env, escape
        self._quotes, self._raw_quotes = quoting.quotes, quoting.raw_quotes
        self._raw_escapes, self._keep_unset = quoting.raw_escapes, quoting.keep_unset
        self._at = 0
        self._depth = 0
        self._special = frozenset("$<" + escape + ("'\"" if quoting.quotes else ""))

    def run(self) -> tuple[str, list[str]]:
        """The expanded text and its words. Raises _Bad."""
        out = self._until("", self._raw_escapes)
        return out.text, out.words

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        self._at += 1
        return self._text[self._at - 1 : self._at]

    def _until(self, stop: str, raw_escapes: bool) -> _Output:
        """Read to the character `stop` and over it ("": to the end)."""
        outer, self._raw_escapes = self._raw_escapes, raw_escapes
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _Bad("substitutions are nested too deeply")
        out = _Output()
        while (char := self._peek()) and char != stop:
            self._piece(char, stop, out)
        if self._take() != stop:
            raise _Bad(f"syntax error: missing {stop!r}")
        self._raw_escapes = outer
        self._depth -= 1
        out.end()
        return out

    def _piece(self, char: str, stop: str, out: _Output) -> None:
        if char == "$":
            out.split(self._dollar())
        elif char == "<":
            out.keep(self._angle())
        elif self._quotes and char == "'":
            out.keep(self._single())
        elif self._quotes and char == '"':
            out.keep(self._double())
        elif char == self._escape:
            self._take()
            kept = char if self._raw_escapes else ""
            out.keep(kept + self._take())
        else:
            out.split(self._plain(stop))

    def _plain(self, stop: str) -> str:
        start, text, special = self._at, self._text, self._special
        self._at += 1
        while self._at < len(text) and text[self._at] not in special and text[self._at] != stop:
            self._at += 1
        return text[start : self._at]

    def _angle(self) -> str:
        """`<`, or `<<` with the blanks after it, which belong to the word of a here-document."""
        start = self._at
        self._take()
        if self._peek() == "<":
            self._take()
            while self._peek() in ("\t", "\r", " "):
                self._take()
        return self._text[start : self._at]

    def _single(self) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise _Bad("unexpected end of statement while looking for matching single-quote")
        start, self._at = self._at, end + 1
        return self._text[start : self._at] if self._raw_quotes else self._text[start + 1 : end]

    def _double(self) -> str:
        self._take()
        quote = '"' if self._raw_quotes else ""
        out = quote
        while (char := self._peek()) != '"':
            if not char:
                raise _Bad("unexpected end of statement while looking for matching double-quote")
            out += self._dollar() if char == "$" else self._quoted()
        self._take()
        return out + quote

    def _quoted(self) -> str:
        char = self._take()
        if char != self._escape:
            return char
        kept = char if self._raw_escapes else ""
        following = self._peek()
        if not following:
            return kept
        return kept + self._take() if following in ('"', "$", self._escape) else kept + char

    def _dollar(self) -> str:
        self._take()
        if self._peek() == "{":
            return self._braced()
        name = self._name()
        if not name:
            return "$"
        return "$" + name if self._stays(name) else self._env.get(name, "")

    def _stays(self, name: str) -> bool:
        return self._keep_unset and name not in self._env

    def _name(self) -> str:
        start, char = self._at, self._peek()
        if char.isdecimal():
            self._skip(str.isdecimal)
        elif char and char in _SPECIAL:
            self._take()
        else:
            self._skip(_is_name)
        return self._text[start : self._at]

    def _skip(self, belongs: Callable[[str], bool]) -> None:
        while (char := self._peek()) and belongs(char):
            self._at += 1

    def _braced(self) -> str:
        start = self._at - 1
        self._take()
        if not self._peek():
            raise _Bad("syntax error: missing '}'")
        if self._peek() in "{}:":
            raise _Bad("syntax error: bad substitution")
        name = self._name()
        value = self._modified(name, self._take())
        return self._text[start : self._at] if self._stays(name) else value

    def _modified(self, name: str, modifier: str) -> str:
        value = self._env.get(name)
        if modifier == "}":
            return value or ""
        if modifier in ("#", "%"):
            return self._trimmed(value or "", modifier)
        if modifier == "/":
            return self._replaced(value or "")
        if modifier == ":":
            modifier, value = self._take(), value or None
            return self._chosen(name, value, ":" + modifier)
        return self._chosen(name, value, modifier)

    def _chosen(self, name: str, value: str | None, modifier: str) -> str:
        kind = modifier[-1:]
        if kind not in ("-", "+", "?") or not modifier:
            raise _Bad(f"unsupported modifier ({modifier}) in substitution")
        word = self._until("}", False).text
        if kind == "+":
            return word if value is not None else ""
        if value is not None:
            return value
        if kind == "-" or self._stays(name):
            return word
        raise _Bad(f"{name}: {word or 'is not allowed to be ' + ('empty' if ':' in modifier else 'unset')}")

    def _trimmed(self, value: str, modifier: str) -> str:
        pattern = self._until("}", True).text
        longest = pattern.startswith(modifier)
        pattern = pattern[1:] if longest else pattern
        if modifier == "#":
            found = compile_pattern(pattern, longest).match(value)
            return value[found.end() :] if found else value
        found = compile_pattern(_reversed(pattern), longest).match(value[::-1])
        return value[: len(value) - found.end()] if found else value

    def _replaced(self, value: str) -> str:
        everywhere = self._peek() == "/"
        if everywhere:
            self._take()
        pattern = self._until("/", True).text
        replacement = self._until("}", True).text
        count = 0 if everywhere else 1
        return _replace(compile_pattern(pattern, True), replacement, value, count)


def _replace(pattern: re.Pattern[str], replacement: str, value: str, count: int) -> str:
    """As `pattern.sub`, but like Go's `regexp` it replaces nothing empty right behind a match."""
    end = -1

    def text(found: re.Match[str]) -> str:
        nonlocal end
        behind, end = end, found.end()
        return replacement if end > behind else ""

    return pattern.sub(text, value, count=count)


def _is_name(char: str) -> bool:
    return char.isalpha() or char.isdecimal() or char == "_"


def compile_pattern(pattern: str, longest: bool) -> re.Pattern[str]:
    """A shell pattern without brackets as a regular expression. Raises _Bad for an escape it cannot have."""
    import re

    out, at = "", 0
    while at < len(pattern):
        char, following = pattern[at], pattern[at + 1 : at + 2]
        if char == "\\":
            if following not in ("*", "?", "\\", "}", "/"):
                raise _Bad(f"invalid pattern ({pattern}) in substitution: invalid escape '\\{following}'")
            out += re.escape(following)
            at += 1
        elif char in "*?":
            out += {"?": ".", "*": ".*" if longest else ".*?"}[char]
        else:
            out += re.escape(char)
        at += 1
    return re.compile(out)


def _reversed(pattern: str) -> str:
    """The pattern from right to left, each escape still before what it escapes."""
    pieces, at = [], 0
    while at < len(pattern):
        width = 2 if pattern[at] == "\\" and at + 1 < len(pattern) else 1
        pieces.append(pattern[at : at + width])
        at += width
    return "".join(reversed(pieces))
