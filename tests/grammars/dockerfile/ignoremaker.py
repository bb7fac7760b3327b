"""Patterns of .dockerignore by the product of their parts, and what they mean, decided by trying.

The rules are those of docker's reference, ".dockerignore file", and of Go's `filepath.Match`. Nothing is
compiled: `matches` follows both texts character by character. As in docker a class may stand for a slash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product

SEGMENTS = ("a", "b*", "*", "?b", "**", "[ab]", "[^a-b]*", "a\\*", "**a", "a**", "*.a", ".")
FEW = ("a", "*", "**", "b", "**b")
NAMES = ("a", "b", "ab", "bb", "a*", ".a", "c.a", "(")
RULES = ("**", "*", "a", "!a", "a/b", "!a/b", "*/b", "!**/b", "b/**", "!b/a")


def patterns() -> list[str]:
    """One or two parts of every kind, three of a few."""
    short = ["/".join(found) for size in (1, 2) for found in product(SEGMENTS, repeat=size)]
    return short + ["/".join(found) for found in product(FEW, repeat=3)]


def paths(names: Iterable[str] = NAMES, depth: int = 3) -> list[str]:
    """Every path of up to `depth` of these names."""
    names = tuple(names)
    return ["/".join(found) for size in range(1, depth + 1) for found in product(names, repeat=size)]


def above(path: str) -> Iterator[str]:
    """The path itself and the folders that it lies in."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def ignored(rules: Iterable[str], path: str) -> bool:
    """The last rule that matches the path or a folder above it decides."""
    found = False
    for rule in rules:
        if any(matches(clean(rule.removeprefix("!")), each) for each in above(path)):
            found = not rule.startswith("!")
    return found


def clean(pattern: str) -> str:
    """Without `.` and doubled or closing slashes, as `filepath.Clean` leaves it."""
    return "/".join(part for part in pattern.split("/") if part not in ("", ".")) or "."


def matches(pattern: str, path: str) -> bool:
    """Whether the whole of `path` is one that `pattern` means."""
    if pattern[:2] == "**" and pattern[2:3] not in ("", "/") and not set(pattern[2:]) & set("*?[\\"):
        return path.endswith(pattern[2:])
    return _match(pattern, path)


def _match(pattern: str, path: str) -> bool:
    if not pattern:
        return not path
    if pattern[:2] == "**":
        rest = pattern[3:] if pattern[2:3] == "/" else pattern[2:]
        return not rest or _match(rest, path) or any(_match(rest, end) for end in _below(path))
    if pattern[0] == "*":
        size = len(path.partition("/")[0])
        return any(_match(pattern[1:], path[cut:]) for cut in range(size + 1))
    if not path:
        return False
    if pattern[0] == "[":
        end = pattern.index("]")
        return _in(pattern[1:end], path[0]) and _match(pattern[end + 1 :], path[1:])
    if pattern[0] == "?":
        return path[0] != "/" and _match(pattern[1:], path[1:])
    cut = 1 if pattern[0] == "\\" else 0
    return pattern[cut] == path[0] and _match(pattern[cut + 1 :], path[1:])


def _below(path: str) -> Iterator[str]:
    return (path[at + 1 :] for at, char in enumerate(path) if char == "/")


def _in(inner: str, char: str) -> bool:
    """Whether a class of single characters and ranges has the character."""
    negated, inner = inner[:1] == "^", inner.removeprefix("^")
    if inner[1:2] == "-":
        return (inner[0] <= char <= inner[2]) != negated
    return (char in inner) != negated
