r"""Go's file patterns, as COPY and .dockerignore use them.

    pattern = *( "*" / "?" / class / "\" char / char )      "*" and "?" do not match "/"
    class   = "[" [ "^" ] 1*( char [ "-" char ] ) "]"        "-" and "]" in a class only with "\"

Source: Go path/filepath.Match. Patterns become regular expressions; `re` is imported only when one is
really needed, which the usual patterns (`*.py`, `dir/**`, `**/name`) do not.
"""

from __future__ import annotations

from ...words.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable

WILDCARDS = "*?["


def has_wildcard(pattern: str) -> bool:
    """Whether a `*`, `?` or `[` stands in `pattern` without a backslash before it."""
    at = 0
    while at < len(pattern):
        if pattern[at] in WILDCARDS:
            return True
        at += 2 if pattern[at] == "\\" else 1
    return False


def unescape(pattern: str) -> str:
    """A pattern without wildcards as the name it stands for."""
    out, at = "", 0
    while at < len(pattern):
        at += pattern[at] == "\\" and at + 1 < len(pattern)
        out += pattern[at]
        at += 1
    return out


def check(pattern: str, *, ordered: bool = False) -> None:
    """Raise UsageError for a pattern that Go calls malformed; `ordered`: for `[z-a]` as well.

    Go's file patterns have that as a class without members, its regular expressions refuse it.
    """
    at = 0
    while at < len(pattern):
        if pattern[at] == "[":
            at, _, ranges = _ranges(pattern, at)
            if ordered and any(low > high for low, high in ranges):
                raise _bad(pattern, "a character range that runs backwards")
        elif pattern[at] == "\\":
            if at + 1 == len(pattern):
                raise _bad(pattern, "a trailing backslash")
            at += 2
        else:
            at += 1


def matcher(pattern: str) -> Callable[[str], bool]:
    """A test for one name (no "/" in it) against one component of a pattern. Raises UsageError."""
    check(pattern)
    head, star, tail = pattern.partition("*")
    if not star and not has_wildcard(head):
        return unescape(pattern).__eq__
    if not _has_special(head) and not _has_special(tail):
        return _between(head, tail)
    return _whole(compile_glob(pattern))


def _whole(expression: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda name: expression.fullmatch(name) is not None


def _between(head: str, tail: str) -> Callable[[str], bool]:
    size = len(head) + len(tail)
    return lambda name: len(name) >= size and name.startswith(head) and name.endswith(tail)


def _has_special(text: str) -> bool:
    return any(char in text for char in "*?[\\")


def compile_glob(pattern: str, *, deep: bool = False) -> re.Pattern[str]:
    """`pattern` as a regular expression for fullmatch; `deep`: `**` and `**/` cross "/"."""
    import re

    return re.compile(translate(pattern, deep), re.DOTALL)


def translate(pattern: str, deep: bool) -> str:
    """The text of that regular expression. Raises UsageError."""
    out, at = [], 0
    while at < len(pattern):
        char = pattern[at]
        if deep and pattern.startswith("**", at):
            at += 3 if pattern.startswith("**/", at) else 2
            out.append("(?:.*/)?" if at < len(pattern) else ".*")
            continue
        if char == "[":
            at, piece = _class(pattern, at)
            out.append(piece)
            continue
        if char == "\\":
            at += 1
            out.append(_literal(pattern[at : at + 1] or "\\"))
        else:
            out.append({"*": "[^/]*", "?": "[^/]"}.get(char) or _literal(char))
        at += 1
    return "".join(out)


def _literal(char: str) -> str:
    return char if char.isalnum() or char in "_/" else "\\" + char


def _class(pattern: str, at: int) -> tuple[int, str]:
    """The class that begins at `at`: where it ends, and as a regular expression."""
    end, negated, ranges = _ranges(pattern, at)
    members = "".join(f"{_literal(low)}-{_literal(high)}" for low, high in ranges if low <= high)
    if not members:
        return end, "." if negated else "(?!)"
    return end, f"[{'^' if negated else ''}{members}]"


def _ranges(pattern: str, at: int) -> tuple[int, bool, list[tuple[str, str]]]:
    """Where the class ends, whether it is negated, and its members; from z to a there is none."""
    at += 1
    negated = pattern.startswith("^", at)
    at += negated
    found: list[tuple[str, str]] = []
    while not (found and pattern.startswith("]", at)):
        at, low = _member(pattern, at)
        high = low
        if pattern.startswith("-", at):
            at, high = _member(pattern, at + 1)
        found.append((low, high))
    return at + 1, negated, found


def _member(pattern: str, at: int) -> tuple[int, str]:
    char = pattern[at : at + 1]
    if char in ("", "-", "]"):
        raise _bad(pattern, "an incomplete character class")
    if char == "\\":
        at += 1
        char = pattern[at : at + 1]
    if not char or at + 1 == len(pattern):
        raise _bad(pattern, "an incomplete character class")
    return at + 1, char


def _bad(pattern: str, why: str) -> UsageError:
    return UsageError(f"syntax error in pattern {pattern[:200]!r}: {why}")
