"""Builds that BuildKit takes, and what it makes of them: each was refused or silently different once."""

from __future__ import annotations

import io
import os
import socket
import tarfile
from pathlib import Path
from typing import Any

import pytest

from nacre.services.build.owner import find_owner

BASE = "FROM busybox:test\n"


def files(project: Any, dockerfile: str, *words: str, **options: Any) -> dict[str, tarfile.TarInfo]:
    """What `-o type=tar` has, without what busybox has."""
    path = project.folder.parent / "out.tar"
    project.build(dockerfile, *words, "-o", f"type=tar,dest={path}", **options)
    with tarfile.open(path) as tar:
        return {item.name: item for item in tar if not item.name.startswith(("bin", "etc", "root", "tmp"))}


def modes(found: dict[str, tarfile.TarInfo]) -> dict[str, str]:
    return {name: f"{item.mode:o} {item.uid}:{item.gid}" for name, item in found.items() if name != "."}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user:", (5, 0)),
        (":grp", (0, 9)),
        (":2000", (0, 2000)),
        (":", (0, 0)),
        ("7:", (7, 0)),
        ("user", (5, 6)),
    ],
)
def test_an_empty_part_of_an_owner_is_root(text: str, expected: tuple[int, int]) -> None:
    content = {b"etc/passwd": b"user:x:5:6::/:\n", b"etc/group": b"grp:x:9:\n"}
    owner = find_owner(text, lambda path, limit: content[path][:limit])
    assert owner is not None
    assert (owner.uid, owner.gid) == expected


def test_several_sources_without_a_slash(project: Any) -> None:
    """A file is replaced by the next; a directory takes all."""
    for name in ("a.txt", "b.txt", "d/x", "e1/y", "e2/z"):
        project.write(name, name)
    found = files(
        project,
        "FROM scratch\nCOPY *.txt /one\nCOPY d/x a.txt b.txt /two\nCOPY e* /dir\nCOPY d a.* /mixed\n",
    )
    names = {"one", "two", "dir", "dir/y", "dir/z", "mixed", "mixed/x", "mixed/a.txt"}
    assert {name for name in found if name != "."} == names
    project.build("FROM scratch\nCOPY *.txt /one\n")
    with tarfile.open(fileobj=io.BytesIO(exported(project))) as tar:
        member = tar.extractfile("one")
        assert member is not None
        assert member.read() == b"b.txt"


def exported(project: Any) -> bytes:
    path = project.folder.parent / "again.tar"
    project.build("", "-o", f"type=tar,dest={path}")
    content: bytes = path.read_bytes()
    return content


def test_an_empty_stage_has_a_root(project: Any) -> None:
    found = files(
        project,
        "FROM scratch AS e\n" + BASE + "COPY --from=e / /x/\nCOPY --from=e . /y\n"
        "RUN --mount=from=e,target=/m ls /m > /seen\n",
    )
    assert {"x", "y", "seen"} <= set(found)
    assert found["seen"].size == 0
    missing = project.fails("FROM scratch AS e\nFROM scratch\nCOPY --from=e /no /x\n")
    assert "'/no' not found in stage e" in missing.err


def test_the_name_in_lower_case(project: Any) -> None:
    project.write("dockerfile", "FROM scratch\nENV which=lower\n")
    project.build()
    assert "which=lower" in project.config()["Env"]
    project.build("FROM scratch\nENV which=usual\n")
    assert "which=usual" in project.config()["Env"]


def test_a_socket_becomes_an_empty_file(project: Any) -> None:
    (project.folder / "d").mkdir()
    here = os.open(project.folder / "d", os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(f"/proc/self/fd/{here}/s")
    finally:
        os.close(here)
    (project.folder / "d" / "s").chmod(0o640)
    found = files(project, "FROM scratch\nCOPY d /d/\nCOPY d/s /one\n")
    for name in ("d/s", "one"):
        assert (found[name].isreg(), found[name].size, found[name].mode) == (True, 0, 0o640)


def test_a_program_without_a_name(project: Any) -> None:
    assert "Dockerfile:2:" in (said := project.fails(BASE + 'RUN [""]\n').err)
    assert "RUN: the name of the program is empty" in said


def test_folders_of_an_archive_keep_their_mode(project: Any, needs_ids: None) -> None:
    with tarfile.open(project.folder / "a.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("p/f"))
    found = files(project, "FROM scratch\nADD --chmod=700 a.tar /x/y/\nADD --chown=7:8 a.tar /z\n")
    assert modes(found) == {
        "x": "755 0:0", "x/y": "755 0:0", "x/y/p": "755 0:0", "x/y/p/f": "644 0:0",
        "z": "755 7:8", "z/p": "755 0:0", "z/p/f": "644 7:8",
    }  # fmt: skip


def test_hard_links_stay(project: Any, tmp_path: Path) -> None:
    os.link(project.write("d/one", "x"), project.folder / "d" / "two")
    text = BASE + "COPY d /d\nRUN mkdir /r; echo y > /r/1; ln /r/1 /r/2\n"
    found = files(project, text)
    assert (found["d/two"].islnk(), found["d/two"].linkname) == (True, "d/one")
    assert (found["r/2"].islnk(), found["r/2"].linkname) == (True, "r/1")
    project.build("", "-o", str(tmp_path / "out"))
    assert (tmp_path / "out/r/1").samefile(tmp_path / "out/r/2")
    found = files(
        project, f"FROM busybox:test AS s\n{text.removeprefix(BASE)}FROM scratch\nCOPY --from=s /r /r\n"
    )
    assert found["r/2"].islnk()


def test_times_of_what_has_none(project: Any) -> None:
    """A here-document on scratch is as old as the Dockerfile; SOURCE_DATE_EPOCH dates all that is made."""
    text = "FROM scratch\nWORKDIR /w\nCOPY <<EOF /h/x\nhi\nEOF\n"
    os.utime(project.write("Dockerfile", text), (1_500_000_000, 1_500_000_000))
    found = files(project, "")
    assert {item.mtime for name, item in found.items() if name != "."} == {1_500_000_000}
    os.utime(project.write("old"), (1_000_000_000, 1_000_000_000))
    words = ("--build-arg", "SOURCE_DATE_EPOCH=1600000000")
    found = files(project, text + "COPY old /o/\n", *words)
    assert (found["h/x"].mtime, found["o/old"].mtime) == (1_600_000_000, 1_000_000_000)
    image = project.nacre("inspect", "app").json[0]
    assert image["Created"].startswith("2020-09-13T12:26:40")
    assert set(
        project.nacre("history", "--human=false", "--format", "{{.CreatedAt}}", "app").out.split()
    ) == {project.nacre("history", "--human=false", "--format", "{{.CreatedAt}}", "app").out.split()[0]}


def test_arguments_of_buildkit(project: Any) -> None:
    text = BASE + "RUN --mount=type=cache,target=/c hostname > /name; ls /c > /seen; touch /c/x\n"
    project.build(text, "--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=here")
    assert project.sh("cat /name") == "here\n"
    project.build(text, "--build-arg", "BUILDKIT_CACHE_MOUNT_NS=mine", "--no-cache")
    assert project.sh("cat /seen; cat /name") == "nacre-build\n"
    project.build(text, "--no-cache")
    assert project.sh("cat /seen") == "x\n"
    said = project.build(text, "--build-arg", "BUILDKIT_NOTHING=1").err
    assert said.count("BUILDKIT_NOTHING ignored: it is not supported") == 1


def test_what_has_no_effect_says_so(project: Any) -> None:
    said = project.build(BASE, "--rm=false", "--load=false", "--compress").err
    for flag in ("--rm=false", "--load=false", "--compress"):
        assert said.count(f"WARNING: {flag} has no effect: ") == 1
    said = project.build(BASE, "--rm", "--load", "--force-rm").err
    assert "no effect" not in said


def test_onbuild_names_a_stage_that_nothing_else_needs(project: Any) -> None:
    """The trigger of an image, of a stage, and once more when all is in the cache."""
    project.write("f", "made")
    project.build("FROM scratch\nONBUILD COPY --from=made /f /of-image\n", tag="parent")
    made = "FROM scratch AS made\nCOPY f /f\n"
    assert "of-image" in files(project, made + "FROM parent\n")
    stage = "FROM scratch AS beneath\nONBUILD COPY --from=made /f /of-stage\n" + made + "FROM beneath\n"
    for _ in range(2):
        assert "of-stage" in files(project, stage)


@pytest.mark.parametrize(
    ("dockerfile", "said", "hint"),
    [
        ("FROM 127.0.0.1:1/app:1\n", "Dockerfile:1:6: 127.0.0.1:1/app:1: cannot connect", "running there?"),
        ("FROM scratch AS a\nFROM 127.0.0.1:1/b\n", "Dockerfile:2:6: 127.0.0.1:1/b: cannot connect", ""),
        (
            "FROM --platform=linux/mips64le busybox:test\n",
            "Dockerfile:1:32: busybox:test: ",
            "hint: the store has busybox:test for linux/",
        ),
    ],
)
def test_an_image_that_cannot_be_had(project: Any, dockerfile: str, said: str, hint: str) -> None:
    """The line that names it, as with BuildKit, and what the store has instead."""
    nowhere = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY"), "http://127.0.0.1:1")
    done = project.fails(dockerfile, NO_PROXY="127.0.0.1", **nowhere)
    assert said in done.err
    assert hint in done.err
