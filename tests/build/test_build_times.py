"""The same input has the same digest: forms of SOURCE_DATE_EPOCH, commits, and builds compared."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from nacre.services.build.checkout import Checkout

BASE = "FROM busybox:test\n"
EVERYTHING = (
    "FROM busybox:test AS b\nWORKDIR /w\nCOPY . .\n"
    "RUN mkdir -p x/y && echo 1 > x/y/z && ln -s z x/y/l && mkfifo x/f && touch x/s && chmod 4755 x/s\n"
    "RUN touch a && rm sub/b\n"
    "RUN mkdir e && touch e/f && touch gone && rm gone && echo more >> x/y/z && rm -r e\n"
    "FROM b\nCOPY <<EOF /etc/x\nhello\nEOF\nRUN echo $SOURCE_DATE_EPOCH | grep -q 1 && echo 2 > two\n"
)


def git(folder: Path, *words: str, when: int = 1700000000) -> str:
    """What git prints."""
    env = {**os.environ, "GIT_COMMITTER_DATE": f"{when} +0000", "GIT_CONFIG_GLOBAL": "/dev/null"}
    names = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
    command = ["git", *names, *words]
    return subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(project: Any) -> Path:
    """The context as a git checkout with two commits; the second changes what .dockerignore excludes."""
    if not shutil.which("git"):
        pytest.skip("needs git")
    folder: Path = project.folder
    for name in ("a", "sub/b"):
        project.write(name, name)
    project.write(".dockerignore", ".git\nREADME*\n")
    project.write("Dockerfile", EVERYTHING)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "one", when=1600000000)
    project.write("README.md", "x")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "two", when=1650000000)
    return folder


def test_what_git_says_of_a_context(repository: Path, tmp_path: Path) -> None:
    found = Checkout.find(str(repository / "sub"), str(tmp_path))
    assert found is not None
    assert found.time() == 1650000000
    assert found.time([str(repository / "sub")]) == 1600000000
    assert found.time([str(repository)], [f"{repository}/README*"]) == 1600000000
    assert found.time([str(repository / "none")]) is None
    (repository / "a").write_text("other")
    (repository / "new").write_text("new")
    assert found.committed(str(repository)) == {b"sub/b", b"README.md", b".dockerignore", b"Dockerfile"}
    assert found.committed(str(repository / "sub")) == {b"b"}
    assert Checkout.find("/", str(tmp_path)) is None


def test_a_hostile_repository_runs_nothing(repository: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch {ran}\n")
    script.chmod(0o755)
    for name in ("core.fsmonitor", "filter.x.clean", "gpg.program", "core.pager"):
        git(repository, "config", name, str(script))
    git(repository, "config", "log.showSignature", "true")
    (repository / ".gitattributes").write_text("* filter=x\n")
    (repository / "a").write_text("other")
    found = Checkout.find(str(repository), str(tmp_path))
    assert found is not None
    assert found.time() == 1650000000
    assert b"a" not in found.committed(str(repository))
    assert not ran.exists()


@pytest.mark.parametrize(
    "head", ["", "ref: refs/../../x", "ref: refs/heads/none", "x" * 40, "--output=/tmp/x"]
)
def test_no_commit(tmp_path: Path, head: str) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text(head)
    assert Checkout.find(str(tmp_path), str(tmp_path)) is None


def test_two_clones_give_one_digest(project: Any, repository: Path, another: Any) -> None:
    """Whenever they were made, with another driver, and whatever the cache has of an earlier commit."""
    words = ("--storage-driver", "plain")
    project.nacre("save", "-o", "base.tar", "busybox:test")
    git(repository, "checkout", "-q", "HEAD~1")
    project.build()
    git(repository, "checkout", "-q", "main")
    project.build()
    clone = project.nacre.folder / "clone"
    git(repository, "clone", "-q", str(repository), str(clone))
    os.utime(clone / "a", (1, 1))
    other = another("other")
    other(*words, "load", "-i", str(project.nacre.folder / "base.tar"))
    assert other(*words, "build", "-q", str(clone)).out.strip() == project.id()


@pytest.fixture
def stranger() -> Iterator[tuple[str, Path]]:
    """Another user with a range of ids, and a folder of his."""
    if os.geteuid():
        pytest.skip("needs root to be another user")
    try:
        name = pwd.getpwnam("nacre-ci").pw_name
    except KeyError:
        pytest.skip("there is no user nacre-ci")
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    shutil.chown(folder, name)
    try:
        yield name, folder
    finally:
        shutil.rmtree(folder)


def test_root_and_a_user_give_one_digest(project: Any, stranger: tuple[str, Path]) -> None:
    name, home = stranger
    for path in ("a", "sub/b", "Dockerfile"):
        project.write(path, EVERYTHING if path == "Dockerfile" else path)
        os.utime(project.folder / path, (1500000000, 1500000000))
    project.nacre("save", "-o", str(home / "base.tar"), "busybox:test")
    shutil.copytree(project.folder, home / "context")
    for path in home.rglob("*"):
        shutil.chown(path, name)
    project.build()
    for driver in ("overlay", "plain"):
        other = type(project.nacre)(home / driver, home)
        other.env |= {"HOME": str(home), "NACRE_NETWORK": "host"}
        for words in (("load", "-q", "-i", "base.tar"), ("build", "-q", "context")):
            command = other.command("--storage-driver", driver, *words)
            said = subprocess.run(
                command, env=other.env, cwd=home, user=name, group=name, extra_groups=[], check=True,
                capture_output=True, text=True, timeout=180,
            ).stdout  # fmt: skip
        assert said.strip() == project.id()


def test_forms_of_the_epoch(project: Any, repository: Path) -> None:
    text = f"{BASE}ARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH > /epoch; touch /f\n"

    def built(*words: str) -> tuple[str, str]:
        project.build(text, *words)
        created = project.nacre("inspect", "--format", "{{.Created}}", "app").out.strip()
        return created, project.sh("cat /epoch; stat -c %Y /f").replace("\n", " ")

    epoch = ("--build-arg", "SOURCE_DATE_EPOCH=context")
    assert built(*epoch) == ("2022-04-15T05:20:00Z", "1650000000 1650000000 ")
    git(repository, "rm", "-rqf", "--cached", ".")
    shutil.rmtree(repository / ".git")
    now = built("--build-arg", "SOURCE_DATE_EPOCH=")[1].split()[-1]
    assert int(now) > 1700000000
    assert built(*epoch)[1].split() != ["1650000000"] * 2
    said = project.fails(text, "--build-arg", "SOURCE_DATE_EPOCH=soon").err
    assert "expected seconds since 1970, context or the name of a stage" in said
    stage = f"ARG SOURCE_DATE_EPOCH=src\nFROM scratch AS src\nADD {{}} /\n{text}"
    assert "source must be a single HTTP(S) or Git ADD" in project.fails(stage.format("a")).err
    said = project.fails(stage.replace("scratch", "busybox:test").format("a")).err
    assert "stage must use FROM scratch" in said


def test_a_stage_with_a_cache_keeps_its_times(project: Any, repository: Path) -> None:
    """Programs compare them with files in the cache. What is copied from there is dated like its inputs."""
    os.utime(repository / "a", (1234567890, 1234567890))
    mount = "RUN --mount=type=cache,target=/c touch /w; stat -c %Y /a /w > /times\n"
    text = f"{BASE}COPY a /a\n{mount}FROM busybox:test\nCOPY a /b\nCOPY --from=0 /a /w /times /\n"
    project.build(text)
    first, second, *seen = project.sh("stat -c %Y /a /b; cat /times; stat -c %Y /w").split()
    assert (first, second) == ("1234567890", "1600000000")
    created = project.nacre("inspect", "--format", "{{.Created}}", "busybox:test").out.strip()
    base = int(datetime.fromisoformat(created.partition(".")[0].rstrip("Z") + "+00:00").timestamp())
    assert (seen[0], int(seen[1]) >= base, int(seen[2])) == ("1234567890", True, base)


def test_verify_lists_what_differs_and_why(project: Any) -> None:
    text = (
        BASE
        + "RUN date +%s > /stamp; cat /proc/sys/kernel/random/uuid > /id; hostname > /host; touch /fine\n"
    )
    project.write("Dockerfile", text)
    result = project.nacre("build", "--verify", "-t", "app", str(project.folder), check=False)
    assert (result.code, result.lines[:-1]) == (
        1, ["C /host: the host name", "C /id: random content", "C /stamp: a timestamp in the content"],
    )  # fmt: skip
    assert result.lines[-1].endswith("the builds differ in 3 files")
    images = project.nacre("images", "-aq").lines
    assert "nothing changed" in project.build(text).err
    assert project.nacre("images", "-aq").lines == images
    project.write("copied", "written on 2026-01-31\n")
    text = "WORKDIR /w\nCOPY copied .\nRUN echo a > b; mkdir c; date -u +%F > day\n"
    project.write("Dockerfile", BASE + text)
    same = project.nacre("build", "--verify", "-q", str(project.folder), check=False)
    if same.code == 0:  # else midnight came between the builds
        assert same.lines[0] == "? /w/day: the date of today"
        assert same.lines[1].endswith("both builds are the same")
    else:
        assert same.lines[0].startswith("C /w/day: ")
