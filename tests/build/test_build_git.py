"""ADD from git repositories."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from gitkit import TIME, Repository, needs_git

from nacre.grammars.dockerfile.gitsource import GitSource, is_git, read_git
from nacre.services.build.repositories import GitConnection
from nacre.words.errors import UsageError

BASE = "FROM busybox:test\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://h/a.git", GitSource("https://h/a.git")),
        ("https://h/a.git#v1:sub/../dir", GitSource("https://h/a.git", "v1", "dir")),
        ("https://h/a.git#:../..", GitSource("https://h/a.git")),
        ("git@h:o/a.git#main", GitSource("git@h:o/a.git", "main")),
        ("ssh://u@h/a?branch=b&submodules=false", GitSource("ssh://u@h/a", "refs/heads/b", submodules=False)),
        (
            "https://h/a.git?tag=v1&subdir=d&keep-git-dir",
            GitSource("https://h/a.git", "refs/tags/v1", "d", keep=True),
        ),
        ("https://h/a.git?commit=ABC", GitSource("https://h/a.git", checksum="abc")),
    ],
)
def test_sources(text: str, expected: GitSource) -> None:
    assert is_git(text)
    assert read_git(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("https://h/a.git?what=1", "unexpected query 'what'"),
        ("https://h/a.git?ref=a&branch=b", "ref conflicts"),
        ("https://h/a.git?ref=a#b", "ref conflicts"),
        ("https://h/a.git?submodules=maybe", "invalid submodules value"),
        ("https://h/a.git?checksum=xyz", "expected hexadecimal digits"),
        ("https://h/a.git?ref=", "has no value"),
    ],
)
def test_malformed_sources(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_git(text)


def test_what_is_no_repository() -> None:
    for text in (
        "https://h/a.git/x",
        "https://h/a",
        "a@b",
        "dir/a@b:c",
        "a.git",
        "@h:x",
        "https://h/x?a=.git",
    ):
        assert not is_git(text)


@needs_git
def test_a_commit_is_added(project: Any, served: str, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "site/a")
    first = repository.commit("v1", file="one", **{"dir/x": "x"})
    second = repository.commit("v2", file="two")
    url = f"{served}/a/.git"
    text = BASE + (
        f"ARG TAG=v1\nADD {url}#$TAG /one\nADD {url} /two\nADD {url}#v1:dir /dir\n"
        f"ADD --checksum={first[:9]} {url}#v1 /three\nADD {url}#{first} /four\n"
    )
    project.build(text)
    shown = project.sh(
        "cat /one/file /two/file /three/file /four/file; ls -A /one /dir; stat -c '%a %Y' /one/file"
    )
    assert shown == f"onetwooneone/dir:\nx\n\n/one:\ndir\nfile\n644 {TIME}\n"
    assert project.leftovers() == []
    assert "nothing changed (5 cached)" in project.build(text).err
    said = project.fails(BASE + f"ADD --checksum={first} {url}#v2 /x\n").err
    assert f"Dockerfile:2:{len(f'ADD --checksum={first} ') + 1}: " in said
    assert f"expected checksum to match {first}, got {second}" in said
    assert "invalid checksum 'no'" in project.fails(BASE + f"ADD --checksum=no {url} /x\n").err
    assert "has no branch, tag or commit 'nothing'" in project.fails(BASE + f"ADD {url}#nothing /x\n").err
    assert "'nodir' is no directory of" in project.fails(BASE + f"ADD {url}#v1:nodir /x\n").err
    assert "git ls-remote failed: " in project.fails(BASE + f"ADD {served}/none.git /x\n").err


@needs_git
def test_the_git_directory_can_be_kept(project: Any, served: str, tmp_path: Path, needs_ids: None) -> None:
    repository = Repository(tmp_path / "site/a")
    commit = repository.commit("v1", file="one")
    text = BASE + f"ADD --keep-git-dir=true --chown=5:6 {served}/a/.git#v1 /x\n"
    project.build(text)
    project.nacre("run", "--rm", "-v", f"{tmp_path}:/out", "app", "cp", "-R", "/x", "/out/")
    status = subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", str(tmp_path / "x"), "status", "-s"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert status.stdout == ""
    assert project.sh("stat -c %u:%g /x/file /x/.git; cat /x/.git/HEAD") == f"5:6\n5:6\n{commit}\n"
    assert "nothing changed (1 cached)" in project.build(text).err
    said = project.fails(BASE + f"ADD --keep-git-dir {served}/a/.git?keep-git-dir=false /x\n").err
    assert "say different things of .git" in said


@needs_git
def test_submodules(project: Any, served: str, tmp_path: Path) -> None:
    Repository(tmp_path / "site/inner").commit("v1", inside="inside")
    outer = Repository(tmp_path / "site/outer")
    outer.git("-c", "protocol.allow=always", "submodule", "add", "-q", f"{served}/inner/.git", "sub")
    outer.commit("v1", file="one")
    url = f"{served}/outer/.git"
    project.build(BASE + f"ADD {url} /x\nADD {url}?submodules=false /y\n")
    assert project.sh("cat /x/sub/inside; ls -A /x/sub /y/sub") == "inside/x/sub:\ninside\n\n/y/sub:\n"


@needs_git
def test_what_git_is_not_asked(project: Any, served: str, tmp_path: Path) -> None:
    """Files of this machine do not come in by a submodule, and links lead nowhere outside."""
    hidden = Repository(tmp_path / "hidden")
    hidden.commit("v1", secret="secret")
    outer = Repository(tmp_path / "site/outer")
    outer.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(hidden.folder), "sub")
    (outer.folder / "link").symlink_to("/etc")
    outer.commit("v1", file="one")
    url = f"{served}/outer/.git"
    assert "git submodule failed" in project.fails(BASE + f"ADD {url} /x\n").err
    assert "is no directory" in project.fails(BASE + f"ADD {url}?submodules=false#:link /x\n").err
    project.build(BASE + f"ADD {url}?submodules=false /x\n")
    assert project.sh("readlink /x/link") == "/etc\n"


def test_refusals(project: Any, tmp_path: Path) -> None:
    said = project.fails(BASE + "COPY https://example.org/a.git /x\n").err
    assert "source can't be a URL for COPY" in said
    (tmp_path / "bin").mkdir()
    said = project.fails(BASE + "ADD https://127.0.0.1:1/a.git /x\n", PATH=str(tmp_path / "bin")).err
    assert "Dockerfile:2:5: a source in git needs the program git, which is not installed" in said
    assert project.leftovers() == []


def test_how_git_reaches_a_server(tmp_path: Path) -> None:
    """A proxy "" is none at all; authorities are added to those of the system."""
    for name in ("bundle", "own"):
        (tmp_path / name).write_text(name)
    assert GitConnection().settings(str(tmp_path)) == [("http.proxy", "")]
    connection = GitConnection(
        "http://proxy:1", (str(tmp_path / "own"),), (("cert", ""),), str(tmp_path / "bundle")
    )
    settings = dict(connection.settings(str(tmp_path)))
    assert Path(settings.pop("http.sslCAInfo")).read_text() == "bundle\nown\n"
    assert settings == {"http.proxy": "http://proxy:1", "http.sslCert": "cert", "http.sslKey": "cert"}
