from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.grammars.dockerfile.glob import check, compile_glob, has_wildcard, matcher, unescape
from nacre.grammars.dockerfile.ignore import Ignore, read_ignore
from nacre.words.errors import DockerfileError, UsageError


def test_reads_lines() -> None:
    text = "\ufeff# comment\n\n  /abs/./x/  \n ! /kept \n#not\\a pattern\n a#b\n*.py[co]\n"
    assert read_ignore(text).patterns == ("abs/x", "!kept", "a#b", "*.py[co]")


def test_malformed_pattern_names_its_line() -> None:
    with pytest.raises(
        DockerfileError, match=r"^app\.dockerignore:2:1: syntax error in pattern '\[a'"
    ) as caught:
        read_ignore("ok\n[a\n", "app.dockerignore")
    assert caught.value.text == "[a"
    with pytest.raises(DockerfileError, match="illegal exclusion"):
        read_ignore("!\n")


@pytest.mark.parametrize(
    ("patterns", "kept", "ignored"),
    [
        (["node_modules"], ["a/node_modules", "node_modules2"], ["node_modules", "node_modules/x/y"]),
        (["**/node_modules"], ["node_modulesx"], ["a/b/node_modules/c", "node_modules"]),
        (["*.log"], ["a/b.log"], ["b.log"]),
        (["**/*.log"], ["a/b.logs"], ["b.log", "a/b.log", "a.log/x"]),
        (["docs/**", "!docs/README.md"], ["docs", "docs/README.md"], ["docs/a", "docs/x/README.md"]),
        (["*", "!src", "src/*.tmp"], ["src", "src/a.py"], ["a", "src/a.tmp"]),
        (["a/*/c"], ["a/c", "a/b/d/c"], ["a/b/c", "a/b/c/d"]),
        (["tmp?"], ["tmp", "tmp/x"], ["tmp1", "tmp1/x"]),
        (["**"], [], ["a", "a/b"]),
        (["**suffix"], ["suffixes"], ["a-suffix", "x/y-suffix"]),
        ([".git"], [".gitignore", "a/.git"], [".git/HEAD"]),
    ],
)
def test_ignores(patterns: list[str], kept: list[str], ignored: list[str]) -> None:
    rules = Ignore(patterns)
    assert [path for path in kept if rules.ignores(path)] == []
    assert [path for path in ignored if not rules.ignores(path)] == []


def test_knows_where_exceptions_may_hide() -> None:
    rules = Ignore(["node_modules", "docs", "!docs/api/*.md", "!**/keep"])
    assert rules.may_keep_below("docs")
    assert rules.may_keep_below("docs/api")
    assert rules.may_keep_below("node_modules")
    assert not Ignore(["a", "!b/c"]).may_keep_below("a")
    assert not Ignore(["a"]).may_keep_below("a")


@pytest.mark.parametrize("pattern", ["[z-a]", "!x[^z-a]", "a/[b-dz-a]*"])
def test_a_range_that_runs_backwards(pattern: str) -> None:
    """docker refuses it in .dockerignore, and takes it for a class without members in COPY."""
    with pytest.raises(DockerfileError, match="a character range that runs backwards"):
        read_ignore(f"{pattern}\n")
    check(pattern)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [("[z-a]", ""), ("[^z-a]", "abz"), ("[z-ab]", "b"), ("[^bz-a]", "az"), ("[a-b]", "ab")],
)
def test_a_class_without_members(pattern: str, names: str) -> None:
    assert "".join(filter(matcher(pattern), "abz")) == names


def test_glob_helpers() -> None:
    assert has_wildcard("a*") is has_wildcard("[a]") is True
    assert not has_wildcard("a\\*")
    assert unescape("a\\*b") == "a*b"
    assert matcher("lib*.so")("libz.so")
    assert not matcher("lib*.so")("lib.s")
    assert not matcher("ab*ba")("aba")
    assert matcher("[!a]")("!")
    for bad in ("[", "[]", "[a-", "a\\", "[-a]"):
        with pytest.raises(UsageError):
            check(bad)


_pattern = st.text(alphabet="ab*?/[]^-\\!.{(|+$", min_size=1, max_size=12)


@given(_pattern, st.text(alphabet="ab/.{(|", max_size=12))
def test_any_pattern_works_or_is_refused(pattern: str, path: str) -> None:
    try:
        rules = Ignore([pattern])
    except UsageError:
        return
    assert rules.ignores(path) in (True, False)


@given(st.text(alphabet="ab*?", max_size=6), st.text(alphabet="ab", max_size=6))
def test_quick_test_means_the_same_as_the_expression(pattern: str, name: str) -> None:
    assert matcher(pattern)(name) == bool(compile_glob(pattern).fullmatch(name))
