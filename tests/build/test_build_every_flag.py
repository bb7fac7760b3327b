"""Every flag of `docker buildx build` is known by its name and letter, and none is silently ignored."""

from __future__ import annotations

from typing import Any

import pytest
from buildflags import ELSEWHERE, FLAGS, NOTHING

from nacre.cli.build import COMMAND
from nacre.cli.options import parse

KNOWN = {option.name: option for option in COMMAND.options}


@pytest.mark.parametrize("name", sorted(set(FLAGS) - ELSEWHERE))
def test_flags_are_taken(name: str) -> None:
    letter, value = FLAGS[name]
    words = [[f"--{name}={value}"] if value else [f"--{name}"]]
    words += [[f"-{letter}", value] if value else [f"-{letter}"]] if letter else []
    for line in words:
        args = parse(COMMAND, [*line, "."], "build")
        assert args.given == {KNOWN[name].key}
        assert args.positionals == ["."]


def test_what_is_not_known_yet() -> None:
    assert {name for name in FLAGS if name not in KNOWN} <= ELSEWHERE


def test_flags_without_effect_say_so(project: Any) -> None:
    project.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
    for name, said in NOTHING.items():
        _, value = FLAGS[name]
        words = [f"--{name}={value}" if value else f"--{name}"]
        assert said in project.build("", *words, check=False).err


def test_the_platform_of_the_environment(project: Any) -> None:
    project.build("FROM scratch\nCOPY Dockerfile /\n", DOCKER_DEFAULT_PLATFORM="linux/s390x")
    assert project.nacre("inspect", "-f", "{{.Architecture}}", "app").out == "s390x\n"
    assert "invalid platform 'x'" in project.fails("", DOCKER_DEFAULT_PLATFORM="x").err
    project.build("", "--platform", "linux/arm64", DOCKER_DEFAULT_PLATFORM="linux/s390x")
    assert project.nacre("inspect", "-f", "{{.Architecture}}", "app").out == "arm64\n"
