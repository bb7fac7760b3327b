from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.cli.options import (
    Args,
    Command,
    HelpWanted,
    Option,
    arity,
    choice,
    flag,
    many,
    number,
    parse,
    read_bytes,
    size,
    text,
)
from nacre.words.errors import UsageError

OPTIONS = (
    flag("-d, --detach", "Run in background"),
    flag("-i, --interactive", "Keep STDIN open"),
    flag("-t, --tty", "Allocate a terminal"),
    flag("--sig-proxy", "Proxy signals", default=True),
    many("-e, --env", "Set a variable"),
    text("--name", "Name it"),
    text("-h, --hostname", "Host name"),
    choice("--pull", "When to pull", ("always", "missing", "never"), default="missing"),
    text("--progress", "How to show").replace(implied="plain"),
    number("--pids-limit", "Processes"),
    size("-m, --memory", "Memory"),
)


def command(arguments: str = "IMAGE [COMMAND] [ARG...]", *, interspersed: bool = True) -> Command:
    return Command(arguments, run=lambda _context, _args: 0, options=OPTIONS, interspersed=interspersed)


def read(*argv: str, interspersed: bool = True) -> Args:
    return parse(command(interspersed=interspersed), argv, "run")


def refused(*argv: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        read(*argv)
    return caught.value


@pytest.mark.parametrize(
    ("argv", "key", "value"),
    [
        (["--detach"], "detach", True),
        (["--detach=false"], "detach", False),
        (["-d"], "detach", True),
        (["-d=0"], "detach", False),
        (["--sig-proxy=F"], "sig_proxy", False),
        (["--name", "x"], "name", "x"),
        (["--name=x=y"], "name", "x=y"),
        (["--name", "--detach"], "name", "--detach"),
        (["--name="], "name", ""),
        (["--name", "a", "--name", "b"], "name", "b"),
        (
            ["-e", "A=1", "-eB=2", "-e=C=3", "--env", "D", "--env=E=5"],
            "env",
            ["A=1", "B=2", "C=3", "D", "E=5"],
        ),
        (["--pids-limit", "-1"], "pids_limit", -1),
        (["-m", "512m"], "memory", 512 << 20),
        (["-m1.5g"], "memory", 3 << 29),
        (["-h", "box"], "hostname", "box"),
        (["--progress"], "progress", "plain"),
        (["--progress=json"], "progress", "json"),
        (["--pull", "always"], "pull", "always"),
    ],
)
def test_values(argv: list[str], key: str, value: Any) -> None:
    args = read(*argv, "app")
    assert getattr(args, key) == value
    assert args.given == {key}
    assert args.positionals == ["app"]


def test_defaults() -> None:
    args = read("app")
    shown = {option.key: getattr(args, option.key) for option in OPTIONS}
    assert shown == {
        "detach": False, "interactive": False, "tty": False, "sig_proxy": True, "env": [], "name": "",
        "hostname": "", "pull": "missing", "progress": "", "pids_limit": None, "memory": 0,
    }  # fmt: skip
    assert args.given == set()


def test_lists_are_not_shared_between_lines() -> None:
    read("-e", "A", "app")
    assert read("app").env == []


def test_combined_shorts() -> None:
    args = read("-ditm", "64m", "app")
    assert (args.detach, args.interactive, args.tty, args.memory) == (True, True, True, 64 << 20)


def test_options_mix_with_positionals() -> None:
    args = read("app", "-d", "sh", "--name", "x", "--", "-e", "--what")
    assert args.detach
    assert args.name == "x"
    assert args.positionals == ["app", "sh", "-e", "--what"]


def test_options_end_at_the_first_positional() -> None:
    args = read("-it", "app", "sh", "-c", "echo", "--", "-d", interspersed=False)
    assert args.positionals == ["app", "sh", "-c", "echo", "--", "-d"]
    assert not args.detach


def test_a_dash_is_a_positional() -> None:
    assert read("-", "-d").positionals == ["-"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--foo", "app"], "unknown flag: --foo"),
        (["--foo=1", "app"], "unknown flag: --foo"),
        (["-zx", "app"], "unknown shorthand flag: 'z' in -zx"),
        (["-dz", "app"], "unknown shorthand flag: 'z' in -dz"),
        (["--name"], "flag needs an argument: --name"),
        (["-m"], "flag needs an argument: 'm' in -m"),
        (
            ["--detach=maybe"],
            'invalid argument "maybe" for "-d, --detach" flag: not a boolean (true or false)',
        ),
        (["--pids-limit", "x"], 'invalid argument "x" for "--pids-limit" flag: not a whole number'),
        (["-m", "xx"], 'invalid argument "xx" for "-m, --memory" flag: invalid size: \'xx\''),
        (["--pull=no"], 'invalid argument "no" for "--pull" flag: expected one of always, missing, never'),
    ],
)
def test_mistakes(argv: list[str], message: str) -> None:
    error = refused(*argv)
    assert error.message == message
    assert error.hint == "see 'nacre run --help'"
    assert error.exit_code == 125


@pytest.mark.parametrize("argv", [["--help"], ["-d", "--help", "--nonsense"], ["app", "--help"]])
def test_help(argv: list[str]) -> None:
    with pytest.raises(HelpWanted):
        read(*argv)


def test_h_is_help_where_it_is_nothing_else() -> None:
    plain = Command("", run=lambda _context, _args: 0)
    with pytest.raises(HelpWanted):
        parse(plain, ["-h"], "ps")


def test_help_after_the_image_belongs_to_the_program() -> None:
    assert read("app", "--help", interspersed=False).positionals == ["app", "--help"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", (0, 0)),
        ("IMAGE [COMMAND] [ARG...]", (1, None)),
        ("SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", (2, 2)),
        ("[REPOSITORY[:TAG]]", (0, 1)),
        ("CONTAINER [CONTAINER...]", (1, None)),
        ("file|URL|- [REPOSITORY[:TAG]]", (1, 2)),
        ("PATH | URL | -", (1, 1)),
        ("[SERVER]", (0, 1)),
    ],
)
def test_arity(arguments: str, expected: tuple[int, int | None]) -> None:
    assert arity(arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "argv", "message"),
    [
        ("A B", ["a"], "'nacre tag' requires 2 arguments"),
        ("A", [], "'nacre tag' requires 1 argument"),
        ("A [B...]", [], "'nacre tag' requires at least 1 argument"),
        ("[A]", ["a", "b"], "'nacre tag' requires at most 1 argument"),
        ("", ["a"], "'nacre tag' accepts no arguments"),
    ],
)
def test_counts_end_with_one(arguments: str, argv: Sequence[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(command(arguments), argv, "tag")
    assert caught.value.message == message
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("written", "count"),
    [("0", 0), ("10", 10), ("10b", 10), ("1k", 1024), ("1kb", 1024), ("1KiB", 1024), ("2 MB", 2 << 20),
     ("1.5g", 3 << 29), (".5m", 1 << 19), ("3t", 3 << 40)],
)  # fmt: skip
def test_sizes(written: str, count: int) -> None:
    assert read_bytes(written) == count


@pytest.mark.parametrize("written", ["", "m", "x", "1x", "-1", "-2", "1.2.3", "٣m", "1 2", "."])
def test_bad_sizes(written: str) -> None:
    with pytest.raises(ValueError, match="invalid size"):
        read_bytes(written)


WORDS = st.text(st.characters(codec="utf-8"), max_size=8)


@given(st.lists(st.sampled_from(["-", "--", "-d", "--name", "-e", "--env=", "-it", "--pull=never"]) | WORDS))
def test_any_line_is_read_or_refused(argv: list[str]) -> None:
    try:
        args = parse(command("[ARG...]"), argv, "run")
    except (UsageError, HelpWanted):
        return
    assert set(args.positionals) <= {*argv}


@given(st.lists(WORDS), WORDS)
def test_values_arrive_as_written(values: list[str], name: str) -> None:
    argv = [word for value in values for word in ("--env", value)]
    args = parse(command("[ARG...]"), [*argv, f"--name={name}", "--", *values], "run")
    assert args.env == values
    assert args.name == name
    assert args.positionals == values


def test_options_are_values() -> None:
    assert flag("-q, --quiet", "x") == Option("quiet", "q", "x", "bool", "", False, (), "true")
    assert text("--read-only", "x").key == "read_only"
    assert flag("-q, --quiet", "x").spelling == "-q, --quiet"
    assert text("--name", "x").spelling == "--name"
