"""requirements.txt, as pip reads it.

    line = REQUIREMENT { "--hash=" ALGORITHM ":" HEX } | URL | PATH | ("-e" | "--editable") PATH
         | "-r" FILE | "-c" FILE | "-i" URL | "--extra-index-url" URL | "--require-hashes" | "--pre" | …
    a final "\\" continues a line, " #" begins a comment, ${NAME} is a variable of the environment

Source: pip's documentation, "Requirements File Format".
"""

from __future__ import annotations

import os
import re

from ...words.errors import Unsupported, UsageError
from ...words.lines import lines
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_COMMENT = re.compile(r"(^|\s)#.*$")
_JOINED = re.compile(r"^(--?[A-Za-z][a-z-]*)=(.*)$")
_WITH_VALUE = {
    "-r": "include", "--requirement": "include", "-c": "constrain", "--constraint": "constrain",
    "-i": "index", "--index-url": "index", "--extra-index-url": "extra", "-e": "folder",
    "--editable": "folder", "-f": "", "--find-links": "", "--no-binary": "", "--only-binary": "binary",
    "--trusted-host": "", "--use-feature": "ignored", "--hash": "hash", "--config-settings": "",
}  # fmt: skip
_FLAGS = {"--require-hashes": "hashes", "--pre": "pre", "--prefer-binary": "ignored", "--no-index": ""}
_DEEP = 16


class RequirementLine(Value):
    """One requirement: its text (PEP 508), or the `folder` of a project; `hashes` are pairs, name and hex."""

    text: str = ""
    folder: str = ""
    hashes: tuple[tuple[str, str], ...] = ()


class RequirementsFile(Value):
    """Everything that a file and those it includes say."""

    wishes: tuple[RequirementLine, ...] = ()
    constraints: tuple[str, ...] = ()
    index: str = ""
    extra: tuple[str, ...] = ()
    require_hashes: bool = False
    pre: bool = False


def read_requirements(
    name: str, read: Callable[[str], str], variables: Mapping[str, str] | None = None
) -> RequirementsFile:
    """The file `name`; `read` gives the text of a file, by its path beside it.

    Raises UsageError with `file:line`, Unsupported for an option that would change what is installed.
    """
    reader = _RequirementsReader(read, variables or {})
    reader.take(name, 0)
    required = reader.require or any(wish.hashes for wish in reader.wishes)
    return RequirementsFile(
        tuple(reader.wishes),
        tuple(reader.constraints),
        reader.index,
        tuple(reader.extra),
        required,
        reader.pre,
    )


class _RequirementsReader:
    def __init__(self, read: Callable[[str], str], variables: Mapping[str, str]) -> None:
        self._read, self._variables = read, variables
        self.wishes: list[RequirementLine] = []
        self.constraints: list[str] = []
        self.extra: list[str] = []
        self.index, self.require, self.pre = "", False, False
        self._bound = False

    def take(self, name: str, depth: int) -> None:
        if depth > _DEEP:
            raise UsageError(f"{name}: requirements files include each other too deeply")
        for number, line in _lines(self._read(name)):
            text, rest = _parted(_VARIABLE.sub(self._variable, line))
            words = _words(rest, f"{name}:{number}")
            if text or words:
                self._line(f"{name}:{number}", name, text, words, depth)

    def _variable(self, match: re.Match[str]) -> str:
        return self._variables.get(match[1], match[0])

    def _line(self, where: str, name: str, text: str, words: list[str], depth: int) -> None:
        options = _options(where, words)
        hashes = [value for kind, value in options if kind == "hash"]
        for kind, value in options:
            if kind == "include":
                self.take(os.path.join(os.path.dirname(name), value), depth + 1)
            elif kind == "constrain":
                self._constrain(os.path.join(os.path.dirname(name), value), depth)
            elif kind == "folder":
                self.wishes.append(RequirementLine(folder=_beside(name, value)))
            else:
                self._option(where, kind, value)
        if text:
            self._wish(where, name, text, tuple(_hash(where, one) for one in hashes))

    def _option(self, where: str, kind: str, value: str) -> None:
        if kind == "index":
            self.index = value
        elif kind == "extra":
            self.extra.append(value)
        elif kind == "binary" and value not in (":all:", ":none:"):
            raise Unsupported(f"{where}: --only-binary {value} is not supported, only :all:")
        self.require = self.require or kind == "hashes"
        self.pre = self.pre or kind == "pre"

    def _constrain(self, name: str, depth: int) -> None:
        inner = _RequirementsReader(self._read, self._variables)
        inner.take(name, depth + 1)
        self.constraints += [wish.text for wish in inner.wishes if wish.text]

    def _wish(self, where: str, name: str, text: str, hashes: tuple[tuple[str, str], ...]) -> None:
        if text.startswith((".", "/")) or (os.sep in text.partition("@")[0] and "://" not in text):
            self.wishes.append(RequirementLine(folder=_beside(name, text), hashes=hashes))
        elif text.startswith(("git+", "hg+", "svn+", "bzr+")):
            raise Unsupported(f"{where}: packages from a repository are not supported: {text[:100]}")
        elif "://" in text and "@" not in text.partition("://")[0]:
            raise UsageError(
                f"{where}: a URL needs the name of its package", hint=f"write NAME @ {text[:100]}"
            )
        else:
            self.wishes.append(RequirementLine(text, hashes=hashes))


def _lines(text: str) -> list[tuple[int, str]]:
    """Logical lines without comments, with the number of their first line."""
    found, held, first = [], "", 1
    for number, line in enumerate(lines(text), 1):
        first = first if held else number
        line = _COMMENT.sub("", line) if not held else line
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        found.append((first, _COMMENT.sub("", held + line).strip()))
        held = ""
    return [*found, (first, held.strip())] if held else found


def _parted(line: str) -> tuple[str, str]:
    """A requirement as it is written, and the options after it, which begin at the first dash of a word."""
    words = line.split(" ")
    at = next((number for number, word in enumerate(words) if word.startswith("-")), len(words))
    return " ".join(words[:at]).strip(), " ".join(words[at:])


def _words(text: str, where: str) -> list[str]:
    if not text:
        return []
    import shlex

    try:
        return shlex.split(text, posix=True)
    except ValueError:
        raise UsageError(f"{where}: a quotation mark is not closed") from None


def _options(where: str, words: list[str]) -> list[tuple[str, str]]:
    """The options with their values."""
    options: list[tuple[str, str]] = []
    todo = list(reversed(words))
    while todo:
        word = todo.pop()
        joined = _JOINED.match(word)
        name, value = (joined[1], joined[2]) if joined else (word, None)
        if name in _FLAGS:
            options.append((_named(where, name, _FLAGS[name]), ""))
        elif name in _WITH_VALUE:
            if value is None and not todo:
                raise UsageError(f"{where}: {name} needs a value")
            given = value if value is not None else todo.pop()
            options.append((_named(where, name, _WITH_VALUE[name]), given))
        else:
            raise UsageError(f"{where}: unknown option {word[:100]}")
    return options


def _named(where: str, name: str, kind: str) -> str:
    if not kind:
        raise Unsupported(f"{where}: {name} is not supported", hint="name an index with --index-url instead")
    return kind


def _hash(where: str, text: str) -> tuple[str, str]:
    name, _, value = text.partition(":")
    if name not in ("sha256", "sha384", "sha512") or not value:
        raise UsageError(f"{where}: invalid hash {text[:100]!r}: expected sha256:HEX")
    return name, value.lower()


def _beside(name: str, text: str) -> str:
    path = text.removeprefix("file:").partition("[")[0]
    return os.path.normpath(os.path.join(os.path.dirname(name), path))
