"""Bake files from a repository, an archive and a URL."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from gitkit import Repository, needs_git

from nacre.engine.baking import git_secrets
from nacre.grammars.dockerfile.gitsource import within

FILES = {
    "docker-bake.json": json.dumps({
        "group": {"default": {"targets": ["app", "sub"]}},
        "target": {
            "app": {"tags": ["app"], "contexts": {"other": "sub"}},
            "sub": {"tags": ["sub"], "context": "./sub/../sub"},
            "up": {"context": "../../sub", "tags": ["up"]},
            "here": {
                "context": "cwd://mine", "dockerfile-inline": "FROM scratch\nCOPY f /\n", "tags": ["here"],
            },
            "steals": {"dockerfile": "cwd:///etc/hostname"},
            "takes": {"dockerfile": "/etc/hostname"},
        },
    }),
    "Dockerfile": "FROM scratch\nCOPY --from=other f /\n",
    "sub/Dockerfile": "FROM scratch\nCOPY f /\n",
    "sub/f": "f",
}  # fmt: skip


@pytest.mark.parametrize(
    ("source", "folder", "expected"),
    [
        ("https://h/a.git", ".", "https://h/a.git"),
        ("https://h/a.git", "b", "https://h/a.git#:b"),
        ("https://h/a.git#v1", "b/./c", "https://h/a.git#v1:b/c"),
        ("https://h/a.git?tag=v1#:x", "b", "https://h/a.git?tag=v1#:x/b"),
        ("git@h:a#v1:x", "../../..", "git@h:a#v1:x"),
        ("git@h:a#v1:x", "/etc", "git@h:a#v1:x/etc"),
    ],
)
def test_folders_of_a_repository(source: str, folder: str, expected: str) -> None:
    assert within(source, folder) == expected


def test_secrets_of_the_environment() -> None:
    environment = {"BUILDX_BAKE_GIT_AUTH_TOKEN": "t", "BUILDX_BAKE_GIT_AUTH_HEADER": ""}
    assert git_secrets("https://h/a.git", environment) == (("GIT_AUTH_TOKEN", b"t"),)
    assert git_secrets("https://h/a.hcl", environment) == ()


@needs_git
def test_a_repository(nacre: Any, served: str, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "site/r")
    repository.commit("v1", **FILES)
    repository.commit("v2", **{"sub/f": "second"})
    url = f"{served}/r/.git"
    shown = json.loads(nacre("bake", f"{url}#v1", "--print").out)
    assert shown["target"]["app"]["context"] == f"{url}#v1"
    assert shown["target"]["app"]["contexts"] == {"other": f"{url}#v1:sub"}
    assert shown["target"]["sub"]["context"] == f"{url}#v1:sub"
    nacre("bake", url, "app", "sub", "up")
    ids = {nacre("images", "-q", name).out for name in ("app", "sub", "up")}
    assert len(ids) == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/f").write_text("mine")
    nacre("bake", url, "here")
    assert nacre("images", "-q", "here").out not in ids
    for name in ("steals", "takes"):
        refused = nacre("bake", url, name, check=False)
        assert "additional privileges requested: read access to /etc/hostname" in refused.err
    assert "cannot read none.hcl: no such file" in nacre("bake", url, "-f", "none.hcl", check=False).err
    # one file of here over those from there
    (tmp_path / "more.json").write_text(json.dumps({"target": {"sub": {"tags": ["mine"]}}}))
    words = ("-f", "docker-bake.json", "-f", "cwd://more.json", "--print", "sub")
    assert json.loads(nacre("bake", url, *words).out)["target"]["sub"]["tags"] == ["mine"]


def test_one_file_and_an_archive(nacre: Any, served: str, tmp_path: Path) -> None:
    """The one builds what is here, the other itself."""
    text = {"target": {"default": {"tags": ["one"], "context": "c", "args": {"A": "${BAKE_CMD_CONTEXT}"}}}}
    (tmp_path / "site/bake.json").write_text(json.dumps(text))
    (tmp_path / "c").mkdir()
    (tmp_path / "c/Dockerfile").write_text("FROM scratch\nARG A\nLABEL a=$A\n")
    nacre("bake", f"{served}/bake.json")
    assert nacre("inspect", "-f", "{{.Config.Labels.a}}", "one").out == "cwd://\n"
    nacre("bake", f"{served}/bake.json", "https://h/other.git")
    assert nacre("inspect", "-f", "{{.Config.Labels.a}}", "one").out == "https://h/other.git\n"
    files = {"Dockerfile": "FROM scratch\nCOPY f /\n", "f": "f"}
    files |= {
        "docker-bake.json": json.dumps({"target": {"default": {"tags": ["all"]}, "x": {"context": "x"}}})
    }
    with tarfile.open(tmp_path / "site/a.tar.gz", "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content.encode()))
    nacre("bake", f"{served}/a.tar.gz")
    assert nacre("images", "-q", "all").out
    failed = nacre("bake", f"{served}/a.tar.gz", "x", check=False)
    assert "x: a folder of an archive cannot be a context" in failed.err
    assert nacre("bake", f"{served}/none", check=False).code == 1
