"""From a Dockerfile to stages and steps, without any image."""

from __future__ import annotations

from typing import Any

import pytest

from nacre.grammars.dockerfile.parse import parse
from nacre.images.dockerfile.fold import CopyAction, Fold, RunAction, StageState, Step, WorkdirAction, start
from nacre.images.dockerfile.plan import Plan, keeping_times, plan, source_date_epoch
from nacre.words.errors import DockerfileError, NotFound
from nacre.words.oci import ImageConfig, Platform

AMD64 = Platform("linux", "amd64")


def make(text: str, target: str = "", **arguments: str) -> Plan:
    return plan(parse(text), arguments, target=target, platform=AMD64, build_platform=AMD64)


def steps(text: str, base: dict[str, Any] | None = None, **arguments: str) -> tuple[StageState, list[Step]]:
    """The end of the last stage and its steps, on a base image with the run config `base`."""
    planned = make(text, **arguments)
    document = {"architecture": "amd64", "os": "linux", "config": base or {}, "rootfs": {"diff_ids": []}}
    state, found = start(ImageConfig.from_json(document)), []
    for item in planned.stages[planned.target].stage.instructions:
        state, step = Fold(planned).advance(state, item)
        found.append(step)
    return state, found


def last(text: str, **arguments: str) -> Any:
    """The action of the last step."""
    return steps(text, **arguments)[1][-1].action


def test_only_needed_stages() -> None:
    text = (
        "FROM a AS one\nFROM b AS two\nFROM one AS three\nCOPY --from=two /x /x\nFROM c AS four\n"
        "FROM d\nCOPY --from=0 /x /x\nCOPY --from=img:1 /y /y\nRUN --mount=from=four,target=/m true\n"
    )
    assert make(text).needed == (0, 3, 4)
    assert make(text, target="THREE").needed == (0, 1, 2)
    assert make(text, target="1").needed == (1,)
    planned = make(text).stages[4]
    assert (planned.title, planned.length) == ("stage-4", 4)


def test_unknown_target_has_a_hint() -> None:
    with pytest.raises(NotFound, match="target stage 'biuld'") as caught:
        make("FROM a AS build\n", target="biuld")
    assert caught.value.hint == "did you mean build?"


def test_base_names_use_global_args_only() -> None:
    text = "ARG V=1\nARG IMG=deb:$V\nFROM $IMG\n"
    assert make(text).stages[0].base.name == "deb:1"
    assert make(text, V="2").stages[0].base.name == "deb:2"
    assert make(text, IMG="x").stages[0].base.name == "x"
    with pytest.raises(DockerfileError, match=r"Dockerfile:3:6: base name \(\$W\) should not be blank"):
        make("FROM a\nARG W=1\nFROM $W\n")


def test_predefined_arguments() -> None:
    planned = make("FROM --platform=$BUILDPLATFORM a-$TARGETARCH\n")
    assert planned.stages[0].base.name == "a-amd64"
    assert planned.stages[0].platform == AMD64
    action = last("FROM a\nARG TARGETPLATFORM\nRUN x")
    assert dict(action.env)["TARGETPLATFORM"] == "linux/amd64"
    assert "TARGETARCH" not in dict(action.env)


def test_wrong_platform_points_at_the_flag() -> None:
    with pytest.raises(DockerfileError, match=r"Dockerfile:1:17: invalid platform 'x'"):
        make("FROM --platform=x a\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM a\nCOPY --from=two /x /\nFROM b AS two\nCOPY --from=0 a b", "must be defined before this one"),
        ("FROM a\nCOPY --from=1 /x /\n", "there is no earlier stage 1"),
        ("FROM a\nCOPY --from=$x /x /\n", "--from does not take variables"),
    ],
)
def test_bad_copy_sources(text: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=message):
        make(text)


def test_unused_arguments() -> None:
    text = "ARG A\nFROM a\nARG B\n"
    assert make(text, A="", B="", C="", D="", HTTP_PROXY="p", TARGETARCH="x").unused() == ["C", "D"]


def test_arg_scope_and_order() -> None:
    text = "ARG G=global\nARG H\nFROM a\nARG G\nARG H\nARG L=${G}-local\nENV E=$L\nRUN x"
    assert dict(last(text).env)["E"] == "global-local"
    assert dict(last(text, L="given").env)["E"] == "given"
    assert "H" not in dict(last(text).env)


def test_env_of_one_instruction_sees_the_state_before_it() -> None:
    state, _ = steps("FROM a\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc")
    assert state.run["Env"][1:] == ["abc=bye", "def=hello", "ghi=bye"]


def test_run_actions() -> None:
    base = {"Env": ["PATH=/bin", "X=1"], "User": "me", "WorkingDir": "/w"}
    text = 'FROM a\nRUN a  b\nRUN ["a", "$X"]\nSHELL ["bash", "-ec"]\nRUN c'
    first, second, _, third = (step.action for step in steps(text, base)[1])
    assert first == RunAction(("/bin/sh", "-c", "a  b"), (("PATH", "/bin"), ("X", "1")), "me", "/w")
    assert isinstance(second, RunAction)
    assert second.argv == ("a", "$X")
    assert isinstance(third, RunAction)
    assert third.argv == ("bash", "-ec", "c")


def test_run_history_shows_the_declared_arguments() -> None:
    _, found = steps("FROM a\nARG X=1\nARG Y\nRUN true", Y="2")
    assert found[-1].created_by == "RUN |2 X=1 Y=2 /bin/sh -c true # nacre"


def test_run_heredocs() -> None:
    assert last("FROM a\nRUN <<EOF\necho $X\nEOF\n").argv == ("/bin/sh", "-c", "echo $X\n")
    assert last("FROM a\nRUN cat <<EOF\n$X\nEOF\n").argv == ("/bin/sh", "-c", "cat <<EOF\n$X\nEOF")
    script = last("FROM a\nRUN <<EOF\n#!/usr/bin/python3\nprint()\nEOF\n")
    assert script.argv == ("/bin/sh", "-c", "/dev/pipes/EOF")
    assert script.scripts == (("EOF", "#!/usr/bin/python3\nprint()\n"),)


@pytest.mark.parametrize(
    ("workdir", "target", "expected"),
    [
        ("/", "x", "/x"),
        ("/w", "x/", "/w/x/"),
        ("/w", ".", "/w/"),
        ("/w", "./", "/w/"),
        ("/w", "../y", "/y"),
        ("/w", "/a//b/.", "/a/b/"),
        ("/w", "/", "/"),
        ("w", "//x", "/x"),
    ],
)
def test_copy_destinations(workdir: str, target: str, expected: str) -> None:
    assert last(f"FROM a\nWORKDIR {workdir}\nCOPY s {target}").destination == expected


def test_copy_action() -> None:
    action = last(
        'FROM a\nARG U=me\nCOPY --chown=$U:g --chmod=0755 --exclude=*.o a$U <<EOF /d/\n$U "q"\nEOF\n'
    )
    assert action == CopyAction(
        ("ame",), (("EOF", 'me "q"\n'),), "/d/", "", "me:g", "0755", excludes=("*.o",)
    )  # fmt: skip
    assert last("FROM a\nADD x.tar /").unpack is True
    assert last("FROM a\nADD --unpack=false x.tar /").unpack is False
    for words, remote in (("", False), ("--unpack=false ", False), ("--unpack ", True)):
        assert last(f"FROM a\nADD {words}https://h/x.tar /").unpack_remote is remote
    assert last(f"FROM a\nARG S=sha256:{'0' * 64}\nADD --checksum=$S http://h/x /").checksum == (
        f"sha256:{'0' * 64}"
    )


def test_workdir_is_relative_to_the_one_before() -> None:
    assert last("FROM a\nWORKDIR /a\nUSER u\nWORKDIR b/../c") == WorkdirAction("/a/c", "u")
    assert last("FROM a\nWORKDIR /") is None


def test_entrypoint_drops_the_command_of_the_base_only() -> None:
    base = {"Cmd": ["old"]}
    assert "Cmd" not in steps('FROM a\nENTRYPOINT ["e"]', base)[0].run
    assert steps('FROM a\nCMD x\nENTRYPOINT ["e"]', base)[0].run["Cmd"] == ["/bin/sh", "-c", "x"]


def test_metadata() -> None:
    state, found = steps(
        'FROM a\nLABEL a=1 "b c"=\'$X\'\nEXPOSE 80 53/UDP 1000-1001 $P\nVOLUME /v ["x"]\nSTOPSIGNAL SIGINT\n'
        'HEALTHCHECK NONE\nMAINTAINER me\nONBUILD RUN x\nSHELL ["/bin/bash", "-c"]\nCMD echo hi\n',
        {"Env": ["P=9 10"]},
    )
    run = state.run
    assert run["Labels"] == {"a": "1", "b c": "$X"}
    assert sorted(run["ExposedPorts"]) == ["10/tcp", "1000/tcp", "1001/tcp", "53/udp", "80/tcp", "9/tcp"]
    assert list(run["Volumes"]) == ["/v", "[x]"]
    assert (run["StopSignal"], run["Healthcheck"], state.author) == ("SIGINT", {"Test": ["NONE"]}, "me")
    assert run["OnBuild"] == ["RUN x"]
    assert run["Cmd"] == ["/bin/bash", "-c", "echo hi"]
    assert found[-1].created_by == 'CMD ["/bin/bash" "-c" "echo hi"]'
    assert all(step.action is None for step in found)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("ADD https://x/y.git?what=1 /", DockerfileError),
        ("ADD --checksum=md5:0 https://x/y /", DockerfileError),
        ("RUN --device=gpu x", DockerfileError),
        ("COPY https://x/y /", DockerfileError),
        ("COPY --chmod=9 a b", DockerfileError),
        ("EXPOSE 80/icmp", DockerfileError),
        ("EXPOSE 70000", DockerfileError),
        ("STOPSIGNAL SIGNOPE", DockerfileError),
        ("USER ${X?who}", DockerfileError),
    ],
)
def test_refusals_name_the_place(line: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^Dockerfile:2:"):
        steps(f"FROM a\n{line}\n")


def test_path_is_always_set() -> None:
    assert dict(last("FROM a\nRUN x").env)["PATH"].startswith("/usr/local/sbin:")


def test_source_date_epoch() -> None:
    assert source_date_epoch(make("FROM a", SOURCE_DATE_EPOCH="17")) == "17"
    assert source_date_epoch(make("ARG SOURCE_DATE_EPOCH=5\nFROM a")) == "5"
    assert source_date_epoch(make("FROM a")) is None


def test_stages_around_a_cache_mount_keep_their_times() -> None:
    text = "FROM x AS a\nFROM a AS b\nRUN --mount=type=cache,target=/c make\n"
    text += "FROM b AS c\nFROM x\nCOPY --from=c / /\n"
    assert keeping_times(make(text)) == {0, 1, 2}
