"""The frame as a user meets it: whole processes."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nacre import __version__
from nacre.cli.commands import COMMANDS, COMMON, CommandEntry, Group, load
from nacre.cli.groups import GROUPS
from nacre.cli.main import lookup, main
from nacre.words.errors import NotFound


def every() -> list[tuple[str, CommandEntry]]:
    named = [*COMMON.items(), *COMMANDS.items()]
    return named + [
        (f"{title} {name}", row) for title, group in GROUPS.items() for name, row in group.commands.items()
    ]


@pytest.mark.parametrize(("name", "entry"), every(), ids=[name for name, _ in every()])
def test_every_command_has_help(name: str, entry: CommandEntry, capsys: pytest.CaptureFixture[str]) -> None:
    command = load(name, entry)
    assert main([*name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage:  nacre {name}")
    assert entry.summary in shown
    assert all(f"--{option.name}" in shown for option in command.options if not option.hidden)
    keys = [option.key for option in command.options]
    assert len(keys) == len({*keys}), "two options of one name"
    assert not {"positionals", "given", "command"} & {*keys}
    shorts = [option.short for option in command.options if option.short]
    assert len(shorts) == len({*shorts}), "two options of one letter"


@pytest.mark.parametrize("argv", [[], ["--help"], ["help"]])
def test_overview(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Usage:  nacre [OPTIONS] COMMAND\n")
    for heading in ("Common Commands:", "Management Commands:", "Commands:", "Global Options:"):
        assert f"\n{heading}\n" in shown
    assert all(f"\n  {name} " in shown for name in (*COMMON, *COMMANDS, *GROUPS))


@pytest.mark.parametrize("argv", [["image"], ["image", "--help"], ["help", "image"]])
def test_group(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Usage:  nacre image COMMAND\n\nManage images\n\nCommands:\n")
    assert "\n  ls          List images\n" in shown


def test_aliases_are_the_same_command() -> None:
    assert lookup(["container", "ps", "-a"])[1] == lookup(["ps"])[1]
    assert lookup(["image", "list"])[1] == lookup(["images"])[1]
    assert lookup(["image", "remove"])[0] == "image rm"
    assert isinstance(lookup(["image"])[1], Group)
    assert lookup(["image", "rm", "x"])[2] == ["x"]


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["versio"], "unknown command: nacre versio", "did you mean 'nacre version'? see 'nacre --help'"),
        (["image", "lss"], "unknown command: nacre image lss",
         "did you mean 'nacre image ls'? see 'nacre image --help'"),
        (["registry", "user", "ad"], "unknown command: nacre registry user ad",
         "did you mean 'nacre registry user add'? see 'nacre registry --help'"),
        (["registry", "usr", "add"], "unknown command: nacre registry usr",
         "did you mean 'nacre registry user'? see 'nacre registry --help'"),
        (["zzzzz"], "unknown command: nacre zzzzz", "see 'nacre --help'"),
    ],
)  # fmt: skip
def test_unknown_commands(words: list[str], message: str, hint: str) -> None:
    with pytest.raises(NotFound) as caught:
        lookup(words)
    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize(
    ("argv", "code", "start"),
    [
        (["--version"], 0, ""),
        (["nope"], 1, "nacre: unknown command: nacre nope\nhint: see 'nacre --help'\n"),
        (["--nope"], 125, "nacre: unknown flag: --nope\nhint: see 'nacre --help'\n"),
        (["run"], 1, "nacre: 'nacre run' requires at least 1 argument\nhint: see 'nacre run --help'\n"),
        (["run", "--nope"], 125, "nacre: unknown flag: --nope\nhint: see 'nacre run --help'\n"),
        (["image", "--nope"], 125, "nacre: unknown flag: --nope\nhint: see 'nacre image --help'\n"),
        (["version", "x"], 1, "nacre: 'nacre version' accepts no arguments\n"),
        (
            ["--storage-driver", "zfs", "images"],
            125,
            'nacre: invalid argument "zfs" for "--storage-driver" flag',
        ),
        (
            ["version", "-f", "{{.Nope}}"],
            1,
            (
                'nacre: template parsing error: template: :1:2: executing "" at <.Nope>: '
                'map has no entry for key "Nope"\nhint: fields'
            ),
        ),
    ],
)
def test_exit_codes_and_sentences(nacre: Any, argv: list[str], code: int, start: str) -> None:
    result = nacre(*argv, check=False)
    assert result.code == code
    assert result.err.startswith(start)
    assert "Traceback" not in result.err


def test_version(nacre: Any) -> None:
    assert nacre("--version").out == f"nacre version {__version__}\n"
    assert nacre("-v").out == f"nacre version {__version__}\n"
    assert nacre("version", "--format", "{{.Version}}").out == f"{__version__}\n"
    assert nacre("version", "--format", "json").json["Version"] == __version__


def test_driver_of_the_environment_is_checked(nacre: Any) -> None:
    result = nacre("version", check=False, NACRE_STORAGE_DRIVER="zfs")
    assert (result.code, result.err.splitlines()[0]) == (1, "nacre: unknown storage driver 'zfs'")


def test_debug_shows_where(nacre: Any) -> None:
    result = nacre("--debug", "version", "-f", "{{.X}}", check=False)
    assert result.err.startswith("Traceback (most recent call last):\n")
    assert (
        '\nnacre: template parsing error: template: :1:2: executing "" at <.X>: map has no entry'
        in result.err
    )


def test_a_reader_that_goes_away_is_no_news(nacre: Any) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = nacre.start("--help", stdout=writer)
    os.close(writer)
    assert process.communicate()[1] == b""
    assert process.returncode == 141


def test_a_full_output_is_an_error(nacre: Any) -> None:
    with open("/dev/full", "wb") as full:
        process = nacre.start("--version", stdout=full)
    said = b"nacre: cannot write to standard output: No space left on device\n"
    assert process.communicate()[1] == said
    assert process.returncode == 1


def test_a_directory_that_is_gone(nacre: Any, tmp_path: Path) -> None:
    """It is named; what needs none works."""
    enter = ["sh", "-c", 'mkdir "$0"; cd "$0" && rmdir "$0" && exec "$@"', str(tmp_path / "gone")]
    done = subprocess.run(
        [*enter, *nacre.command("--root", "here", "ps")], env=nacre.env, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, b"nacre: the current directory no longer exists\n")
    assert subprocess.run([*enter, *nacre.command("ps", "-q")], env=nacre.env, check=False).returncode == 0


def test_closed_streams_are_survived(nacre: Any) -> None:
    line = 'exec "$@" <&- >&- 2>&-'
    words = nacre.command("version")
    assert subprocess.run(["sh", "-c", line, "sh", *words], env=nacre.env, check=False).returncode == 0


SLOW = """
import sys
from nacre.cli import version
from nacre.cli.main import entry

def run(context, args):
    with context:
        try:
            print("ready", flush=True)
            sys.stdin.read()
        finally:
            print("cleaned", flush=True)
    return 0

version.COMMAND = version.COMMAND.replace(run=run)
sys.argv = ["nacre", "version"]
entry()
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str
)
def test_signals_clean_up(number: signal.Signals, code: int) -> None:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-P", "-c", SLOW], **pipes)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == (b"cleaned\n", b"", code)


FAILING = """
import sys
from nacre.cli import version
from nacre.cli.main import entry

def run(context, args):
    raise {error}

version.COMMAND = version.COMMAND.replace(run=run, failure={failure})
sys.argv = ["nacre", *sys.argv[1:], "version"]
entry()
"""


@pytest.mark.parametrize(
    ("error", "failure", "code", "said"),
    [
        ("OSError(28, 'No space left on device', '/x')", 1, 1, "nacre: /x: No space left on device\n"),
        ("OSError(5, 'Input/output error')", 125, 125, "nacre: Input/output error\n"),
        ("ValueError('odd')", 1, 1, "nacre: internal error: ValueError: odd\nhint: "),
        ("__import__('nacre').words.errors.NotFound('no x', hint='y')", 125, 125, "nacre: no x\nhint: y\n"),
        ("__import__('nacre').words.errors.CommandNotFound('no x')", 125, 127, "nacre: no x\n"),
        ("__import__('nacre').cli.options.usage_error('x', 'run', code=1)", 125, 1, "nacre: x\n"),
    ],
)
def test_errors_become_sentences(error: str, failure: int, code: int, said: str) -> None:
    script = FAILING.format(error=error, failure=failure)
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stderr.startswith(said)
    debug = subprocess.run([sys.executable, "-P", "-c", script, "--debug"], capture_output=True, check=False)
    assert debug.stderr.startswith(b"Traceback")


def test_help_fits_the_terminal(nacre: Any, tmp_path: Path) -> None:
    primary, secondary = pty.openpty()
    with os.fdopen(primary, "rb", buffering=0):
        result = nacre("run", "--help", COLUMNS="60")
        os.close(secondary)
    assert max(map(len, result.lines)) <= 60 or any("--" in line for line in result.lines)


def test_nothing_is_made_before_it_is_needed(nacre: Any) -> None:
    nacre("version")
    nacre("run", "--help")
    assert not nacre.root.exists()
