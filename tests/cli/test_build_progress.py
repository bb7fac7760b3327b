"""How a build is shown: the live view, lines, and BuildKit's raw JSON."""

from __future__ import annotations

import base64
import io
import json
import re

import pytest

from nacre.cli import buildsteps
from nacre.cli.buildsteps import PlainBuild, RawJson
from nacre.cli.buildview import BuildView
from nacre.cli.context import Context
from nacre.cli.terminal import Display, Events
from nacre.services.build.report import BuildReport


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def last_screen(out: io.StringIO) -> list[str]:
    """What stands on the terminal: each drawing goes up by some lines and erases them."""
    lines: list[str] = []
    for part in re.split(r"(\x1b\[\d+A\r\x1b\[J)", out.getvalue()):
        up = re.fullmatch(r"\x1b\[(\d+)A\r\x1b\[J", part)
        if up:
            del lines[len(lines) - int(up[1]) :]
        else:
            lines += part.split("\n")[:-1]
    return lines


def build(display: Display) -> None:
    """Two steps side by side: one works and fails, one is cached."""
    report = BuildReport(display)
    make, copy = report.step("[a 1/1] RUN make"), report.step("[b 1/1] COPY x /")
    make.begin()
    copy.cached()
    make.output("stdout", b"cc \x1b[2Ja.c\r\nlinking\n")
    make.output("stderr", b"oops")
    make.failed("exit code: 1")
    report.step("never begun").canceled()


def test_ended_steps_are_folded_and_the_failed_one_is_not() -> None:
    out = Tty()
    with BuildView(out, {"NO_COLOR": "1"}) as view:
        build(view)
    text = [line.rstrip() for line in last_screen(out)]
    assert re.fullmatch(r" => CACHED \[b 1/1\] COPY x / +0\.\ds", text[0])
    assert re.fullmatch(r" => ERROR \[a 1/1\] RUN make +0\.\ds", text[1])
    assert text[2:] == ["------", " > [a 1/1] RUN make:", "cc a.c", "linking", "oops", "------"]
    assert "\x1b[2J" not in out.getvalue()
    assert "\x1b[31m" not in out.getvalue()


def test_colours_without_no_color() -> None:
    out = Tty()
    with BuildView(out, {}) as view:
        build(view)
    assert "\x1b[31m => ERROR" in out.getvalue()
    assert "\x1b[34m => CACHED" in out.getvalue()


def test_the_running_step_shows_its_time_and_last_lines() -> None:
    out = Tty()
    view = BuildView(out, {"NO_COLOR": "1"})
    report = BuildReport(view)
    step = report.step("[1/1] RUN make " + "x" * 200)
    step.begin()
    step.output("stdout", b"".join(b"line %d\n" % number for number in range(100)))
    task = step.task("copying")
    task.phase("Copying", 100)
    task.advance(50)
    report.step("[2/2] RUN other").begin()
    heading, first, *beneath, last = last_screen(out)
    assert re.fullmatch(r"\[\+\] Building 0\.\ds \(0 done, 2 running\)", heading)
    assert first.startswith(" => [1/1] RUN make xxx")
    assert len(first) < 80
    assert beneath[-1].startswith(" => => copying: Copying [====")
    assert beneath[:-1] == [f" => => line {number}" for number in range(95, 100)]
    assert last.startswith(" => [2/2] RUN other")
    view.line("news")
    assert last_screen(out)[0] == "news"
    view.close()
    assert last_screen(out) == ["news"]


def test_wide_and_hostile_characters_stay_on_their_line() -> None:
    out = Tty()
    view = BuildView(out, {"NO_COLOR": "1"})
    step = BuildReport(view).step("漢" * 100 + "\x1b]0;title\x07\x9b")
    step.begin()
    line = last_screen(out)[1]
    assert "\x1b" not in line
    assert "\x9b" not in line
    assert sum(2 if char == "漢" else 1 for char in line) < 80


def test_lines_have_the_number_of_their_step() -> None:
    out = io.StringIO()
    build(PlainBuild(out))
    found = re.sub(r"#1 0\.\d{3} ", "#1 0.1 ", out.getvalue()).splitlines()
    assert found == [
        "#1 [a 1/1] RUN make", "#2 [b 1/1] COPY x /", "#2 CACHED", "#1 0.1 cc \x1b[2Ja.c", "#1 0.1 linking",
        "#1 0.1 oops", "#1 ERROR: exit code: 1",
    ]  # fmt: skip


def test_something_long_is_told_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(buildsteps, "monotonic", lambda: now)
    out = io.StringIO()
    task = BuildReport(PlainBuild(out)).step("[1/1] COPY large /").task("copying")
    task.phase("Copying", 2_000_000_000)
    for now in (1.0, 6.0, 7.0):  # noqa: B007
        task.advance(500_000_000)
    task.done("copied")
    assert out.getvalue().splitlines() == [
        "#1 [1/1] COPY large /", "#1 copying: Copying 1GB / 2GB", "#1 copying: copied"
    ]  # fmt: skip


def test_raw_json_is_that_of_buildkit() -> None:
    out = io.StringIO()
    build(RawJson(out))
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    begun, other, cached, output, more, failed = events
    (vertex,) = begun["vertexes"]
    assert vertex["name"] == "[a 1/1] RUN make"
    assert vertex["digest"] != other["vertexes"][0]["digest"]
    assert cached["vertexes"][0]["cached"] is True
    (log,) = output["logs"]
    assert (log["vertex"], log["stream"]) == (vertex["digest"], 1)
    assert base64.b64decode(log["data"]) == b"cc \x1b[2Ja.c\nlinking\n"
    assert more["logs"][0]["stream"] == 2
    assert failed["vertexes"][0]["error"] == "exit code: 1"
    assert failed["vertexes"][0]["completed"]


def test_the_display_that_fits_a_build() -> None:
    def chosen(stream: io.StringIO, form: str = "auto", *, quiet: bool = False, **environment: str) -> type:
        with Context({"TERM": "xterm"} | environment, streams=(io.StringIO(), io.StringIO(), stream)) as one:
            return type(one.build_progress(quiet=quiet, form=form))

    assert chosen(Tty()) is chosen(Tty(), "tty") is BuildView
    assert chosen(Tty(), TERM="dumb") is chosen(io.StringIO()) is chosen(Tty(), "plain") is PlainBuild
    assert chosen(Tty(), BUILDKIT_PROGRESS="plain") is PlainBuild
    assert chosen(Tty(), "rawjson") is RawJson
    assert chosen(Tty(), "json") is Events
    assert chosen(Tty(), "quiet") is chosen(Tty(), quiet=True) is Display
    with pytest.raises(Exception, match="standard error is not a terminal"):
        chosen(io.StringIO(), "tty")
