"""Dockerfiles made from descriptions: each instruction, written in every way, is read as the same node."""

from __future__ import annotations

import pytest
from dockerfilemaker import FORMS, GAPS, STYLES, Form, Shown, Style, text, words, write

from nacre.grammars.dockerfile.parse import parse
from nacre.grammars.dockerfile.syntax import RawInstruction, read
from nacre.words.errors import DockerfileError


def shown(node: RawInstruction) -> Shown:
    child = shown(node.child) if node.child else None
    return node.name.lower(), tuple(node.flags), tuple(node.args), child


def nodes(source: str) -> list[Shown]:
    return [shown(node) for node in read(source).nodes]


def directive(style: Style) -> str:
    return "" if style.escape == "\\" else f"# escape={style.escape}{style.end}"


def name_of(form: Form) -> str:
    return " ".join((form.name, *form.words))


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_every_instruction_is_read_alike(style: Style) -> None:
    for form in FORMS:
        source, expected = write(form, style)
        whole = directive(style) + source
        assert nodes(whole) == [with_flags(expected, style)], whole


def with_flags(expected: Shown, style: Style) -> Shown:
    name, flags, args, child = expected
    return name, tuple(flag.replace("@", style.escape) for flag in flags), args, child


@pytest.mark.parametrize("between", ["", "\n", "# a note\n", "  # a note \\\n\n", "\n \t\n\n"])
@pytest.mark.parametrize("gap", GAPS.values(), ids=GAPS)
def test_instructions_end_where_the_next_begins(gap: object, between: str) -> None:
    """All of them in one file."""
    made = [write(form, Style(gap)) for form in FORMS]  # type: ignore[arg-type]
    assert nodes(between.join(source for source, _ in made)) == [expected for _, expected in made]


@pytest.mark.parametrize(
    ("head", "escape"),
    [
        ("# escape=`\n", "`"), ("#escape=`\n", "`"), ("#  ESCAPE \t=  `  \n", "`"), ("# escape=\\\n", "\\"),
        ("\ufeff# escape=`\n", "`"), ("# syntax=docker/dockerfile:1\n# escape=`\n", "`"),
        ("# escape=`\r\n", "`"),
        ("# a note\n# escape=`\n", "\\"), ("\n# escape=`\n", "\\"), ("# escaped=`\n", "\\"),
        ("# escape `\n", "\\"),
        ("# unknown=x\n# escape=`\n", "\\"), ("FROM x\n# escape=`\n", "\\"), ("", "\\"),
    ],
)  # fmt: skip
def test_where_a_directive_counts(head: str, escape: str) -> None:
    source, expected = write(text("run", "one", "two"), Style(GAPS["a continuation"], escape=escape))
    assert nodes(head + source)[-1] == expected
    assert read(head + source).escape == escape


@pytest.mark.parametrize("count", range(1, 6))
def test_an_escaped_escape_continues_nothing(count: int) -> None:
    """One escape before the end of a line continues it, two and more do not."""
    found = nodes("ENV a b" + "\\" * count + "\nENV c d\n")
    assert len(found) == (1 if count == 1 else 2)
    assert found[0][2][1] == ("bENV c d" if count == 1 else "b" + "\\" * count)


@pytest.mark.parametrize("name", ["ENV", "LABEL"])
@pytest.mark.parametrize("rest", ["name", "name ", "a=b c", "a=b c d=e", "a=b \\\n c"])
def test_a_name_without_a_value_is_refused(name: str, rest: str) -> None:
    with pytest.raises(DockerfileError):
        read(f"{name} {rest}\n")


ELEMENTS = ["1", "null", "true", "1.5", "[]", '["b"]', "{}", '{"a": "b"}']
ARRAYS = ["RUN", "CMD", "ENTRYPOINT", "SHELL", "VOLUME", "HEALTHCHECK CMD", "ONBUILD RUN", "COPY", "ADD"]


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("element", ELEMENTS)
def test_an_array_of_anything_but_strings_is_refused(name: str, element: str) -> None:
    for array in (f"[{element}]", f'["a", {element}]', f'[{element}, "a"]'):
        with pytest.raises(DockerfileError, match="strings only"):
            read(f"{name} {array}\n")


BROKEN = [
    "['a']",
    '["a"',
    '["a",]',
    '["a" "b"]',
    '["a"] b',
    '["a]',
    "[a]",
    '["\\x"]',
    '["a"],',
    "[",
    "[]]",
    "[NaN]",
]


@pytest.mark.parametrize("name", ["RUN", "CMD", "ENTRYPOINT", "SHELL"])
@pytest.mark.parametrize("rest", BROKEN)
def test_what_is_no_array_is_text(name: str, rest: str) -> None:
    assert nodes(f"{name} {rest}\n") == [(name.lower(), (), (rest,), None)]


@pytest.mark.parametrize("name", ["VOLUME", "COPY", "ADD"])
@pytest.mark.parametrize("rest", BROKEN)
def test_what_is_no_array_is_words(name: str, rest: str) -> None:
    assert nodes(f"{name} {rest}\n") == [(name.lower(), (), tuple(rest.split(" ")), None)]


@pytest.mark.parametrize(
    "source", ["", "\n", " \t\n", "# a note", "# a note\n\n#another\n", "# escape=`\n", "\ufeff"]
)
def test_a_file_without_instructions_is_refused(source: str) -> None:
    with pytest.raises(DockerfileError, match="no instructions"):
        parse(source)


def test_other_line_ends_are_characters() -> None:
    """Only a line feed ends a line: what Python calls lines besides may stand in an instruction."""
    for char in "\v\f\x1c\x1d\x1e\x85\u2028\u2029":
        assert nodes(f"RUN a{char}b\n") == [("run", (), (f"a{char}b",), None)]
    assert nodes("RUN a\rb\n") == [("run", (), ("a\rb",), None)]
    assert len(nodes("".join(write(words("expose", str(port)), Style())[0] for port in range(500)))) == 500
