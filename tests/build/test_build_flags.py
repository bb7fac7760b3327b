"""Options of `nacre build` that CI systems pass, and what a build says of itself."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest

BASE = "FROM busybox:test\n"


def test_harmless_flags_are_taken(project: Any) -> None:
    said = project.build(
        BASE, "--rm", "--force-rm", "--compress", "--load", "--provenance=false", "--sbom", "-m", "512m",
        "--cpu-quota=1", "--ulimit", "nofile=1", "--cache-from", "type=gha", "--cache-to=type=inline",
        "--output", "type=docker", "--builder", "default",
    ).err  # fmt: skip
    assert "WARNING: --cache-from discarded" in said
    assert "WARNING: --memory discarded" in said
    for flag in ("--ssh=default", "--push", "--output=type=oci,dest=x", "--output=type=image,push=true"):
        assert "is not in this version\nhint: " in project.fails("", flag).err


def test_hosts(project: Any) -> None:
    text = BASE + "RUN grep db.local /etc/hosts > /seen\n"
    project.build(text, "--add-host", "db.local:10.1.2.3")
    assert project.sh("cat /seen") == "10.1.2.3\tdb.local\n"
    assert "0 cached" in project.build(text, "--add-host", "db.local=10.1.2.4").err
    assert "bad format for add-host" in project.fails(text, "--add-host", "db.local").err


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
    assert "nothing was run (4 cached)" in project.build(text, *words, MY_WORD="x").err
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
    assert project.build(BASE + "ENV A=b\n").err.rstrip().endswith("no step changes files")


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
    said = project.fails(BASE + "ADD https://example.org/x /x\n").err
    assert " 2 | ADD https://example.org/x /x\n   |     ^\nnacre: Dockerfile:2:5: ADD from a URL" in said


def test_a_step_says_that_the_layers_beneath_are_others(project: Any) -> None:
    project.write("f", "one")
    text = BASE + "COPY f /f\nRUN true\n"
    assert "not cached" not in project.build(text).err
    project.write("f", "two")
    said = project.build(text).err
    assert "not cached: the files changed" in said
    assert "not cached: it was done before on other layers" in said


@pytest.mark.parametrize("script", ["chown 5 /bin; echo chown: /bin: Invalid argument >&2; exit 1"])
def test_one_id_is_named_as_the_reason(project: Any, script: str) -> None:
    from nacre.ground import userns

    single = (userns.current() if userns.mapped() else userns.call(userns.enter)).single
    said = project.fails(BASE + f"RUN {script}\n").err
    assert ("hint: this user has a single id" in said) == single


def test_another_platform_is_reported(project: Any) -> None:
    said = project.build("FROM host:python3\nLABEL a=b\n", "--platform", "linux/s390x").err
    assert "WARNING: base image host:python3 has the platform" in said
    assert 'expected "linux/s390x" for this build' in said
