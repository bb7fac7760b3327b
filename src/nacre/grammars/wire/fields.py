"""A scanner for HTTP header fields made of tokens, quoted strings and parameters.

    token         = 1*tchar                                  RFC 9110, 5.6.2
    quoted-string = DQUOTE *( qdtext / quoted-pair ) DQUOTE  RFC 9110, 5.6.4
    parameter     = token OWS "=" OWS ( token / quoted-string )

It is lenient where registries are sloppy and never raises: what cannot be read comes out as "".
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_SPACE = " \t"
MAX_FIELD = 64 * 1024
"""Characters of a field that are looked at; the rest is ignored."""


class Scanner:
    """A position in a header field."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text[:MAX_FIELD], 0

    @property
    def done(self) -> bool:
        """Is the field used up."""
        return self.at >= len(self.text)

    def skip(self, chars: str = _SPACE) -> None:
        """Pass over any of `chars`."""
        while self.at < len(self.text) and self.text[self.at] in chars:
            self.at += 1

    def skip_to(self, char: str) -> None:
        """Go to the next `char`, or to the end."""
        found = self.text.find(char, self.at)
        self.at = len(self.text) if found < 0 else found

    def take(self, char: str) -> bool:
        """Pass over `char` if it is next."""
        if self.text[self.at : self.at + 1] != char:
            return False
        self.at += 1
        return True

    def until(self, char: str) -> str:
        """Everything before the next `char`, which is passed over; the rest if there is none."""
        start = self.at
        self.skip_to(char)
        end, self.at = self.at, min(self.at + 1, len(self.text))
        return self.text[start:end]

    def token(self) -> str:
        """A token, "" if none is next."""
        start = self.at
        while self.at < len(self.text) and self.text[self.at] in _TOKEN:
            self.at += 1
        return self.text[start : self.at]

    def value(self) -> str:
        """A quoted string without its quotes, or what stands before the next space, comma or semicolon."""
        if self.take('"'):
            return self._quoted()
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in ' \t,;"':
            self.at += 1
        return self.text[start : self.at]

    def parameters(self) -> Iterator[tuple[str, str]]:
        """The parameters that follow, `*( ";" name [ "=" value ] )`, names in lower case."""
        self.skip()
        while self.take(";"):
            self.skip()
            name = self.token().lower()
            self.skip()
            value = ""
            if self.take("="):
                self.skip()
                value = self.value()
            yield name, value
            self.skip()

    def _quoted(self) -> str:
        out: list[str] = []
        while not self.done:
            char = self.text[self.at]
            self.at += 1
            if char == '"':
                break
            if char == "\\" and not self.done:
                char = self.text[self.at]
                self.at += 1
            out.append(char)
        return "".join(out)
