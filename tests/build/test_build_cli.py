"""`nacre build` as a user sees it, on an image of busybox."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

BASE = "FROM busybox:test\n"


def steps(result: Any) -> list[str]:
    """The last word of each numbered step: DONE, CACHED, ERROR."""
    found: dict[str, str] = {}
    for line in result.err.splitlines():
        number, _, rest = line.partition(" ")
        if number.startswith("#"):
            found[number] = rest.split(" ")[0].rstrip(":")
    return list(found.values())


def test_everything_together(project: Any) -> None:
    project.write("one.txt", "1")
    project.write("sub/two.txt", "2", 0o604)
    project.build(
        BASE + "ARG WHO=world\nENV GREETING=\"hello $WHO\"\nWORKDIR /srv/app\nRUN echo $GREETING > said\n"
        'RUN ["/bin/sh", "-c", "echo $0 > exec", "argument"]\nCOPY *.txt sub ./\n'
        "COPY --chown=user:extra --chmod=640 one.txt own.txt\nUSER user\nRUN id -u > /tmp/uid\n"
        "EXPOSE 80 53/udp\nLABEL a=b\nVOLUME /data\nSTOPSIGNAL SIGINT\n"
        'ENTRYPOINT ["/bin/cat"]\nCMD ["said"]\n',
        "--build-arg", "WHO=you", "--label", "c=d",
    )  # fmt: skip
    assert project.nacre("run", "--rm", "app").out == "hello you\n"
    assert project.sh("cat exec one.txt two.txt /tmp/uid; stat -c '%n %a' own.txt two.txt") == (
        "argument\n121000\nown.txt 640\ntwo.txt 604\n"
    )
    config = project.config()
    assert config["Env"] == ["PATH=/bin", "GREETING=hello you"]
    assert (config["User"], config["WorkingDir"], config["Entrypoint"]) == ("user", "/srv/app", ["/bin/cat"])
    assert (config["Cmd"], config["StopSignal"]) == (["said"], "SIGINT")
    assert sorted(config["ExposedPorts"]) == ["53/udp", "80/tcp"]
    assert config["Labels"] == {"a": "b", "c": "d"}
    assert list(config["Volumes"]) == ["/data"]


def test_owners(project: Any, needs_ids: None) -> None:
    project.write("f", "x")
    project.build(
        BASE
        + "COPY f /plain\nCOPY --chown=user:extra f /new/named\nCOPY --chown=7 f /number\n"
        + "USER user\nRUN touch /tmp/x\n"
    )
    assert project.sh("stat -c '%n %u %g' /plain /new /new/named /number /tmp/x") == (
        "/plain 0 0\n/new 1000 2000\n/new/named 1000 2000\n/number 7 7\n/tmp/x 1000 1000\n"
    )
    assert "unable to find user ghost" in project.fails(BASE + "COPY --chown=ghost f /\n").err


def test_a_second_build_runs_nothing_and_says_so(project: Any) -> None:
    project.write("f", "x")
    text = BASE + "WORKDIR /w\nCOPY f .\nRUN echo $RANDOM > random\n"
    first = project.build(text)
    assert steps(first) == ["DONE"] * 6
    assert "3 steps run, 0 cached" in first.err
    before = project.id()
    second = project.build(text)
    assert steps(second) == ["DONE", "DONE", "CACHED", "CACHED", "CACHED", "DONE"]
    assert "nothing changed" in second.err
    assert project.id() == before
    assert "3 steps run" in project.build(text, "--no-cache").err
    assert project.id() != before


def test_only_what_depends_on_a_change_is_done_again(project: Any) -> None:
    project.write("a", "1")
    project.write("b", "1")
    text = BASE + "RUN date > built\nCOPY a /a\nRUN cat /a > /c\nCOPY b /b\n"
    project.build(text)
    os.utime(project.folder / "a", (1, 1))
    assert "nothing changed" in project.build(text).err
    project.write("b", "2")
    changed = project.build(text).err
    assert "1 step run, 3 cached" in changed
    assert "#6 not cached: b changed" in changed
    project.write("a", "2")
    assert "3 steps run, 1 cached" in project.build(text).err
    assert project.sh("cat /c /b") == "22"


def test_a_changed_step_with_an_equal_result_keeps_the_rest(project: Any) -> None:
    project.build(BASE + "RUN touch -d @1 /x && touch -d @1 /\nRUN date > /later\n")
    result = project.build(BASE + "RUN : && touch -d @1 /x && touch -d @1 /\nRUN date > /later\n")
    assert "1 step run, 1 cached" in result.err


def test_configuration_does_not_invalidate(project: Any) -> None:
    project.build(BASE + "LABEL v=1\nCMD one\nRUN date > /d\n")
    assert "nothing changed" in project.build(BASE + "LABEL v=2\nCMD two\nRUN date > /d\n").err
    assert project.config()["Labels"] == {"v": "2"}
    changed = project.build(BASE + "ENV v=2\nRUN date > /d\n").err
    assert "1 step run" in changed
    assert "not cached: variable v changed" in changed


def test_stages(project: Any) -> None:
    project.write("src", "text")
    text = (
        BASE.replace("\n", " AS build\n") + "COPY src /in\nRUN cat /in /in > /out\n"
        "FROM busybox:test AS broken\nRUN false\n"
        "FROM build AS more\nRUN echo more >> /out\n"
        "FROM scratch\nCOPY --from=more /out /\nCOPY --from=busybox:test /bin/cat /bin/busybox /bin/\n"
        'CMD ["/bin/cat", "/out"]\n'
    )
    result = project.build(text)
    assert project.nacre("run", "--rm", "app").out == "texttextmore\n"
    assert "[build 2/3] COPY src /in" in result.err
    assert "broken" not in result.err
    assert len(project.nacre("inspect", "app").json[0]["RootFS"]["Layers"]) == 2
    assert "nothing changed" in project.build(text).err
    project.build(text, "--target", "build", tag="part")
    assert project.sh("cat /out", tag="part") == "texttext"
    assert "could not be found" in project.fails(text, "--target", "nope").err


def test_copy_from_a_stage_that_was_built_again_is_cached_by_content(project: Any) -> None:
    text = "FROM busybox:test AS one\nRUN echo {} > /noise; echo same > /same\n" + BASE
    text += "COPY --from=one /same /\n"
    project.build(text.format(1))
    assert "1 step run, 1 cached" in project.build(text.format(2)).err


def test_a_failing_command(project: Any) -> None:
    result = project.fails(BASE + "RUN echo before\nRUN echo oops && exit 3\n")
    assert "oops" in result.err
    sentence = (
        'Dockerfile:3: process "/bin/sh -c echo oops && exit 3" did not complete successfully: exit code: 3'
    )
    assert sentence in result.err
    assert project.leftovers() == []
    assert "app" not in project.nacre("images").out
    assert "exit code: 127" in project.fails(BASE + 'RUN ["/nope"]\n').err
    assert "unable to find user ghost" in project.fails(BASE + "USER ghost\nRUN true\n").err
    assert project.leftovers() == []


def test_a_typo_shows_the_line(project: Any) -> None:
    result = project.fails(BASE + "RUN true\nCOPY --chwon=0 a b\n")
    assert "nacre: Dockerfile:3:6: unknown flag: --chwon of COPY" in result.err
    assert "hint: did you mean --chown?" in result.err
    assert " 3 | COPY --chwon=0 a b\n   |      ^\n" in result.err
    assert "did you mean RUN?" in project.fails("FROM busybox:test\nRNU true\n").err


def test_missing_sources(project: Any) -> None:
    project.write("hidden", "x")
    project.write(".dockerignore", "hidden\n")
    result = project.fails(BASE + "COPY a /\n")
    assert "nacre: Dockerfile:2:6: 'a' not found in the build context" in result.err
    assert ".dockerignore excludes it" in project.fails(BASE + "COPY hidden /\n").err
    assert "outside its context" in project.fails(BASE + "COPY ../Dockerfilex /\n").err
    assert "not found in image busybox:test" in project.fails(BASE + "COPY --from=busybox:test /n /\n").err
    assert "matches nothing" in project.build(BASE + "COPY nothing* /\n").err


def test_unknown_base(project: Any) -> None:
    result = project.fails("FROM bad//name\n")
    assert "Dockerfile:1:1: invalid reference format" in result.err
    assert project.leftovers() == []


def test_dockerignore(project: Any) -> None:
    for name in ("keep.py", "drop.pyc", "sub/drop.pyc", "node_modules/x/y", "node_modules/keep/z"):
        project.write(name, name)
    project.write(
        ".dockerignore", "# comment\n**/*.pyc\nnode_modules\n!node_modules/keep\nDockerfile\n.docker*\n"
    )
    project.build(BASE + "COPY . /c/\n")
    assert project.sh("cd /c && find . -type f | sort") == "./keep.py\n./node_modules/keep/z\n"
    project.write("Dockerfile.dockerignore", "*\n!sub\n")
    project.build(BASE + "COPY . /c/\n")
    assert project.sh("cd /c && find . -type f | sort") == "./sub/drop.pyc\n"
    project.write(".dockerignore", "[\n")
    (project.folder / "Dockerfile.dockerignore").unlink()
    assert ".dockerignore:1:1: syntax error in pattern" in project.fails(BASE).err


def test_dockerignore_is_opened_inside_the_context(project: Any, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("*\n")
    (project.folder / ".dockerignore").symlink_to(tmp_path / "elsewhere")
    project.write("f")
    project.build(BASE + "COPY f /\n")


def test_links_cannot_leave_the_context(project: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (project.folder / "link").symlink_to(tmp_path / "secret")
    (project.folder / "folder").symlink_to(tmp_path)
    assert "'link' not found" in project.fails(BASE + "COPY link /\n").err
    assert "'folder/secret' not found" in project.fails(BASE + "COPY folder/secret /\n").err
    project.build(BASE + "COPY . /c\n")
    assert project.sh("readlink /c/link") == f"{tmp_path}/secret\n"


def test_destination_links_stay_in_the_image(project: Any) -> None:
    project.write("f", "text")
    project.build(
        BASE
        + "RUN mkdir -m 711 /real && ln -s /real /abs && ln -s ../../../real /rel && ln -s /etc/x /dangling\n"
        "COPY f /abs/\nCOPY f /rel/g\nCOPY f /dangling\nRUN cat /etc/x\n"
    )
    assert (
        project.sh("stat -c '%n %a' /real /real/*; cat /etc/x") == "/real 711\n/real/f 644\n/real/g 644\ntext"
    )
    assert not Path("/etc/x").exists()


def test_a_link_copy_depends_on_no_other_layer(project: Any, needs_ids: None) -> None:
    project.write("f", "text")
    project.build(
        BASE
        + "RUN ln -s /real /dst && echo 1 > /noise\nCOPY --link --chown=user f /dst/\nCOPY --link f /x/y\n"
    )
    assert project.sh("readlink /dst; stat -c '%n %U' /dst/f /x/y") == "/dst/f user\n/x/y root\n"


def test_add_unpacks_local_archives(project: Any) -> None:
    for name, mode in (("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tar.xz", "w:xz"), ("a.bz2", "w:bz2")):
        with tarfile.open(project.folder / name, mode) as tar:  # type: ignore[call-overload]
            info = tarfile.TarInfo("d/f")
            info.size, info.mode, info.mtime = 4, 0o600, 77
            tar.addfile(info, io.BytesIO(b"text"))
    project.write("plain.tar.gz", "no archive")
    project.build(
        BASE + "ADD a.tar /1\nADD a.tar.gz /2/\nADD a.tar.xz /3\nADD a.bz2 /4/\nADD plain.tar.gz /5/\n"
        "COPY a.tar /6/\nADD --unpack=false a.tar /7/\n"
    )
    found = project.sh("cat /1/d/f /2/d/f /3/d/f /4/d/f; ls /5 /6 /7; stat -c '%a %Y' /1/d/f")
    assert found.split("\n")[0] == "texttexttexttext/5:"
    assert "plain.tar.gz" in found
    assert found.count("a.tar") == 2
    assert found.endswith("600 77\n")


def test_heredocs(project: Any) -> None:
    project.build(
        BASE + "ARG X=value\nRUN <<EOF\necho $X > /1\ncat /1 > /2\nEOF\nRUN <<-'TWO' cat > /3\n\t$X\n\tTWO\n"
        "COPY <<ONE <<'TWO' /docs/\n$X\nONE\n$X\nTWO\nRUN <<EOF\n#!/bin/sh\necho script $0 > /4\nEOF\n"
    )
    assert (
        project.sh("cat /1 /2 /3 /docs/ONE /docs/TWO /4")
        == "value\nvalue\n$X\nvalue\n$X\nscript /dev/pipes/EOF\n"
    )


def test_onbuild(project: Any) -> None:
    project.build(
        BASE + "ONBUILD RUN echo triggered > /t\nONBUILD COPY f /f\nONBUILD ENV E=1\n", tag="parent"
    )
    assert project.config("parent")["OnBuild"][1] == "COPY f /f"
    project.write("f", "file")
    project.build("FROM parent\nRUN echo $E >> /t\n")
    assert project.sh("cat /t /f") == "triggered\n1\nfile"
    assert not project.config().get("OnBuild")


def test_a_workdir_is_made_for_its_user(project: Any, needs_ids: None) -> None:
    project.build(BASE + "USER user\nWORKDIR /home/user/x\nRUN touch mine\nUSER root\nWORKDIR /tmp\n")
    assert project.sh("stat -c '%n %U %a' /home /home/user/x /home/user/x/mine") == (
        "/home user 755\n/home/user/x user 755\n/home/user/x/mine user 644\n"
    )
    history = project.nacre("history", "--format", "{{.CreatedBy}} {{.Size}}", "app").lines
    assert history[0] == "WORKDIR /tmp 0B"


def test_the_build_container(project: Any) -> None:
    script = "hostname; cat /etc/hosts; touch /etc/resolv.conf && echo writable; env | sort"
    result = project.build(BASE + f"ARG A=1\nRUN {script}\n", "--build-arg", "HTTP_PROXY=http://proxy:1")
    assert "nacre-build" in result.err
    assert "A=1" in result.err
    assert "HTTP_PROXY=http://proxy:1" in result.err
    assert "NACRE" not in result.err.replace("nacre", "")
    assert project.sh("cat /etc/hosts /etc/resolv.conf | grep -c nacre-build || true") == "0\n"
    assert "nothing changed" in project.build("", "--build-arg", "HTTP_PROXY=http://other:1").err


def test_network_none(project: Any) -> None:
    text = BASE + "RUN cat /proc/net/dev | grep -c :\n"
    assert " 1\n" in project.build(text, "--network", "none").err
    assert "1 step run" in project.build(text.replace("RUN", "RUN --network=none"), "--no-cache").err


def test_mounts(project: Any) -> None:
    project.write("list", "from context")
    project.write("dir/inner", "inner")
    project.write(".dockerignore", "dir/hidden\n")
    project.write("dir/hidden", "")
    result = project.build(
        BASE.replace("\n", " AS tools\n") + "RUN echo tool > /tool\n" + BASE
        + "RUN --mount=type=bind,source=list,target=/in --mount=from=tools,source=/tool,target=/tool "
        "--mount=target=/ctx,source=dir cat /in /tool /ctx/inner > /out && ls /ctx >> /out\n"
        "RUN --mount=type=cache,target=/cache,sharing=locked echo x >> /cache/n\n"
        "RUN --mount=type=cache,target=/cache wc -l < /cache/n > /n1\n"
        "RUN --mount=type=tmpfs,target=/t touch /t/x\n"
        "RUN --mount=type=secret,id=none true\n"
    )  # fmt: skip
    assert project.sh("cat /out /n1; ls -d /t /in /tool /cache /ctx 2>&1 | grep -c 'No such'") == (
        "from contexttool\ninnerinner\n1\n5\n"
    )
    project.write("list", "changed")
    assert "6 steps run, 0 cached" in result.err
    assert "5 steps run, 1 cached" in project.build("").err
    bad = project.fails(BASE + "RUN --mount=type=chache,target=/x true\n")
    assert "Dockerfile:2:" in bad.err
    assert "did you mean cache?" in bad.err
    assert "agent default: not found" in project.fails(BASE + "RUN --mount=type=ssh,required true\n").err


def test_dockerfile_from_standard_input(project: Any) -> None:
    project.write("f", "file")
    project.nacre("build", "-t", "one", "-f", "-", str(project.folder), input=BASE + "COPY f /f\n")
    assert project.sh("cat /f", tag="one") == "file"
    project.nacre("build", "-t", "two", "-", input=BASE + "RUN echo x > /f\n")
    assert project.sh("cat /f", tag="two") == "x\n"
    assert project.leftovers() == []


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_context_as_a_tar(project: Any, mode: str) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        for name, text in (
            ("x/Dockerfile", BASE + "COPY f /f\n"),
            ("f", "from tar"),
            (".dockerignore", "x\n"),
        ):
            info = tarfile.TarInfo(name)
            info.size, info.uid = len(text), 4711
            tar.addfile(info, io.BytesIO(text.encode()))
    project.nacre("build", "-t", "app", "-f", "x/Dockerfile", "-", input=out.getvalue())
    assert project.sh("cat /f; stat -c %u /f") == "from tar4711\n"  # as BuildKit: its owner is kept
    assert project.leftovers() == []


def test_other_dockerfile_and_outputs(project: Any, tmp_path: Path) -> None:
    project.write("d/Other.Dockerfile", BASE + "RUN echo noise\n")
    words = ["-q", "-f", str(project.folder / "d/Other.Dockerfile"), "--iidfile", str(tmp_path / "iid")]
    result = project.build("", *words, "-t", "second:2")
    assert result.err == ""
    assert result.out.strip() == project.id() == project.id("second:2") == (tmp_path / "iid").read_text()
    events = [json.loads(line) for line in project.build("", *words[1:], "--progress", "json").lines]
    assert events[0]["status"].startswith("#1 [internal] load build definition from ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "unable to prepare context: path 'nowhere' not found"),
        (
            ["https://127.0.0.1:1/x.git"],
            "git ls-remote failed: " if shutil.which("git") else "needs the program git",
        ),
        (["-t", "Bad:NAME", "."], "invalid reference format"),
        (["-f", "missing", "."], "failed to read dockerfile: open missing"),
        (["-f", "-", "-"], "can't use stdin for both"),
        (["--platform", "a/b,c", "."], "invalid platform 'c'"),
    ],
)
def test_bad_commands(nacre: Any, words: list[str], message: str) -> None:
    result = nacre("build", *words, check=False)
    assert result.code
    assert message in result.err
    assert "Traceback" not in result.err


def test_interrupt_leaves_nothing(project: Any) -> None:
    project.interrupted(BASE + "RUN echo started; sleep 600\n", b" started\n")
    assert "app" not in project.nacre("images").out


def test_same_input_same_digest(another: Any, tmp_path: Path) -> None:
    """Copies in another order, on another day, in another store: the same image."""
    text = 'FROM scratch\nWORKDIR /w\nCOPY . .\nCOPY <<EOF /etc/conf\nx=1\nEOF\nENV A=1\nCMD ["/x"]\n'
    digests = set()
    for number in (1, 2):
        folder = tmp_path / f"context-{number}"
        for name in ("b", "a", "sub/c")[:: 1 if number == 1 else -1]:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        for path in sorted(folder.rglob("*"), reverse=True):
            os.utime(path, (1_600_000_000, 1_600_000_000))
        other = another(f"store-{number}")
        result = other("build", "-q", "-t", "app", "-f", "-", str(folder), input=text)
        digests.add(result.out)
        created = other("inspect", "--format", "{{.Created}}", "app").out
        assert created == "2020-09-13T12:26:40Z\n"
    assert len(digests) == 1


def test_source_date_epoch_bounds_every_time(project: Any) -> None:
    text = BASE + "RUN echo 1 > /x\nWORKDIR /w\nCOPY Dockerfile .\n"
    found = set()
    for _ in range(2):
        project.build(text, "--no-cache", "--build-arg", "SOURCE_DATE_EPOCH=1000000000")
        found.add(project.id())
        os.utime(project.folder / "Dockerfile")
    assert len(found) == 1
    assert project.sh("stat -c %Y /x /w /w/Dockerfile") == "1000000000\n" * 3
    document = project.nacre("inspect", "app").json[0]
    assert document["Created"] == "2001-09-09T01:46:40Z"


def test_history_tells_the_instructions(project: Any) -> None:
    project.build(BASE + "ARG V=1\nRUN true\nRUN touch /x\nENV A=b\n")
    lines = project.nacre("history", "--no-trunc", "--format", "{{.CreatedBy}}", "app").lines
    assert lines[:4] == [
        "ENV A=b",
        "RUN |1 V=1 /bin/sh -c touch /x # nacre",
        "RUN |1 V=1 /bin/sh -c true # nacre",
        "ARG V=1",
    ]
    assert len(project.nacre("inspect", "app").json[0]["RootFS"]["Layers"]) == 2


def test_unused_build_argument_is_reported(project: Any) -> None:
    assert "build-arg NOPE was not consumed" in project.build(BASE, "--build-arg", "NOPE=1").err


def test_an_equal_layer_on_another_base_is_not_made_twice(project: Any) -> None:
    project.write("f", "x" * 100_000)
    project.write(".dockerignore", "Dockerfile\n")
    project.build(BASE + "RUN echo 1 > /one\nCOPY . /c/\n")
    before = project.nacre("inspect", "app").json[0]["RootFS"]["Layers"]
    result = project.build(BASE + "RUN echo 2 > /two\nCOPY . /c/\n")
    assert "2 steps run" in result.err
    after = project.nacre("inspect", "app").json[0]["RootFS"]["Layers"]
    assert before[1] != after[1]
    assert before[2] == after[2]
    assert project.sh("wc -c < /c/f") == "100000\n"


def test_a_large_file(project: Any) -> None:
    with (project.folder / "big").open("wb") as file:
        file.seek(40_000_000)
        file.write(b"end")
    project.build(BASE + "COPY big /big\n")
    assert project.sh("stat -c %s /big; tail -c 3 /big") == "40000003\nend"


def test_touching_is_no_change(project: Any) -> None:
    same = "touch /bin/busybox; chmod 1777 /tmp; echo x > /srv/x; rm /srv/x; exec 3>>/etc/passwd"
    project.build(BASE + f"RUN {same}\nRUN echo y > /srv/y\n")
    layers = project.nacre("inspect", "app").json[0]["RootFS"]["Layers"]
    assert len(layers) == 2
    found = project.nacre("history", "--format", "{{.Size}} {{.CreatedBy}}", "--no-trunc", "app").lines
    assert (found[0][:3], found[1][:3]) == ("2B ", "0B ")


def test_copies_for_a_mode_are_told(project: Any) -> None:
    said = project.build(
        BASE + "RUN chmod 700 /bin/busybox\nRUN chmod 644 /bin/busybox; chmod 700 /bin/busybox\n"
    ).err
    (found,) = [line for line in said.splitlines() if "advice" in line]
    assert f"{project.folder.name}/Dockerfile:2: advice: " in found
    assert found.endswith("1 file of the base image, written again for another mode (FilesDoubledByChown)")


@pytest.mark.parametrize(
    ("line", "said", "hint"),
    [
        (
            "COPY --from=biulder /x /",
            "--from=biulder: 'biulder' is neither an earlier stage nor an available image",
            True,
        ),
        ("RUN --mount=from=biulder,target=/m true", "'biulder' is neither an earlier stage", True),
        ("FROM biulder", "FROM: 'biulder' is neither an earlier stage nor an available image", True),
        ("COPY --from=nothing.at/all:1 /x /", "", False),
        ("COPY --from=whatever /x /", "'whatever' is neither an earlier stage", False),
    ],
)
def test_a_name_that_is_neither_a_stage_nor_an_image(project: Any, line: str, said: str, hint: bool) -> None:
    nowhere = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY"), "http://127.0.0.1:1")
    text = f"FROM busybox:test AS builder\nRUN true\nFROM busybox:test AS last\n{line}\n"
    done = project.fails(text, **nowhere)
    assert (said in done.err) if said else ("neither an earlier stage" not in done.err)
    assert ("hint: did you mean the stage builder?" in done.err) == hint
    assert project.leftovers() == []
