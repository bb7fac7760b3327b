"""docs/security.md states facts; they are those of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from nacre.cli.create import COMMAND as CREATE
from nacre.ground.sandbox import capabilities, facts, profile, syscalls
from nacre.images.model.runtime import RunOptions, runtime_config
from nacre.words.oci import ImageConfig

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")
PROMISES = PAGE.partition("## What the built-in sandbox promises")[2].partition("\n## ")[0]
OPENED = PAGE.partition("## What options open")[2].partition("\n## ")[0]


def config() -> dict[str, Any]:
    document = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
    return runtime_config(ImageConfig.from_json(document), RunOptions(command=("true",)))


def words(after: str, before: str) -> list[str]:
    found = re.search(f"{re.escape(after)}(.*?){re.escape(before)}", PROMISES, re.DOTALL)
    assert found, after
    return re.findall(r"`([^`]+)`", found[1])


def test_capabilities() -> None:
    assert words("than root:", ".\n") == [name.removeprefix("CAP_") for name in capabilities.DEFAULT]
    assert f"It has {len(capabilities.DEFAULT)} capabilities at most" in PROMISES


def test_paths() -> None:
    linux = config()["linux"]
    assert words("These paths are masked:", "These are read-only:") == linux["maskedPaths"]
    assert words("These are read-only:", ", and `/sys`") == linux["readonlyPaths"]


def test_system_calls() -> None:
    known = syscalls.numbers("x86_64")
    outcomes = profile.outcomes("x86_64", "x86_64")
    found = {name: outcomes.get(number, (1, ())) for name, number in known.items()}
    allowed = [name for name, outcome in found.items() if outcome == (0, ())]
    depending = sorted(name for name, outcome in found.items() if outcome[1])
    assert (
        f"Of {len(known)} system calls of x86-64, {len(allowed)} are allowed, and {len(depending)}"
        in PROMISES
    )
    assert words("depending on their arguments (", ")") == depending
    assert facts.DATE in PROMISES
    assert f"{len(allowed) + len(depending)} system calls are a large surface" in PAGE


def test_devices() -> None:
    nodes = {
        (1, 3): "null", (1, 5): "zero", (1, 7): "full", (1, 8): "random", (1, 9): "urandom", (5, 0): "tty",
        (5, 2): "ptmx", (136, None): "",
    }  # fmt: skip
    rules = config()["linux"]["resources"]["devices"]
    usable = [rule for rule in rules if rule["allow"] and rule["access"] == "rwm"]
    assert [nodes[rule["major"], rule.get("minor")] for rule in usable][:-1] == words(
        "It can open", "and its own"
    )


def test_every_option_that_opens_something_is_there() -> None:
    """And is an option of `nacre create`."""
    known = {f"--{option.name}" for option in CREATE.options} | {"-v", "-u"}
    named = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+|-v|-u)", OPENED))
    assert named <= known, named - known
    for option in (
        "--privileged",
        "--cap-add",
        "--device",
        "--security-opt",
        "--network",
        "--pid",
        "--ipc",
        "-v",
    ):
        assert option in named
    for name in ("seccomp", "systempaths", "writable-cgroups", "apparmor", "no-new-privileges"):
        assert f"--security-opt {name}" in OPENED, name


@pytest.mark.parametrize("page", ["README.md", "SECURITY.md", "docs/run.md"])
def test_it_is_found(page: str) -> None:
    assert "security.md" in (ROOT / page).read_text(encoding="utf-8")
