"""Text that knows where it stood, and the logical line it was cut from."""

from __future__ import annotations

from ...words.errors import DockerfileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

BLANKS = "\t\v\f\r "


class Token(str):
    """A piece of a Dockerfile: equal to its text; `line` and `column` (from 1) of its first character."""

    __slots__ = ("column", "line")
    line: int
    column: int

    def __new__(cls, text: str, line: int = 0, column: int = 0) -> Self:  # noqa: D102
        token = super().__new__(cls, text)
        token.line, token.column = line, column
        return token

    def like(self, text: str) -> Token:
        """Other text in the same place."""
        return Token(text, self.line, self.column)


class LogicalLine:
    """One instruction, joined from physical lines.

    `text` is the joined text, `pieces` say for rising offsets in it at which line and column of the file
    the text from there on stood, `line` and `end_line` are its first and last physical line. `comments` stand
    above it: those since the instruction before, without their `#`, an empty one ends them.
    """

    __slots__ = ("comments", "end_line", "file", "line", "pieces", "text")

    def __init__(
        self, file: str, text: str, pieces: list[tuple[int, int, int]], comments: tuple[str, ...] = ()
    ) -> None:
        self.file, self.text, self.pieces, self.comments = file, text, pieces, comments
        self.line, self.end_line = pieces[0][1], pieces[-1][1]

    def where(self, offset: int) -> tuple[int, int]:
        """Line and column in the file of the character at `offset`."""
        start, line, column = self.pieces[0]
        for piece in self.pieces:
            if piece[0] > offset:
                break
            start, line, column = piece
        return line, column + offset - start

    def token(self, start: int, end: int) -> Token:
        """The text between two offsets."""
        return Token(self.text[start:end], *self.where(start))

    def error(self, message: str, offset: int = 0, *, hint: str = "") -> DockerfileError:
        """The error that `message` says, about the text at `offset`."""
        line, column = self.where(offset)
        return DockerfileError(
            message, file=self.file, line=line, column=column, text=self.text.strip(), hint=hint
        )

    def error_at(self, token: str, message: str, *, hint: str = "") -> DockerfileError:
        """The error that `message` says, about a token of this line (or the whole line)."""
        line, column = position(token) or self.where(0)
        return DockerfileError(
            message, file=self.file, line=line, column=column, text=self.text.strip(), hint=hint
        )


def position(token: str) -> tuple[int, int] | None:
    """Where a token stood, None for text that was not read from a file."""
    return (token.line, token.column) if isinstance(token, Token) and token.line else None


def strip(text: str, start: int, end: int) -> tuple[int, int]:
    """The part of `text[start:end]` without white space at both ends, as offsets."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def nearest(text: str, options: tuple[str, ...] | list[str]) -> str:
    """The option that is at most two slips of the finger away from `text`, or ""."""
    best, found = 3, ""
    for option in options:
        distance = _distance(text.lower(), option.lower(), best)
        if distance < best:
            best, found = distance, option
    return found


def did_you_mean(text: str, options: tuple[str, ...] | list[str], prefix: str = "") -> str:
    """A hint sentence, or "" when nothing is near."""
    found = nearest(text, options)
    return f"did you mean {prefix}{found}?" if found else ""


def _distance(left: str, right: str, limit: int) -> int:
    """Edit distance where swapped neighbours count once; may stop early at `limit`."""
    if abs(len(left) - len(right)) >= limit:
        return limit
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, char in enumerate(left):
        above, row = row, [i + 1]
        for j, other in enumerate(right):
            cost = min(above[j] + (char != other), above[j + 1] + 1, row[j] + 1)
            if i and j and char == right[j - 1] and left[i - 1] == other:
                cost = min(cost, before[j - 1] + 1)
            row.append(cost)
        before = above
    return row[-1]
