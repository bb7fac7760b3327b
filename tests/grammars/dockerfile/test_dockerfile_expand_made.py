"""Words made from descriptions: each substitution, with each state of its variable, in any surrounding."""

from __future__ import annotations

from itertools import product

import pytest
from wordmaker import (
    BROKEN,
    ENV,
    PATTERNS,
    PLAIN,
    VALUES,
    Piece,
    around,
    chosen,
    doubly,
    named,
    replaced,
    trimmed,
)  # fmt: skip

from nacre.grammars.dockerfile.expand import expand, expand_words
from nacre.words.errors import DockerfileError

PIECES = {
    "text and quotes": PLAIN, "a variable": named(), "a modifier": chosen(Piece("w", "w")),
    "a modifier with an empty word": chosen(Piece("", "")),
    "a modifier with blanks and quotes": chosen(Piece("a 'b c'", "a b c")),
    "a substitution within another": doubly(), "what is malformed": [Piece(text, None) for text in BROKEN],
}  # fmt: skip


def outcome(word: str, env: dict[str, str] = ENV) -> str | None:
    try:
        return expand(word, env)
    except DockerfileError:
        return None


@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES)
def test_a_word_is_what_its_pieces_are(pieces: list[Piece]) -> None:
    found = [(piece, outcome(piece.written)) for piece in pieces]
    assert [(piece, got) for piece, got in found if got != piece.means] == []


@pytest.mark.parametrize("pieces", [*PIECES.values()][1:-1], ids=[*PIECES][1:-1])
def test_a_substitution_is_the_same_anywhere(pieces: list[Piece]) -> None:
    """In double quotes too; within single quotes nothing is one."""
    words = [word for piece in pieces if "'" not in piece.written for word in around(piece)]
    assert [(word, got) for word in words if (got := outcome(word.written)) != word.means] == []


def test_two_pieces_stand_beside_each_other() -> None:
    """But for a name that would go on: such pairs have braces."""
    pieces = [piece for piece in PLAIN + named() if piece.written[-1] in "}'\"" and piece.means is not None]
    pairs = [(one.written + two.written, f"{one.means}{two.means}") for one, two in product(pieces, repeat=2)]
    assert [(pair, got) for pair in pairs if (got := outcome(pair[0])) != pair[1]] == []


@pytest.mark.parametrize("modifier", ["#", "##", "%", "%%"])
def test_what_a_pattern_takes_away(modifier: str) -> None:
    wrong = []
    for value, pattern in product(VALUES, PATTERNS):
        if (got := outcome(f"${{V{modifier}{pattern}}}", {"V": value})) != trimmed(value, modifier, pattern):
            wrong.append((value, pattern, got))
    assert wrong == []


@pytest.mark.parametrize("modifier", ["/", "//"])
def test_what_a_pattern_replaces(modifier: str) -> None:
    wrong = []
    for value, pattern, text in product(VALUES, [p for p in PATTERNS if p != "/"], ("", "X", "ab")):
        expected = replaced(value, pattern, text, modifier == "//")
        if (got := outcome(f"${{V{modifier}{pattern}/{text}}}", {"V": value})) != expected:
            wrong.append((value, pattern, text, got, expected))
    assert wrong == []


SPACES = {
    "none": "",
    "one": "a b",
    "two": "a  b",
    "before": " a",
    "after": "a ",
    "around": "\ta\n",
    "only": "  ",
}


@pytest.mark.parametrize("value", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize(("before", "after"), list(product(("", "x", "x ", "'x '"), ("", "y", " y", '" y"'))))
def test_only_bare_blanks_split_words(value: str, before: str, after: str) -> None:
    """Those of a variable as well; quotes and escapes keep them."""
    bare = {"'x '": "x\0", '" y"': "\0y"}
    left, right = bare.get(before, before), bare.get(after, after)
    env = {"V": value}

    def split(middle: str) -> list[str]:
        return [word.replace("\0", " ").replace("\1", value) for word in (left + middle + right).split()]

    assert expand_words(f"{before}${{V}}{after}", env) == split(value)
    if value:
        assert expand_words(f'{before}"$V"{after}', env) == split("\1")
    assert expand_words(f"{before}m\\ n{after}", env) == split("m\0n")
    assert expand_words(f"{before}'m  n'{after}", env) == split("m\0\0n")


@pytest.mark.parametrize("word", BROKEN)
def test_malformed_words_are_not_split(word: str) -> None:
    for around_it in (word, f"a b {word}", f"$SET\t{word}"):
        with pytest.raises(DockerfileError):
            expand_words(around_it, ENV)
