from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.grammars.dockerfile import instructions as kind
from nacre.grammars.dockerfile.checks import Checks, LintWarning, parse_checks
from nacre.grammars.dockerfile.parse import parse, parse_trigger
from nacre.grammars.dockerfile.tokens import nearest
from nacre.words.errors import DockerfileError, UsageError


def one(text: str) -> kind.Instruction:
    """The only instruction after FROM."""
    (instruction,) = parse("FROM base\n" + text).stages[0].instructions
    return instruction


def failure(text: str) -> DockerfileError:
    with pytest.raises(DockerfileError) as caught:
        parse(text, "Dockerfile")
    return caught.value


def test_stages_and_global_args() -> None:
    file = parse(
        "# syntax=docker/dockerfile:1\n# check=skip=x\n"
        "ARG V=1 W\nFROM --platform=$BUILDPLATFORM a:$V AS Build"
        "\nRUN x\nFROM build\nCOPY --from=build /a /b\n"
    )
    assert dict(file.directives) == {"syntax": "docker/dockerfile:1", "check": "skip=x"}
    assert file.global_args[0].declared == (("V", "1"), ("W", None))
    assert [(stage.index, stage.name, stage.base.base) for stage in file.stages] == [
        (0, "build", "a:$V"),
        (1, "", "build"),
    ]
    assert file.stages[0].base.platform == "$BUILDPLATFORM"


def test_tokens_know_their_place_across_continuations() -> None:
    copy = one("COPY --chown=1 \\\n  # a comment\n  one \\\n   two /dst\n")
    assert isinstance(copy, kind.CopyInstruction)
    assert [(t, t.line, t.column) for t in copy.sources] == [("one", 4, 3), ("two", 5, 4)]
    assert (copy.destination, copy.destination.line, copy.destination.column) == ("/dst", 5, 8)
    assert copy.where == "Dockerfile:2"


@pytest.mark.parametrize(
    ("text", "line", "column", "hint"),
    [
        ("FORM busybox\n", 1, 1, "did you mean FROM?"),
        ("FROM a\nCOYP a b\n", 2, 1, "did you mean COPY?"),
        ("FROM a\n\nRUN \\\n  --mnt=type=tmpfs \\\n  x\n", 4, 3, "did you mean --mount?"),
        ("FROM a\nCOPY --chwon=1 a b", 2, 6, "did you mean --chown?"),
        ("FROM a\nUSER --x=1 b", 2, 6, "USER takes no flags"),
        ("FROM a\nCOPY --link=maybe a b", 2, 6, ""),
        ("FROM a\nCOPY --from a b", 2, 6, "write --from=VALUE"),
        ("FROM a\nCOPY --from=a --from=b a b", 2, 15, ""),
        ("FROM a\nCOPY only", 2, 6, ""),
        ("FROM a\nENV a=b c", 2, 9, ""),
        ("FROM a\nENV PATH", 2, 5, "write ENV name=value"),
        ("FROM a\nSHELL bash", 2, 7, 'write SHELL ["/bin/bash", "-c"]'),
        ("FROM a\nONBUILD FROM b", 2, 9, ""),
        ("FROM a\nONBUILD", 2, 1, ""),
        ("FROM a\nWORKDIR", 2, 1, ""),
        ("FROM a\nHEALTHCHECK --interval=3x CMD x", 2, 24, "write for example 30s or 1m30s"),
        ("FROM a\nHEALTHCHECK --retries=-1 CMD x", 2, 23, ""),
        ("FROM a\nHEALTHCHECK ASK x", 2, 13, ""),
        ("FROM a\nRUN <<EOF\nx\n", 2, 5, "end it with a line that contains only EOF"),
        ("FROM a\nRUN --network=bridge x", 2, 15, "use default, none or host"),
        ("FROM a as b c", 1, 8, ""),
        ("FROM a as 1b", 1, 11, None),
        ("RUN x\nFROM a", 1, 1, "only ARG may precede it"),
        ("ARG a", 1, 1, ""),
        ("# escape=x\nFROM a", 1, 1, ""),
        ("#escape=`\n# ESCAPE=`\nFROM a", 2, 1, ""),
        ("", 1, 1, ""),
        ("FROM a\nRUN a\0b", 2, 6, ""),
        ("FROM a\nRUN a\udcffb", 2, 6, ""),
        ('FROM a\nVOLUME [" "]', 2, 1, ""),
    ],
)
def test_errors_point_at_the_fault(text: str, line: int, column: int, hint: str | None) -> None:
    error = failure(text)
    assert (error.line, error.column) == (line, column)
    assert str(error).startswith(f"Dockerfile:{line}:{column}: ")
    assert hint is None or error.hint == hint


def test_errors_carry_the_offending_text() -> None:
    assert failure("FROM a\nFORM b\n").text == "FORM b"
    assert "'FORM'" in failure("FORM b\n").message


def test_bytes_that_are_not_utf8_may_stand_in_comments() -> None:
    assert parse("# caf\udce9\nFROM a\n").stages[0].base.base == "a"


def test_run_forms() -> None:
    shell, array = one("RUN echo 'a  b'"), one('RUN ["echo", "a"]')
    assert isinstance(shell, kind.RunInstruction)
    assert isinstance(array, kind.RunInstruction)
    assert (shell.command.words, shell.command.shell) == (("echo 'a  b'",), True)
    assert (array.command.words, array.command.shell) == (("echo", "a"), False)
    mounts = one("RUN --mount=type=cache,target=/c --mount=type=tmpfs,target=/t --network=none make")
    assert isinstance(mounts, kind.RunInstruction)
    assert mounts.mounts == ("type=cache,target=/c", "type=tmpfs,target=/t")
    assert mounts.network == "none"


def test_text_that_looks_like_json_is_reported() -> None:
    (warning,) = parse("FROM a\nRUN ['x']\nCMD ['x']\n").warnings
    assert str(warning).startswith("RUN starts with '['")
    assert str(warning).endswith("(line 2)")


def test_foreign_frontends_are_reported() -> None:
    assert parse("# syntax=docker/dockerfile:1.7-labs\nFROM a\n").warnings == ()
    assert parse("# syntax=docker.io/docker/dockerfile@sha256:0\nFROM a\n").warnings == ()
    (warning,) = parse("# syntax=someone/else\nFROM a\n").warnings
    assert "another frontend" in warning.text


def test_heredocs() -> None:
    run = one("RUN <<EOF\necho $a\n# kept\nEOF\n")
    assert isinstance(run, kind.RunInstruction)
    assert [(d.name, d.text, d.expand) for d in run.command.heredocs] == [("EOF", "echo $a\n# kept\n", True)]
    copy = one("COPY a <<'ONE' <<-TWO /dst/\n$x\nONE\n\t\ttab\n\tTWO\n")
    assert isinstance(copy, kind.CopyInstruction)
    assert copy.sources == ("a",)
    assert [(d.name, d.content, d.expand) for d in copy.contents] == [
        ("ONE", "$x\n", False),
        ("TWO", "tab\n", True),
    ]


def test_heredoc_after_other_words_and_file_descriptor() -> None:
    run = one("RUN 3<<EOF cat <<-\"X\" && echo '<<no'\na\nEOF\nb\nX\n")
    assert isinstance(run, kind.RunInstruction)
    found = [(d.name, d.descriptor, d.strip_tabs, d.expand) for d in run.command.heredocs]
    assert found == [("EOF", 3, False, True), ("X", 0, True, False)]


def test_json_commands_hold_no_heredoc() -> None:
    assert one('RUN ["cat", "<<EOF"]').command.heredocs == ()  # type: ignore[attr-defined]


def test_copy_flags() -> None:
    copy = one("COPY --from=b --chown=u:g --chmod=755 --link --parents --exclude=*.o --exclude=t -- a b /c/")
    assert isinstance(copy, kind.CopyInstruction)
    assert (copy.source_stage, copy.chown, copy.chmod, copy.link, copy.parents) == (
        "b",
        "u:g",
        "755",
        True,
        True,
    )
    assert copy.excludes == ("*.o", "t")
    add = one("ADD --unpack=false --checksum=sha256:0 --keep-git-dir https://a/b /c")
    assert isinstance(add, kind.CopyInstruction)
    assert (add.is_add, add.unpack, add.keep_git_dir, add.checksum) == (True, False, True, "sha256:0")


def test_healthcheck() -> None:
    check = one("HEALTHCHECK --interval=1m30s --timeout=500ms --retries=3 CMD curl -f localhost")
    assert isinstance(check, kind.HealthcheckInstruction)
    assert check.to_json() == {
        "Test": ["CMD-SHELL", "curl -f localhost"],
        "Interval": 90_000_000_000,
        "Timeout": 500_000_000,
        "Retries": 3,
    }
    assert one("HEALTHCHECK NONE").test == ("NONE",)  # type: ignore[attr-defined]
    assert one('healthcheck CMD ["a", "b"]').test == ("CMD", "a", "b")  # type: ignore[attr-defined]


def test_onbuild_keeps_the_expression() -> None:
    trigger = one("ONBUILD   run <<EOF\nx\nEOF\n")
    assert isinstance(trigger, kind.OnBuildInstruction)
    assert trigger.expression == "run <<EOF\nx\nEOF"
    again = parse_trigger(trigger.expression, "base image")
    assert isinstance(again, kind.RunInstruction)
    assert again.command.heredocs[0].text == "x\n"


def test_env_forms() -> None:
    assert one("ENV a=1 b='x y'").pairs == (("a", "1"), ("b", "'x y'"))  # type: ignore[attr-defined]
    assert one("ENV a  b  c").pairs == (("a", "b  c"),)  # type: ignore[attr-defined]


def test_warns_of_empty_continuation() -> None:
    (warning,) = parse("FROM a\nRUN x \\\n\n\n y\n").warnings
    assert str(warning) == "NoEmptyContinuation: Empty continuation line (line 5)"


def test_check_directive() -> None:
    assert parse_checks("", "d") == Checks()
    assert parse_checks("skip=A,b ; error=TRUE", "d") == Checks(("a", "b"), True, unknown=("A", "b"))
    assert parse_checks("error=true;experimental=all", "d") == Checks(error=True, experimental=("all",))
    rule, unnamed = LintWarning("one", "UndefinedVar"), LintWarning("two")
    assert Checks(("undefinedvar",)).left([rule, unnamed]) == [unnamed]
    assert Checks(("all",)).left([rule, unnamed]) == [unnamed]
    assert Checks(("other",)).left([rule]) == [rule]
    for comment in ("check=skip=UndefinedVar and why", "check = skip=all"):
        assert Checks().left([rule.replace(comments=("text", comment))]) == []
    assert Checks().left([rule.replace(comments=("check=nonsense",))])
    described = LintWarning("one", "InvalidDefinitionDescription")
    assert Checks().left([described]) == []
    assert Checks(experimental=("all",), skip=("all",)).left([described])
    for wrong, why in (
        ("error=maybe", "neither true nor false"), ("eror=true", "unknown key 'eror'"),
        ("UndefinedVar", "invalid check option 'UndefinedVar'"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=why):
            parse_checks(wrong, "Dockerfile: check")


def test_escape_directive_and_bom() -> None:
    file = parse("\ufeff# escape=`\nFROM a\nRUN dir `\n c:\\\n")
    assert file.escape == "`"
    assert file.stages[0].instructions[0].command.words == ("dir  c:\\",)  # type: ignore[attr-defined]


def test_crlf_line_ends() -> None:
    file = parse("FROM a\r\nRUN x \\\r\n y\r\n")
    assert file.stages[0].instructions[0].command.words == ("x  y",)  # type: ignore[attr-defined]


def test_nearest_needs_two_slips_at_most() -> None:
    assert nearest("RNU", ["RUN", "USER"]) == "RUN"
    assert nearest("WORKDRI", ["WORKDIR"]) == "WORKDIR"
    assert nearest("xyzzy", ["RUN", "USER"]) == ""


_words = st.sampled_from(
    [
        "FROM a",
        "RUN",
        "COPY",
        "<<EOF",
        "EOF",
        "\\",
        "\n",
        "#",
        "--x=",
        '["a"',
        "]",
        "'",
        '"',
        "$",
        "{",
        "é",
        "\t",
        "=",
    ]
)


@given(st.lists(_words | st.text(max_size=5), max_size=30))
def test_any_text_parses_or_is_refused(pieces: list[str]) -> None:
    text = " ".join(pieces)
    fault = None
    try:
        parse(text)
    except DockerfileError as error:
        fault = error
    assert fault is None or (1 <= fault.line <= text.count("\n") + 1 and fault.column >= 1)
