"""Every pattern of .dockerignore that some parts make, on every path that some names make."""

from __future__ import annotations

from itertools import product

import pytest
from ignoremaker import FEW, RULES, SEGMENTS, above, ignored, paths, patterns

from nacre.grammars.dockerfile.ignore import Ignore, read_ignore
from nacre.words.errors import DockerfileError, UsageError


@pytest.mark.parametrize("first", SEGMENTS)
def test_a_pattern_matches_what_it_means(first: str) -> None:
    """A path is ignored by itself or with a folder above it."""
    everywhere, wrong = paths(), []
    for pattern in [found for found in patterns() if found.split("/")[0] == first]:
        rules = Ignore([pattern])
        wrong += [(pattern, path) for path in everywhere if rules.ignores(path) != ignored([pattern], path)]
    assert wrong == []


@pytest.mark.parametrize("first", RULES)
def test_the_last_rule_that_matches_decides(first: str) -> None:
    """Of two and three rules in any order; and a walk looks wherever something is still wanted."""
    everywhere, wrong = paths("ab"), []
    for rest in [*product(RULES, repeat=1), *product(RULES, repeat=2)]:
        rules, texts = Ignore([first, *rest]), (first, *rest)
        for path in everywhere:
            kept = not ignored(texts, path)
            folders = [each for each in above(path) if each != path and ignored(texts, each)]
            if rules.ignores(path) == kept or (kept and not all(map(rules.may_keep_below, folders))):
                wrong.append((texts, path))
    assert wrong == []


CHARACTERS = ("a", "m", "z", "-", "]", "[", "^", "!", "α", "☺", "\\")
CLASSES = {
    "[a]": "a", "[^a]": "mz-][^!α☺\\", "[a-m]": "am", "[^a-m]": "z-][^!α☺\\", "[!a]": "!a", "[az]": "az",
    "[a-lz]": "az",
    "[\\]]": "]", "[\\-]": "-", "[a\\-z]": "a-z", "[\\^]": "^", "[^\\]a]": "mz-[^!α☺\\", "[a^]": "a^",
    "[[]": "[",
    "[α-ω]": "α", "[^α]": "amz-][^!☺\\", "[\\\\]": "\\", "[a-a]": "a", "[a-zα]": "amzα", "[\\a-\\m]": "am",
}  # fmt: skip


@pytest.mark.parametrize("pattern", CLASSES)
def test_what_a_class_holds(pattern: str) -> None:
    rules = Ignore([pattern])
    assert {char for char in CHARACTERS if rules.ignores(char)} == set(CLASSES[pattern])
    # docker's expression for it lets a class stand for a slash too
    for around in ("a{}b", "**/a{}b", "**a{}b"):
        assert Ignore([around.format(pattern)]).ignores("a/b") is (pattern[1] == "^")


MALFORMED = (
    "[",
    "[]",
    "[]a]",
    "[^",
    "[^]",
    "[a",
    "[a-",
    "[a-]",
    "[-]",
    "[-a]",
    "[a-b-c]",
    "[\\",
    "[a\\",
    "\\",
    "a\\",
)


@pytest.mark.parametrize("pattern", MALFORMED)
def test_a_malformed_pattern_is_refused_wherever_it_stands(pattern: str) -> None:
    for text in (pattern, f"x{pattern}", f"**/{pattern}", f"x/y/{pattern}", f"!{pattern}"):
        with pytest.raises(UsageError):
            Ignore([text])
        with pytest.raises(DockerfileError, match=r"^f:3:1: "):
            read_ignore(f"ok\n# {pattern}\n{text}\n", "f")


SPECIAL = "(){}|.$+^%~#@,;=&' "


@pytest.mark.parametrize("char", SPECIAL)
def test_other_characters_mean_themselves(char: str) -> None:
    for pattern, path in (
        (f"a{char}b", f"a{char}b"),
        (f"*{char}b", f"a{char}b"),
        (f"**/x{char}?", f"d/x{char}y"),
    ):
        rules = Ignore([pattern])
        assert rules.ignores(path)
        assert not rules.ignores(path.replace(char, "Z"))
        assert not rules.ignores(path.replace(char, ""))


@pytest.mark.parametrize("pattern", [*FEW, "a/b", "!a", "!a/*", "*.[co]", "a b"])
def test_a_line_is_one_pattern_however_it_is_written(pattern: str) -> None:
    keep, plain = ("!", pattern[1:]) if pattern[0] == "!" else ("", pattern)
    forms = [pattern, f"  {pattern}", f"{pattern} \t", f"{keep} {plain}", f"{keep}./{plain}",
    f"{keep}/{plain}",
             f"{keep}{plain}/", f"{keep}./././{plain}//", f"{keep}x/../{plain}"]  # fmt: skip
    for form, end, head in product(forms, ("", "\n", "\r\n", "\n\n  \n"), ("", "\ufeff", "# a note\n\n")):
        assert read_ignore(head + form + end).patterns == (pattern,), (head, form, end)
