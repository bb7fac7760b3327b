r"""Physical lines into logical ones.

    file        = *( directive ) *( comment / empty / logical )
    directive   = "#" *WS name *WS "=" *WS value          only before anything else; syntax, escape, check
    comment     = *WS "#" text
    logical     = piece *( continuation *( comment / empty ) piece )
    continuation= escape *( " " / TAB ) EOL               the escape not itself preceded by an escape
    heredoc     = *( any line ) name EOL                  after a logical line that announced it

Source: Dockerfile reference, "Format", "Parser directives", "Escape", "Here-documents". White space at
the start of a first line is dropped, on continued lines it is kept. An empty line inside a continued
instruction is skipped with a warning, as BuildKit does.
"""

from __future__ import annotations

from ...words.errors import DockerfileError
from .checks import LintWarning
from .tokens import LogicalLine

DIRECTIVES = ("syntax", "escape", "check")


class LineReader:
    """Hands out the logical lines of one Dockerfile and, between them, the bodies of here-documents."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.escape = "\\"
        self.directives: dict[str, str] = {}
        self.warnings: list[LintWarning] = []
        self._lines = _physical(text.removeprefix("\ufeff"))
        self._next = 0
        self._skipped = False
        self._read_directives()

    def next(self) -> LogicalLine | None:
        """The next instruction, None at the end of the file."""
        comments: tuple[str, ...] = ()
        while self._next < len(self._lines):
            raw = self._take().rstrip("\r\n")
            text = raw.lstrip()
            if text[:1] == "#":
                comment = text[1:].strip()
                comments = (*comments, comment) if comment else ()
            if not text or text[0] == "#":
                continue
            pieces = [(0, self._next, len(raw) - len(text) + 1)]
            body, more = self._continued(text)
            if more:
                body = self._join(body, pieces)
            elif not body:
                continue
            return self._noted(LogicalLine(self.file, body, pieces, comments))
        return None

    def _noted(self, line: LogicalLine) -> LogicalLine:
        """The line; that it has empty ones in it is a warning."""
        if self._skipped:
            last = self._next
            self.warnings.append(
                LintWarning("Empty continuation line", "NoEmptyContinuation", last, last, line.comments)
            )
        self._skipped = False
        return line

    def heredoc(self, line: LogicalLine, name: str, strip_tabs: bool) -> str:
        """The lines up to one that is `name` alone. Raises DockerfileError when there is none."""
        taken: list[str] = []
        while self._next < len(self._lines):
            raw = self._take()
            closing = raw.rstrip("\r\n")
            if (closing.lstrip("\t") if strip_tabs else closing) == name:
                line.end_line = self._next
                return "".join(taken)
            taken.append(raw)
        raise line.error(
            f"unterminated here-document {name!r}", max(line.text.find("<<"), 0),
            hint=f"end it with a line that contains only {name}",
        )  # fmt: skip

    @property
    def last_line(self) -> int:
        """The number of the line read last."""
        return self._next

    def _take(self) -> str:
        self._next += 1
        return self._lines[self._next - 1]

    def _join(self, body: str, pieces: list[tuple[int, int, int]]) -> str:
        more = True
        while more and self._next < len(self._lines):
            raw = self._take().rstrip("\r\n")
            if raw.lstrip().startswith("#"):
                continue
            if not raw.strip():
                self._skipped = True
                continue
            text, more = self._continued(raw)
            pieces.append((len(body), self._next, 1))
            body += text
        return body

    def _continued(self, text: str) -> tuple[str, bool]:
        """`text` without a continuation at its end, and whether there was one."""
        cut = text.rstrip(" \t")
        if not cut.endswith(self.escape) or cut[-2:-1] == self.escape:
            return text, False
        return cut[:-1], True

    def _read_directives(self) -> None:
        while self._next < len(self._lines):
            found = _directive(self._lines[self._next].strip())
            if found is None:
                return
            self._next += 1
            self._set_directive(*found)

    def _set_directive(self, name: str, value: str) -> None:
        if name in self.directives:
            raise self._error(f"only one {name} parser directive can be used")
        self.directives[name] = value
        if name == "escape":
            if value not in ("\\", "`"):
                raise self._error(f"invalid escape token {value!r}: it must be ` or \\")
            self.escape = value

    def _error(self, message: str) -> DockerfileError:
        text = self._lines[self._next - 1].rstrip("\r\n")
        return DockerfileError(message, file=self.file, line=self._next, text=text)


def _physical(text: str) -> list[str]:
    """Lines with their ends; only a line feed ends one (str.splitlines knows more)."""
    parts = text.split("\n")
    last = parts.pop()
    return [part + "\n" for part in parts] + ([last] if last else [])


def _directive(line: str) -> tuple[str, str] | None:
    if not line.startswith("#"):
        return None
    name, equals, value = line[1:].partition("=")
    name, value = name.strip().lower(), value.strip()
    return (name, value) if equals and value and name in DIRECTIVES else None
