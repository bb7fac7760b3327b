"""Options of `nacre build` that CI systems pass, and what a build says of itself."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest

BASE = "FROM busybox:test\n"


def test_harmless_flags_are_taken(project: Any) -> None:
    said = project.build(
        BASE, "--rm", "--force-rm", "--compress", "--load", "--provenance=false", "--sbom", "false",
        "-m", "512m", "--cpu-quota=50000", "--ulimit", "nofile=64",
        "--output", "type=docker", "--builder", "default", "--attest", "type=sbom,disabled=true",
        "--isolation=default",
    ).err  # fmt: skip
    assert "WARNING: --builder default ignored: there is one builder" in said


def test_hosts(project: Any) -> None:
    text = BASE + "RUN grep db.local /etc/hosts > /seen\n"
    project.build(text, "--add-host", "db.local:10.1.2.3")
    assert project.sh("cat /seen") == "10.1.2.3\tdb.local\n"
    assert "0 cached" in project.build(text, "--add-host", "db.local=10.1.2.4").err
    wrong = project.build(text, "--add-host", "db.local", check=False)
    assert (wrong.code, "bad format for add-host" in wrong.err) == (125, True)


def test_a_secret_is_seen_and_kept_nowhere(project: Any, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cr3t-one")
    text = BASE + (
        "RUN --mount=type=secret,id=token,required stat -c '%a %u' /run/secrets/token > /out "
        "&& wc -c < /run/secrets/token >> /out\n"
        "RUN --mount=type=secret,id=token,target=/etc/tok,mode=0444 stat -c %a /etc/tok > /mode\n"
        "RUN --mount=type=secret,id=word,env=WORD echo ${#WORD} > /length\n"
        "RUN --mount=type=secret,id=none test ! -e /run/secrets/none\n"
    )
    words = ("--secret", f"id=token,src={tmp_path}/token", "--secret", "id=word,env=MY_WORD")
    project.build(text, *words, MY_WORD="s3cr3t-two")
    shown = project.sh("cat /out /mode /length; test ! -e /run && test ! -e /etc/tok")
    assert shown == "400 0\n10\n444\n10\n"
    for path in project.nacre.root.rglob("*"):
        if path.is_file():
            assert b"s3cr3t" not in path.read_bytes(), path
    (tmp_path / "token").write_text("another one")
    assert "nothing changed (4 cached)" in project.build(text, *words, MY_WORD="x").err
    missing = project.fails(BASE + "RUN --mount=type=secret,id=x,required true\n")
    assert "Dockerfile:2:1: secret x: not found\nhint: give it with --secret id=x,src=FILE" in missing.err
    assert "cannot read" in project.fails(text, "--secret", "id=token,src=/no/file").err
    assert "no variable NOPE" in project.fails(text, "--secret", "id=a,env=NOPE").err


def test_output_as_files(project: Any, tmp_path: Path) -> None:
    text = "FROM scratch\nCOPY a /bin/a\nCOPY b /b\n"
    project.write("a", "one", 0o755)
    project.write("b", "two")
    project.build(text, "-o", str(tmp_path / "out"), "--output", "type=docker")
    out = tmp_path / "out"
    assert ((out / "bin/a").read_text(), (out / "b").read_text()) == ("one", "two")
    assert (out / "bin/a").stat().st_mode & 0o777 == 0o755
    project.build(text, "--output", f"type=tar,dest={tmp_path}/out.tar")
    with tarfile.open(tmp_path / "out.tar") as tar:
        assert {"bin", "bin/a", "b"} <= set(tar.getnames())
        member = tar.extractfile("b")
        assert member is not None
        assert member.read() == b"two"
    raw = project.build("", "-o", "-").raw
    assert raw[257:262] == b"ustar"


def test_source_date_epoch_of_the_environment(project: Any) -> None:
    project.write("f", "x")
    text = BASE + "COPY f /f\n"
    project.build(text, SOURCE_DATE_EPOCH="1000000000")
    assert project.nacre("inspect", "app").json[0]["Created"].startswith("2001-09-09T01:46:40")
    project.build(text, "--build-arg", "SOURCE_DATE_EPOCH=1000000001", SOURCE_DATE_EPOCH="1000000000")
    assert project.nacre("inspect", "app").json[0]["Created"].startswith("2001-09-09T01:46:41")
    assert "invalid SOURCE_DATE_EPOCH 'soon'" in project.fails("", SOURCE_DATE_EPOCH="soon").err


def test_a_build_without_file_steps_says_so(project: Any) -> None:
    assert project.build(BASE + "ENV A=b\n").err.rstrip().endswith("no steps")


def test_triggers_are_counted_by_themselves(project: Any) -> None:
    project.build(BASE + "ONBUILD RUN true\nONBUILD ENV A=b\nONBUILD RUN false || true\n", tag="parent")
    said = project.build("FROM parent\nRUN echo x\n").err
    for title in (
        "[1/2] FROM parent",
        "[onbuild 1/2] RUN true",
        "[onbuild 2/2] RUN false",
        "[2/2] RUN echo x",
    ):
        assert title in said


def test_faults_of_the_file_are_shown_in_their_step(project: Any) -> None:
    said = project.fails(BASE + "CDM x\n").err
    assert "#1 ERROR: Dockerfile:2:1: unknown instruction: 'CDM'" in said
    said = project.fails(BASE + "ADD https://example.org/x.git?y /x\n").err
    assert (
        " 2 | ADD https://example.org/x.git?y /x\n   |     ^\nnacre: Dockerfile:2:5: unexpected query" in said
    )
    said = project.fails("\x1b[2J" + 9000 * "\x01").err
    assert f" 1 | \ufffd[2J{157 * chr(0xFFFD)}\n" in said
    assert len(said) < 2000


def test_a_step_says_that_the_layers_beneath_are_others(project: Any) -> None:
    project.write("f", "one")
    text = BASE + "COPY f /f\nRUN true\n"
    assert "not cached" not in project.build(text).err
    project.write("f", "two")
    said = project.build(text).err
    assert "not cached: f changed" in said
    assert "not cached: step 2/3 made other files" in said


@pytest.mark.parametrize("script", ["chown 5 /bin; echo chown: /bin: Invalid argument >&2; exit 1"])
def test_one_id_is_named_as_the_reason(project: Any, script: str) -> None:
    from nacre.ground import userns

    single = (userns.current() if userns.mapped() else userns.call(userns.enter)).single
    said = project.fails(BASE + f"RUN {script}\n").err
    assert ("hint: this user has a single id" in said) == single


def test_another_platform_is_reported(project: Any) -> None:
    said = project.build("FROM host:python3\nLABEL a=b\n", "--platform", "linux/s390x").err
    assert "WARN: InvalidBaseImagePlatform: Base image host:python3 was pulled with platform" in said
    assert 'expected "linux/s390x" for current build (line 1)' in said


def test_what_would_change_the_result_is_refused(project: Any) -> None:
    said = project.fails(BASE, "--disable-content-trust=false").err
    assert "signatures are not verified" in said
    assert project.build(BASE, "--isolation=hyperv", check=False).code == 125


def test_platforms_however_they_are_written(project: Any) -> None:
    own, other = "linux/amd64", "linux/arm64"
    project.build("FROM scratch\nCOPY Dockerfile /\n", "--platform", own, "--platform", f"{own},{own}")
    for words in (("--platform", own, "--platform", other), ("--platform", f"local,{other}")):
        assert f"[{other} 1/1] COPY" in project.build("", *words).err


PRINT = BASE + "RUN env | grep -i _proxy= | sort > /seen; true\n"


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "ftp_proxy", "No_Proxy", "ALL_PROXY"])
def test_a_proxy_has_both_spellings(project: Any, name: str) -> None:
    both = "".join(f"{spelling}=x:1\n" for spelling in (name.upper(), name.lower()))
    project.build(PRINT, "--build-arg", f"{name}=x:1", "--no-cache")
    assert project.sh("cat /seen") == both
    if name.lower() in ("http_proxy", "ftp_proxy"):
        project.build(PRINT, "--no-cache", **{name: "x:1"})
        assert project.sh("cat /seen") == both


def test_which_proxy_wins(project: Any, tmp_path: Path) -> None:
    config = '{"proxies": {"default": {"httpProxy": "config:1", "noProxy": "here", "allProxy": 3}}}'
    (tmp_path / "config.json").write_text(config)
    given = {"DOCKER_CONFIG": str(tmp_path), "http_proxy": "host:1", "https_proxy": "host:2"}
    words = ("--no-cache", "--build-arg", "NO_PROXY=flag", "--build-arg", "https_proxy=")
    project.build(PRINT, *words, **given)
    assert project.sh("cat /seen") == (
        "HTTP_PROXY=config:1\nNO_PROXY=flag\nhttp_proxy=config:1\nno_proxy=flag\n"
    )
    project.build(PRINT, "--no-cache", "--build-arg", "HTTP_PROXY=a", "--build-arg", "http_proxy=b")
    assert project.sh("cat /seen") == "HTTP_PROXY=a\nhttp_proxy=b\n"
    assert "nothing changed" in project.build(PRINT, "--build-arg", "http_proxy=other").err
    (tmp_path / "config.json").write_text("{")
    said = project.build(PRINT, **given).err
    assert f"WARNING: its proxies are ignored: {tmp_path}/config.json is not valid JSON" in said


def test_a_variable_of_the_file_wins_over_a_proxy(project: Any) -> None:
    project.build(BASE + "ENV http_proxy=mine\nRUN echo $http_proxy $HTTP_PROXY > /seen\n", http_proxy="host")
    assert project.sh("cat /seen") == "mine host\n"


def test_caches_of_one_id_with_other_owners(project: Any, needs_ids: None) -> None:
    mount = "RUN --mount=type=cache,target=/var/cache/app"
    show = "stat -c '%a %u %g' /var/cache/app >> /seen; ls /var/cache/app | wc -l >> /seen"
    lines = [f"{mount}{more} {show}; touch /var/cache/app/{name}" for name, more in [
        ("a", ""), ("b", ",uid=1000,gid=1001"), ("c", ",uid=2000"), ("d", ",mode=0700"),
        ("e", ",uid=0,gid=0,mode=0755"), ("f", ",uid=1000,gid=1001,sharing=locked"),
        ("g", ",sharing=private"),
    ]]  # fmt: skip
    project.build(BASE + "\n".join(lines) + "\n")
    assert project.sh("cat /seen").split("\n") == [
        "755 0 0", "0", "755 1000 1001", "0", "755 2000 0", "0", "700 0 0", "0",
        "755 0 0", "0", "755 1000 1001", "1", "755 0 0", "1", "",
    ]  # fmt: skip
    project.build(BASE + lines[3] + "\n", "--no-cache", tag="again")
    assert project.sh("cat /seen", tag="again") == "700 0 0\n1\n"


CHECKED = "FROM scratch\nCOPY \\\n\n Dockerfile /\n"


def test_check_directive(project: Any) -> None:
    warning = "WARN: NoEmptyContinuation: Empty continuation line (line 5)"
    said = project.fails("# check=error=true\n" + CHECKED).err
    assert warning in said
    assert "Dockerfile: lint violation found for rules: NoEmptyContinuation" in said
    said = project.build("# check=skip=NoEmptyContinuation;error=true\n" + CHECKED).err
    assert warning not in said
    assert "WARN: NoEmptyContinuation: Empty continuation line (line 5)" in project.build("#\n" + CHECKED).err
    argument = "BUILDKIT_DOCKERFILE_CHECK="
    assert "lint violation" in project.fails("#\n" + CHECKED, "--build-arg", argument + "error=true").err
    assert "not consumed" not in project.build("#\n" + CHECKED, "--build-arg", argument + "skip=all").err
    assert "neither true nor false" in project.fails("# check=error=x\n" + CHECKED).err


def test_frontend_arguments(project: Any) -> None:
    said = project.build(BASE, "--build-arg", "BUILDKIT_SYNTAX=a/b", "--build-arg", "BUILDKIT_OTHER=1").err
    assert "BUILDKIT_SYNTAX=a/b requests another frontend, which is ignored" in said
    assert "build-arg BUILDKIT_OTHER ignored: it is not supported" in said
