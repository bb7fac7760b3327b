from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.grammars.dockerfile.expand import expand, expand_document, expand_words, split_raw
from nacre.grammars.dockerfile.tokens import Token
from nacre.words.errors import DockerfileError

ENV = {"V": "foo.bar.baz", "P": "/usr/lib/x.so.1", "E": "", "N": "a\nb"}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("${V#foo.}", "bar.baz"),
        ("${V#*.}", "bar.baz"),
        ("${V##*.}", "baz"),
        ("${V%.*}", "foo.bar"),
        ("${V%%.*}", "foo"),
        ("${V%?a?}", "foo.bar."),
        ("${V#nothing}", "foo.bar.baz"),
        ("${V/ba/BA}", "foo.BAr.baz"),
        ("${V//ba/BA}", "foo.BAr.BAz"),
        ("${V//./}", "foobarbaz"),
        ("${P//\\//-}", "-usr-lib-x.so.1"),
        ("${V#\\*}", "foo.bar.baz"),
        ("${UNSET#x}", ""),
        ("${E:-d}|${E-d}|${UNSET-d}", "d||d"),
        ("${E+a}|${E:+a}|${UNSET+a}", "a||"),
        ("${V:-${NEVER?bad}}", "error"),
        ("a${V}'$V'\"$V\"", "afoo.bar.baz$Vfoo.bar.baz"),
    ],
)
def test_modifiers(word: str, expected: str) -> None:
    if expected == "error":
        with pytest.raises(DockerfileError, match="NEVER: bad"):
            expand(word, ENV)
    else:
        assert expand(word, ENV) == expected


@pytest.mark.parametrize("word", ["${V#\\x}", "${V/a}", "${V:#a}", "${V^}", "${V", "${UNSET:?}", "'", '"'])
def test_refused(word: str) -> None:
    with pytest.raises(DockerfileError):
        expand(word, ENV)


def test_error_points_at_the_token_or_at_its_instruction() -> None:
    with pytest.raises(DockerfileError, match=r"^D:3:7: "):
        expand(Token("${x?gone}", 3, 7), {}, file="D")
    with pytest.raises(DockerfileError, match=r"^D:5:1: .*gone"):
        expand("${x?gone}", {}, file="D", at=Token("RUN", 5, 1))


def test_escape_character_can_be_the_backquote() -> None:
    assert expand("c:\\dir`$V", ENV, escape="`") == "c:\\dir$V"


def test_words_split_after_expansion() -> None:
    assert expand_words('80 "$P x" ${NO:-a b}', ENV) == ["80", "/usr/lib/x.so.1 x", "a", "b"]


def test_document_keeps_quotes() -> None:
    assert expand_document("say \"$V\" '$V' \\$V\n", ENV) == "say \"foo.bar.baz\" 'foo.bar.baz' $V\n"


def test_split_raw_finds_heredoc_words() -> None:
    assert split_raw("RUN cat <<- 'A B' && x \\y") == ["RUN", "cat", "<<-", "'A B'", "&&", "x", "\\y"]
    assert split_raw("RUN cat << EOF") == ["RUN", "cat", "<< EOF"]
    assert split_raw("RUN it's") == []


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(DockerfileError, match="too deeply"):
        expand("${a:-" * 5000 + "}" * 5000, {})


@given(st.text(alphabet="ab ${}:-+?#%/\\'\"<*1", max_size=40))
def test_any_word_expands_or_is_refused(word: str) -> None:
    try:
        text = expand(word, {"a": "x", "b": ""})
    except DockerfileError:
        return
    assert isinstance(text, str)


@given(st.text(alphabet="abc/.-_ é", max_size=40))
def test_plain_text_stays(word: str) -> None:
    assert expand(word, {}) == word
