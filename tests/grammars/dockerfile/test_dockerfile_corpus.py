"""BuildKit's and moby's own cases. They are not part of this repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nacre.grammars.dockerfile.expand import expand, expand_words
from nacre.grammars.dockerfile.ignore import Ignore
from nacre.grammars.dockerfile.parse import parse
from nacre.grammars.dockerfile.syntax import RawInstruction, read
from nacre.words.errors import DockerfileError, UsageError

CORPUS = Path(__file__).parents[3].parent / "shared" / "corpus"
pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus ../shared/corpus is absent")

_ESCAPES = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


def _quote(text: str) -> str:
    plain = (_ESCAPES.get(char) or (char if ord(char) > 31 else f"\\x{ord(char):02x}") for char in text)
    return '"' + "".join(plain) + '"'


def _dump(node: RawInstruction) -> str:
    """The form in which the corpus prints a node."""
    words = [node.name.lower()]
    if node.flags:
        words.append("[" + " ".join(map(_quote, node.flags)) + "]")
    if node.child:
        words.append(f"({_dump(node.child)})")
    return " ".join(words + list(map(_quote, node.args)))


def _folders(name: str) -> list[Path]:
    folder = CORPUS / "dockerfile-parser" / name
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _text(path: Path) -> str:
    return path.read_bytes().decode()


@pytest.mark.parametrize("folder", _folders("testfiles"), ids=lambda folder: folder.name)
def test_parses_as_buildkit(folder: Path) -> None:
    got = "\n".join(f"({_dump(node)})" for node in read(_text(folder / "Dockerfile")).nodes)
    assert got == _text(folder / "result").strip()


@pytest.mark.parametrize("folder", _folders("testfiles-negative"), ids=lambda folder: folder.name)
def test_refuses_as_buildkit(folder: Path) -> None:
    with pytest.raises(DockerfileError):
        parse(_text(folder / "Dockerfile"))


def _expansions() -> list[tuple[str, str]]:
    file = CORPUS / "shell-lexer" / "envVarTest"
    lines = _text(file).splitlines() if file.is_file() else []
    rows = [[part.strip() for part in line.split("|")] for line in lines if line[:2] in ("A|", "U|")]
    return [(source, expected) for _, source, expected in rows]


@pytest.mark.parametrize(("source", "expected"), _expansions())
def test_expands_as_buildkit(source: str, expected: str) -> None:
    env = {"PWD": "/home", "SHELL": "bash", "KOREAN": "한국어", "NULL": ""}
    if expected == "error":
        with pytest.raises(DockerfileError):
            expand(source, env)
    else:
        assert expand(source, env) == expected


def test_splits_words_as_buildkit() -> None:
    env: dict[str, str] = {}
    for line in _text(CORPUS / "shell-lexer" / "wordsTest").splitlines():
        if line.startswith("ENV "):
            name, _, value = line[4:].lstrip().partition("=")
            env[name] = value
        elif line and line[0] != "#":
            source, _, expected = line.partition("|")
            try:
                got = expand_words(source.strip(), env)
            except DockerfileError:
                got = ["error"]
            assert got == expected.lstrip().split(","), source


def _cases(name: str) -> list[list[object]]:
    file = CORPUS / "dockerignore" / "cases.json"
    return json.loads(_text(file))[name] if file.is_file() else []


@pytest.mark.parametrize(("pattern", "path", "expected"), _cases("matches_or_parent"))
def test_ignores_as_moby(pattern: str, path: str, expected: bool) -> None:
    assert Ignore([pattern]).ignores(path) is expected


@pytest.mark.parametrize(("patterns", "path", "expected"), _cases("multi"))
def test_exceptions_as_moby(patterns: list[str], path: str, expected: bool) -> None:
    assert Ignore(patterns).ignores(path) is expected


@pytest.mark.parametrize(("pattern", "path", "expected", "error"), _cases("match"))
def test_matches_as_go(pattern: str, path: str, expected: bool, error: str) -> None:
    if error != "nil":
        with pytest.raises(UsageError):
            Ignore([pattern])
    else:
        assert Ignore([pattern]).ignores(path) is expected
