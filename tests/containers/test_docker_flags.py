"""Every flag of docker works, which a case shows, or is refused with a sentence that names it."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dockerflags import CREATE, ELSEWHERE, EXEC, EXECS, LIMITS, REFUSED, RUN, RUNS, SHOWN

from nacre.cli import create, exec, run
from nacre.cli.options import Command
from nacre.ground import userns

if TYPE_CHECKING:
    from conftest import Nacre

ROOT = Path(__file__).resolve().parents[2]
LETTERS = {letter: name for name, letter in RUN.items() if letter}


@pytest.mark.parametrize(
    ("command", "flags"), [(run.COMMAND, RUN), (create.COMMAND, CREATE), (exec.COMMAND, EXEC)]
)
def test_every_flag_is_known_by_name_and_letter(command: Command, flags: dict[str, str]) -> None:
    known = {option.name: option.short for option in command.options}
    assert {name: known.get(name, "absent") for name in flags} == flags
    assert set(known) - set(flags) == set()


def flags_of(words: list[str]) -> set[str]:
    """The long names of those that stand there."""
    return {
        LETTERS[word[1]] if word[1] != "-" else word[2:].partition("=")[0]
        for word in words
        if word.startswith("-")
    }


def test_every_flag_has_a_case() -> None:
    shown = {name for words, *_ in (*RUNS, *SHOWN) for name in flags_of(words)}
    assert set(RUN) - shown - set(ELSEWHERE) - set(REFUSED) - set(LIMITS) == set()
    assert set(EXEC) == {name for words, *_ in EXECS for name in flags_of(words)}


@pytest.mark.parametrize("place", sorted(set(ELSEWHERE.values())))
def test_cases_elsewhere_are_there(place: str) -> None:
    path, _, name = place.partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.fixture
def variables(tmp_path: Path) -> None:
    (tmp_path / "variables").write_text("# one\nFILE=1\n")


@pytest.mark.usefixtures("variables")
def test_what_it_does(nacre: Nacre, busybox_image: str) -> None:
    for flags, command, said in RUNS:
        if "--group-add" in flags and not userns.mapped():
            continue
        done = nacre("run", "--rm", *flags, busybox_image, *command, input="in", check=False)
        assert (flags, done.raw.decode(), "ignored" in done.err) == (flags, said, False), done.err


@pytest.mark.usefixtures("variables")
def test_what_it_does_to_one_more_program(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "-d", "--name", "box", "--network", "host", busybox_image, "sleep", "1000")
    for flags, command, said in EXECS:
        done = nacre("exec", *flags, "box", *command, input="in", check=False)
        assert (flags, done.code, done.raw.decode()) == (flags, 0, said)
    nacre("rm", "-f", "box")


def test_what_is_shown_of_it(nacre: Nacre, busybox_image: str) -> None:
    for flags, template, said in SHOWN:
        if "web" in flags:
            if os.geteuid() or not userns.is_first():
                continue
            nacre("network", "create", "web")
        number = nacre("create", *flags, busybox_image, "true").out.strip()
        assert (flags, nacre("inspect", "-f", template, number).out) == (flags, f"{said}\n")


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_refused_by_name(nacre: Nacre, name: str) -> None:
    """Before an image is looked for."""
    word = f"--{name}={REFUSED[name]}" if REFUSED[name] else f"--{name}"
    done = nacre("run", word, "none-such.invalid/x", check=False)
    assert (done.code, done.out) == (125, "")
    assert name.replace("-", " ").split(" ")[-1] in done.err
    assert done.err.count("\n") <= 2
    assert nacre("ps", "-aq").out == ""


def test_limits_work_or_say_that_they_do_not(nacre: Nacre, busybox_image: str) -> None:
    """What they do to a program: `test_limited.py`."""
    plain = host_config(nacre, nacre("create", busybox_image, "true").out.strip())
    for name, (good, bad) in LIMITS.items():
        done = nacre("create", f"--{name}={good}", busybox_image, "true", check=False)
        if done.code or done.err:
            assert (name, is_named(name, done.err)) == (name, True)
        else:
            assert (name, host_config(nacre, done.out.strip()) != plain) == (name, True)
        if bad:
            done = nacre("create", f"--{name}={bad}", busybox_image, "true", check=False)
            assert (name, done.code in (1, 125), is_named(name, done.err)) == (name, True, True)


def is_named(name: str, said: str) -> bool:
    return any(word in said.lower() for word in name.split("-"))


def host_config(nacre: Nacre, number: str) -> str:
    return nacre("inspect", "-f", "{{json .HostConfig}}", number).out
