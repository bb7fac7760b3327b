"""`nacre buildx`: what scripts for buildx call before they build."""

from __future__ import annotations

import json

import pytest

from nacre.cli.main import lookup, main
from nacre.words.oci import Platform

SETUP = [
    ["create", "--name", "ci", "--driver", "docker-container", "--driver-opt", "network=host", "--use"],
    ["create", "--use"],
    ["use", "--default", "ci"],
    ["rm", "ci"],
    ["rm", "--all-inactive", "--force"],
    ["stop", "ci"],
]


@pytest.mark.parametrize("words", SETUP, ids=" ".join)
def test_what_means_nothing_says_so(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["buildx", *words]) == 0
    shown = capsys.readouterr()
    assert shown.err.startswith("nothing to ")
    assert shown.err.count("\n") == 1
    name = "ci" if "--name" in words else "default"
    assert shown.out == (f"{name}\n" if words[0] == "create" else "")
    assert all(word in shown.err for word in words if word in ("--driver-opt", "--all-inactive"))


@pytest.mark.parametrize("words", [["--driver", "remote", "tcp://a:1"], ["ssh://a"], ["--driver=kubernetes"]])
def test_other_machines_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["buildx", "create", *words]) == 1
    assert "a builder elsewhere is not supported" in capsys.readouterr().err


def test_the_builder_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    own = str(Platform.host())
    assert main(["buildx", "inspect", "--bootstrap", "ci"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Name:   ci\nDriver: nacre\n")
    assert f"\nPlatforms:        {own}" in shown
    assert main(["builder", "ls"]) == 0
    assert "default*" in capsys.readouterr().out
    assert main(["buildx", "ls", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["Name"], found["Current"], found["Nodes"][0]["Status"]) == ("default", True, "running")
    assert found["Nodes"][0]["Platforms"][0] == own
    assert main(["buildx", "version"]) == 0
    assert capsys.readouterr().out.startswith("buildx of nacre v")


def test_builds_have_docker_s_names() -> None:
    entries = [lookup([*words, "."])[1] for words in (["build"], ["buildx", "build"], ["builder", "b"])]
    assert entries == [lookup(["image", "build"])[1]] * 3
    assert lookup(["buildx", "--builder", "ci", "build", "."])[0::2] == (
        "buildx build",
        ["--builder", "ci", "."],
    )
    assert lookup(["buildx", "--builder=ci", "build", "."])[2] == ["--builder=ci", "."]
