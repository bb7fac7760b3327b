"""The .dockerignore file: which paths of a context do not exist for a build.

    file    = *( comment / line )            comment = "#" at the very start of a line
    line    = [ "!" ] pattern                "!" brings back what an earlier line took away; the last one wins
    pattern = Go's file pattern, plus "**" for any number of folders; relative to the context, cleaned

A path is ignored when a pattern matches it or a folder above it. Source: docker build reference,
".dockerignore file"; moby/patternmatcher, whose corpus is the test.
"""

from __future__ import annotations

import posixpath

from ...words.errors import DockerfileError, UsageError
from ...words.lines import lines
from .glob import check, compile_glob, has_wildcard, matcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Test = Callable[[str], bool]

MAX_PATTERNS = 10_000


class Ignore:
    """An ordered list of patterns. Raises UsageError for a malformed one; immutable afterwards."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self.patterns = tuple(text for pattern in patterns if (text := _clean(pattern)))
        self._rules = tuple(_rule(pattern) for pattern in self.patterns)
        self.has_exceptions = any(keep for keep, _ in self._rules)
        self._tests = tuple(test for _, test in self._rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def ignores(self, path: str) -> bool:
        """Whether `path` (relative, "/" between names) is ignored, by itself or by a folder above it."""
        state = None
        parts = path.split("/")
        for count in range(1, len(parts) + 1):
            ignored, state = self.child("/".join(parts[:count]), state)
        return ignored

    def child(self, path: str, parent: tuple[bool, ...] | None) -> tuple[bool, tuple[bool, ...] | None]:
        """For a walk: whether `path` is ignored, given the state of its folder, and the state for its own.

        `parent` is None for the top. Each folder is asked once, so a walk costs one test a pattern.
        """
        if not self.has_exceptions:
            if parent is not None:
                return True, ()
            for test in self._tests:
                if test(path):
                    return True, ()
            return False, None
        matches = self._matches(path, parent or (False,) * len(self._rules))
        ignored = False
        for matched, (keep, _) in zip(matches, self._rules, strict=True):
            ignored = not keep if matched else ignored
        return ignored, matches

    def _matches(self, path: str, parent: tuple[bool, ...]) -> tuple[bool, ...]:
        return tuple(above or test(path) for above, test in zip(parent, self._tests, strict=True))

    def may_keep_below(self, folder: str) -> bool:
        """Whether something in an ignored folder may still be wanted, so that a walk must look."""
        return self.has_exceptions and any(
            _reaches(pattern[1:], folder) for pattern in self.patterns if pattern[0] == "!"
        )


def read_ignore(text: str, file: str = ".dockerignore") -> Ignore:
    """Read a .dockerignore file. Raises DockerfileError with the line of a malformed pattern."""
    patterns = []
    for number, raw in enumerate(lines(text.removeprefix("\ufeff")), 1):
        pattern = _line(raw)
        if pattern:
            patterns.append(pattern)
            _check(pattern, raw, file, number)
        if len(patterns) > MAX_PATTERNS:
            raise DockerfileError(f"more than {MAX_PATTERNS} patterns", file=file, line=number)
    return Ignore(patterns)


def _check(pattern: str, raw: str, file: str, number: int) -> None:
    try:
        _rule(_clean(pattern))
    except UsageError as error:
        raise DockerfileError(error.message, file=file, line=number, text=raw) from None


def _line(raw: str) -> str:
    if raw.startswith("#"):
        return ""
    pattern = raw.strip()
    keep = "!" if pattern.startswith("!") else ""
    pattern = pattern[len(keep) :].strip()
    if not pattern:
        return keep
    pattern = posixpath.normpath(pattern)
    return keep + (pattern.lstrip("/") or "/")


def _clean(pattern: str) -> str:
    """Go's filepath.Clean, also over the "!"."""
    pattern = pattern.strip()
    keep = "!" if pattern.startswith("!") else ""
    return keep + posixpath.normpath(pattern[len(keep) :]) if pattern[len(keep) :] else keep


def _rule(pattern: str) -> tuple[bool, Test]:
    if pattern == "!":
        raise UsageError("illegal exclusion pattern: '!'")
    keep = pattern[0] == "!"
    pattern = pattern[keep:]
    check(pattern, ordered=True)  # docker makes a regular expression of it
    return keep, _test(pattern)


def _test(pattern: str) -> Test:
    """The cheapest test that means the same as the regular expression."""
    if pattern == "**":
        return lambda path: True
    if pattern.startswith("**") and pattern[2] != "/" and not any(char in pattern[2:] for char in "*?[\\"):
        tail = pattern[2:]
        return lambda path: path.endswith(tail)
    deep = pattern.startswith("**/")
    rest = pattern[3:] if deep else pattern
    if "**" not in rest:
        return _deep(rest) if deep else _shallow(rest)
    if not deep and rest.endswith("/**") and not has_wildcard(rest[:-3]) and "\\" not in rest:
        prefix = rest[:-2]
        return lambda path: path.startswith(prefix)
    expression = compile_glob(pattern, deep=True)
    return lambda path: expression.fullmatch(path) is not None


def _shallow(pattern: str) -> Test:
    if "[" in pattern or ("/" in pattern and has_wildcard(pattern)):  # as in docker a class may match "/"
        expression = compile_glob(pattern)
        return lambda path: expression.fullmatch(path) is not None
    test = matcher(pattern)
    return (lambda path: "/" not in path and test(path)) if has_wildcard(pattern) else test


def _deep(rest: str) -> Test:
    """`**/rest`: the end of the path, from any folder on."""
    if "/" not in rest and "[" not in rest:
        test = matcher(rest)
        return lambda path: test(path.rpartition("/")[2])
    if not has_wildcard(rest) and "\\" not in rest:
        return lambda path: path == rest or path.endswith("/" + rest)
    expression = compile_glob("**/" + rest, deep=True)
    return lambda path: expression.fullmatch(path) is not None


def _reaches(pattern: str, folder: str) -> bool:
    """Whether a path below `folder` could match `pattern`, judged by the names before its first wildcard."""
    names = pattern.split("/")
    fixed = next((i for i, name in enumerate(names) if has_wildcard(name) or "\\" in name), len(names))
    above = folder.split("/")
    shared = min(fixed, len(above))
    return names[:shared] == above[:shared]
