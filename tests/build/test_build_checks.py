"""Build checks, and what else a Dockerfile says of itself: `--check` and `--call`."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from nacre.cli import checkforms
from nacre.grammars.dockerfile.checks import RULES
from nacre.grammars.dockerfile.ignore import read_ignore
from nacre.services.build import BuildOptions, Inputs
from nacre.services.build.checks import call
from nacre.words.errors import NotFound


def nothing_here(name: str, _platform: object) -> Any:
    raise NotFound(f"{name} is not here")


def document(
    method: str, text: str, *, ignore: str = "", target: str = "", **arguments: str
) -> dict[str, Any]:
    inputs = Inputs("/nowhere", text, "Dockerfile", read_ignore(ignore))
    options = BuildOptions(target=target, arguments=tuple(arguments.items()))
    return call(method, inputs, options, nothing_here)


def found(text: str, **options: str) -> list[tuple[str, int]]:
    """The rules that are broken, with their lines."""
    result = document("check", text, **options)
    assert "buildError" not in result
    return [(one["ruleName"], one["location"]["ranges"][0]["start"]["line"]) for one in result["warnings"]]


CASES = [
    ("FROM scratch AS Base\n", [("StageNameCasing", 1)]),
    ("FROM scratch as base\nFROM base AS b\n", [("FromAsCasing", 1)]),
    ("from scratch AS base\n", [("FromAsCasing", 1)]),
    ("FROM scratch\nLABEL a=b \\\n\n  c=d\n", [("NoEmptyContinuation", 4)]),
    ("FROM scratch\nlabel a=b\nLABEL c=d\n", [("ConsistentInstructionCasing", 2)]),
    ("from scratch\nlabel a=b\nLabel c=d\n", [("ConsistentInstructionCasing", 3)]),
    ("FROM scratch AS a\nFROM scratch AS b\nFROM a AS a\n", [("DuplicateStageName", 3)]),
    ("FROM scratch AS context\n", [("ReservedStageName", 1)]),
    ("FROM scratch\nCMD go\nENTRYPOINT go on\n", [("JSONArgsRecommended", 2), ("JSONArgsRecommended", 3)]),
    ('FROM scratch AS a\nSHELL ["/sh"]\nFROM a\nCMD go\n', []),
    ("FROM scratch\nMAINTAINER me\n", [("MaintainerDeprecated", 2)]),
    ("FROM base$VERSION\n", [("UndefinedArgInFrom", 1)]),
    ("ARG VERSION\nFROM base$VERSION\nFROM --platform=$BUILDPLATFORM base\n", []),
    ("FROM scratch\nWORKDIR here\nWORKDIR there\n", [("WorkdirRelativePath", 2)]),
    ("FROM scratch AS a\nWORKDIR /a\nFROM a\nWORKDIR b\n", []),
    ("FROM scratch\nARG one\nCOPY $one ${two:-x} /\n", [("UndefinedVar", 3)]),
    ("FROM scratch AS a\nENV one=1\nFROM a\nCOPY $one $PATH /\nEXPOSE $port\n", []),
    ("FROM elsewhere\nCOPY $unknown /\n", []),
    ('FROM scratch\nCMD ["a"]\nLABEL a=b\nCMD ["b"]\n', [("MultipleInstructionsDisallowed", 2)]),
    ('FROM scratch AS a\nCMD ["a"]\nFROM a\nCMD ["b"]\n', []),
    ("FROM scratch\nENV a b\nLABEL c d\n", [("LegacyKeyValueFormat", 2), ("LegacyKeyValueFormat", 3)]),
    ("FROM --platform=${TARGETPLATFORM} scratch\n", [("RedundantTargetPlatform", 1)]),
    ("FROM scratch\nARG MY_TOKEN\n", [("SecretsUsedInArgOrEnv", 2)]),
    ("FROM scratch\nENV PASSWORD=x a=b\n", [("SecretsUsedInArgOrEnv", 2)]),
    ("FROM scratch\nARG PUBLIC_KEY\nENV TOKEN_FILE=/x TOKENS=2\n", []),
    ("FROM --platform=linux/amd64 scratch\n", [("FromPlatformFlagConstDisallowed", 1)]),
    ("FROM --platform=linux/amd64 scratch AS for-amd64\n", []),
    ("# check=experimental=all\n# what\nARG A\n# A is it\nFROM scratch AS A2\n", [
        ("InvalidDefinitionDescription", 3), ("StageNameCasing", 5), ("InvalidDefinitionDescription", 5),
    ]),
    ("# check=experimental=all\n# A is it\nARG A\n#\n# other\n#\nARG B\nFROM scratch\n", []),
    ("FROM scratch\nEXPOSE 80/TCP 81/udp\n", [("ExposeProtoCasing", 2)]),
    ("FROM scratch\nEXPOSE 80:80 [::1]:1:1 90\n", [("ExposeInvalidFormat", 2)] * 2),
    ("# check=skip=JSONArgsRecommended\nFROM scratch\nCMD go\n", []),
    ("FROM scratch\n# check=skip=JSONArgsRecommended it is meant\nCMD go\n", []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_rules(text: str, expected: list[tuple[str, int]]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(("trigger", "expected"), [
    ("ENV PASSWORD=x", ["SecretsUsedInArgOrEnv"]),
    ("ARG MY_TOKEN", ["SecretsUsedInArgOrEnv"]),
    ("ENV a b", ["LegacyKeyValueFormat"]),
    ("CMD go on", ["JSONArgsRecommended"]),
    ("WORKDIR here", ["WorkdirRelativePath"]),
    ("COPY $nothing /", ["UndefinedVar"]),
    ("COPY gone /", ["CopyIgnoredFile"]),
    ("EXPOSE 80/TCP", ["ExposeProtoCasing"]),
    ('CMD ["a"]', ["MultipleInstructionsDisallowed"]),
    ("run true", []),
])  # fmt: skip
def test_triggers_are_checked_where_they_are_done(trigger: str, expected: list[str]) -> None:
    beneath = f"FROM scratch AS a\nONBUILD {trigger}\n"
    assert found(beneath, ignore="gone\n") == []
    last = 'CMD ["b"]\n' if trigger.startswith("CMD [") else ""
    both = f"{beneath}# check=skip=StageNameCasing\nFROM a\n{last}"
    assert found(both, ignore="gone\n") == [(rule, 4) for rule in expected]
    silenced = f"{beneath}# check=skip={','.join(expected) or 'all'}\nFROM a\n{last}"
    assert found(silenced, ignore="gone\n") == []


def test_every_rule_has_a_case() -> None:
    others = {"InvalidDefaultArgInFrom", "CopyIgnoredFile", "InvalidBaseImagePlatform"}
    assert {rule for _, expected in CASES for rule, _ in expected} | others == set(RULES)
    assert len(RULES) == 22


def test_defaults_that_name_no_image() -> None:
    text = "ARG TAG\nFROM busybox:$TAG\n"
    assert found(text, TAG="1") == [("InvalidDefaultArgInFrom", 2)]
    assert found("ARG TAG=1\nFROM busybox:$TAG\n", TAG="2") == []


def test_sources_that_are_ignored() -> None:
    text = "FROM scratch AS a\nFROM a\nCOPY file dir/x other /\nADD file /\nCOPY --from=a file /\nCOPY . /\n"
    expected = [("CopyIgnoredFile", 3)] * 2 + [("CopyIgnoredFile", 4)]
    assert found(text, ignore="file\ndir\n") == expected
    assert found(text, ignore="file\ndir\n!dir/x\n") == []
    assert ("CopyIgnoredFile", 6) in found(text, ignore="*\n")
    assert ("CopyIgnoredFile", 6) not in found(text, ignore=".*\n")


def test_a_suggestion() -> None:
    (one,) = document("check", "FROM scratch\nENV DIR_ASSETS=a\nCOPY $DIR_ASSET /\n")["warnings"]
    assert one["detail"] == "Usage of undefined variable '$DIR_ASSET' (did you mean $DIR_ASSETS?)"
    assert one["url"] == "https://docs.docker.com/go/dockerfile/rule/undefined-var/"
    (one,) = document("check", "# check=skip=UndefinedVars\nFROM scratch\n")["warnings"]
    assert one["detail"] == "check: there is no rule 'UndefinedVars' (did you mean UndefinedVar?)"


def test_all_stages_or_those_of_the_target() -> None:
    text = "FROM scratch AS a\nENV a b\nFROM scratch AS b\nENV c d\n"
    assert found(text) == [("LegacyKeyValueFormat", 2), ("LegacyKeyValueFormat", 4)]
    assert found(text, target="a") == [("LegacyKeyValueFormat", 2)]


def test_a_fault_is_in_the_document() -> None:
    result = document("check", "FROM scratch\nFRON x\n")
    assert result["buildError"]["message"] == "Dockerfile:2:1: unknown instruction: 'FRON'"
    assert result["buildError"]["location"]["ranges"][0]["start"]["line"] == 2
    result = document("check", "# check=error=true\nFROM scratch\nENV a b\n")
    assert result["buildError"]["message"] == "lint violation found for rules: LegacyKeyValueFormat"


OUTLINE = """ARG TAG=1
ARG OTHER=2
# TAIL is the end of the name
ARG TAIL=${TAG}-x
FROM base:$TAIL AS first
RUN --mount=type=secret,target=/run/secrets/late true
# second makes it
FROM base AS second
# WHO is greeted
ARG WHO=you GREETING=hello
RUN --mount=type=secret,id=key,required --mount=type=ssh true
COPY --from=first /a /
FROM base
"""


def test_outline() -> None:
    result = document("outline", OUTLINE, target="second", WHO="me")
    assert (result["name"], result["description"]) == ("second", "makes it")
    assert [(one["name"], one["value"], one.get("description", "")) for one in result["args"]] == [
        ("TAG", "1", ""), ("TAIL", "1-x", "is the end of the name"), ("WHO", "me", "is greeted"),
        ("GREETING", "hello", ""),
    ]  # fmt: skip
    assert [(one["name"], one.get("required", False)) for one in result["secrets"]] == [
        ("late", False),
        ("key", True),
    ]
    assert [one["name"] for one in result["ssh"]] == ["default"]
    assert base64.b64decode(result["sources"][0]).decode() == OUTLINE


def test_targets() -> None:
    rows = document("targets", OUTLINE)["targets"]
    assert [(one.get("name"), one.get("description"), one.get("default")) for one in rows] == [
        ("first", None, None), ("second", "makes it", None), (None, None, True),
    ]  # fmt: skip
    assert rows[0]["base"] == "base:$TAIL"
    assert rows[0]["location"] == {"ranges": [{"start": {"line": 5}, "end": {"line": 5}}]}


def test_the_command(nacre: Any, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nENV a b\n")
    result = nacre("build", "--check", str(tmp_path), check=False)
    assert result.code == 1
    assert result.out == (
        "Check complete, 1 warning has been found!\n\n"
        "WARNING: LegacyKeyValueFormat - https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/\n"
        '"ENV key=value" should be used instead of legacy "ENV key value" format\n'
        "Dockerfile:2\n--------------------\n"
        "   1 |     FROM scratch\n   2 | >>> ENV a b\n   3 |     \n--------------------\n"
    )
    shown = nacre("build", "--call=check,format=json,ignorestatus=true", str(tmp_path))
    assert json.loads(shown.out)["warnings"][0]["ruleName"] == "LegacyKeyValueFormat"
    run = json.loads(nacre("build", "--call=check,format=sarif", str(tmp_path), check=False).out)["runs"][0]
    assert run["results"][0]["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "Dockerfile"}, "region": {"startLine": 2, "endLine": 2},
    }  # fmt: skip
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["LegacyKeyValueFormat"]
    assert nacre("build", "--call=check,format=github", str(tmp_path), check=False).out == (
        "::warning file=Dockerfile,line=2,endLine=2,title=LegacyKeyValueFormat::"
        '"ENV key=value" should be used instead of legacy "ENV key value" format\n'
    )
    assert nacre("build", "--call", "targets", str(tmp_path)).out == "TARGET    DESCRIPTION\n(default)\n"
    (tmp_path / "Dockerfile").write_text(OUTLINE)
    assert nacre("build", "--call=outline", "--target=second", str(tmp_path)).out.startswith(
        "TARGET:      second\nDESCRIPTION: makes it\n\nBUILD ARG   VALUE   DESCRIPTION\n"
    )
    wrongs = ("--call=nothing", "--call=check,format=xml", "--call=check,x=y", "--call=targets,format=sarif")
    for wrong in wrongs:
        assert nacre("build", wrong, str(tmp_path), check=False).code == 1
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    assert nacre("build", "--check", str(tmp_path)).out == "Check complete, no warnings found.\n"


def test_a_build_warns_and_fails_before_it_runs(project: Any) -> None:
    text = "FROM busybox:test AS b\nRUN touch /x\nFROM b\nENV a b\nCOPY $PATH$nope /x*\n"
    said = project.build(text.replace("COPY $PATH$nope /x*\n", "")).err
    assert said.count('WARN: LegacyKeyValueFormat: "ENV key=value" should be') == 1
    said = project.fails("# check=error=true\n" + text).err
    assert "UndefinedVar: Usage of undefined variable '$nope' (line 6)" in said
    assert "'$PATH'" not in said
    assert "lint violation found for rules: LegacyKeyValueFormat, UndefinedVar" in said
    assert "RUN touch" not in said


def test_findings_for_other_tools_are_escaped() -> None:
    place = {"ranges": [{"start": {"line": 3}, "end": {"line": 4}}]}
    document = {
        "warnings": [{"ruleName": "A,b", "detail": "50%\nof: it"}], "sources": [{"filename": "a:b,c"}],
        "buildError": {"message": "no", "location": place},
    }  # fmt: skip
    assert checkforms.github(document) == (
        "::warning file=a%3Ab%2Cc,line=1,endLine=1,title=A%2Cb::50%25%0Aof: it\n"
        "::error file=a%3Ab%2Cc,line=3,endLine=4,title=DockerfileError::no"
    )
    results = json.loads(checkforms.sarif(document))["runs"][0]["results"]
    assert [each["level"] for each in results] == ["warning", "error"]
