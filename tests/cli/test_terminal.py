"""How transfers are shown: speed and time left, events for programs."""

from __future__ import annotations

import io
import json

import pytest

from nacre.cli.terminal import Display, Events, Pace, Plain, short_time


def test_pace_of_the_last_seconds() -> None:
    pace = Pace(0.0)
    assert pace.at(0.4, 400) == 0.0, "too early to tell"
    assert pace.at(1.0, 1000) == 1000.0
    assert pace.at(4.0, 4000) == 1000.0
    assert pace.at(5.0, 4000) == 800.0
    assert pace.at(8.0, 4000) == 0.0, "what was fast long ago does not count"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0s"), (7.4, "7s"), (59.4, "59s"), (60, "1m00s"), (185, "3m05s"), (7800, "2h10m"), (1e9, "…")],
)
def test_short_time(seconds: float, text: str) -> None:
    assert short_time(seconds) == text


def test_events() -> None:
    out = io.StringIO()
    with Events(out) as shown:
        shown.line("1: Pulling from app")
        task = shown.task("abc")
        task.phase("Downloading", 10)
        task.advance(10)
        task.done("Pull complete")
        shown.result(Moved=10, Seconds=0.5)
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert events[0] == {"status": "1: Pulling from app"}
    assert {"id": "abc", "status": "Pull complete"} in events
    assert events[-1] == {"aux": {"Moved": 10, "Seconds": 0.5}}


def test_results_are_for_programs_only() -> None:
    out = io.StringIO()
    for shown in (Plain(out), Display()):
        shown.result(Moved=1)
    assert out.getvalue() == ""
