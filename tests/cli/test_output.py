from __future__ import annotations

import io
import json
import os
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.cli import output
from nacre.cli.context import Context
from nacre.cli.options import Args, Command, parse
from nacre.cli.output import ago, ellipsis, human_duration, human_size, moment, short_id, timestamp
from nacre.words.errors import UsageError

ROWS = [
    {"ID": "aaa", "Repository": "app", "Size": "7.38MB", "Labels": {"x": "1"}},
    {"ID": "bbbb", "Repository": "registry.example/longer", "Size": "0B", "Labels": {}},
]
COLUMNS = (("REPOSITORY", "Repository"), ("IMAGE ID", "ID"), ("SIZE", "Size"))


def printed(action: Any, *arguments: Any) -> str:
    out = io.StringIO()
    with Context({"HOME": "/nowhere"}, streams=(io.StringIO(), out, io.StringIO())) as context:
        action(context, *arguments)
    return out.getvalue()


def options(*argv: str) -> Args:
    return parse(Command("", run=lambda _context, _args: 0, options=output.LISTING), argv, "images")


def listed(*argv: str) -> str:
    return printed(output.listing, options(*argv), ROWS, COLUMNS)


TABLE = """\
REPOSITORY                IMAGE ID   SIZE
app                       aaa        7.38MB
registry.example/longer   bbbb       0B
"""


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], TABLE),
        (["--format", "table"], TABLE),
        (["-q"], "aaa\nbbbb\n"),
        (["--format", "{{.ID}}"], "aaa\nbbbb\n"),
        (["-q", "--format", "{{.Size}}"], "7.38MB\n0B\n"),
        (["--format", r"table {{.ID}}\t{{.Size}}"], "IMAGE ID   SIZE\naaa        7.38MB\nbbbb       0B\n"),
        (["--format", "table {{.Labels}}"], "LABELS\nmap[x:1]\nmap[]\n"),
    ],
)
def test_listing(argv: list[str], expected: str) -> None:
    assert listed(*argv) == expected


def test_listing_as_json_is_an_object_a_line() -> None:
    assert [json.loads(line) for line in listed("--format", "json").splitlines()] == ROWS


def test_an_empty_table_has_headings() -> None:
    assert printed(output.listing, options(), [], COLUMNS) == "REPOSITORY   IMAGE ID   SIZE\n"
    assert printed(output.listing, options("--format", "json"), [], COLUMNS) == ""


def test_listing_refuses_unknown_fields() -> None:
    with pytest.raises(UsageError, match="can't evaluate field Nope in type row"):
        listed("--format", "{{.Nope}}")


def test_inspect() -> None:
    documents = [{"Id": "a", "Config": {"Env": ["A=ä"]}}]
    assert json.loads(printed(output.inspect, documents)) == documents
    assert printed(output.inspect, documents).startswith('[\n    {\n        "Id": "a"')
    assert printed(output.inspect, documents, "json") == '[{"Id":"a","Config":{"Env":["A=ä"]}}]\n'
    assert printed(output.inspect, documents, "{{.Config.Env}}") == "[A=ä]\n"


def test_fields() -> None:
    fields = {"Version": "1", "Images": 3}
    assert printed(output.print_fields, "", fields) == "Version: 1\nImages: 3\n"
    assert printed(output.print_fields, "json", fields) == '{"Version":"1","Images":3}\n'
    assert printed(output.print_fields, "{{.Images}}", fields) == "3\n"


# Examples of docker/go-units' own documentation and of `docker images`.
@pytest.mark.parametrize(
    ("count", "precision", "shown"),
    [(0, 3, "0B"), (1, 3, "1B"), (999, 3, "999B"), (1000, 3, "1kB"), (1024, 4, "1.024kB"),
     (7380000, 3, "7.38MB"), (116_000_000, 3, "116MB"), (1_430_000_000, 3, "1.43GB"),
     (3.42e15, 4, "3.42PB"), (2.22e21, 3, "2.22e+03EB")],
)  # fmt: skip
def test_human_size(count: float, precision: int, shown: str) -> None:
    assert human_size(count, precision) == shown


MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5, "Less than a second"), (0.9, "Less than a second"), (1, "1 second"), (59, "59 seconds"),
     (60, "About a minute"), (119, "About a minute"), (3 * MINUTE, "3 minutes"), (59 * MINUTE, "59 minutes"),
     (HOUR, "About an hour"), (89 * MINUTE, "About an hour"), (3 * HOUR, "3 hours"), (47 * HOUR, "47 hours"),
     (2 * DAY, "2 days"), (13 * DAY, "13 days"), (14 * DAY, "2 weeks"), (59 * DAY, "8 weeks"),
     (61 * DAY, "2 months"), (729 * DAY, "24 months"), (730 * DAY, "2 years"), (10_000 * DAY, "27 years")],
)  # fmt: skip
def test_human_duration(seconds: float, shown: str) -> None:
    assert human_duration(seconds) == shown


def test_ago() -> None:
    assert ago(1000.0, 1000.0 + 3 * DAY) == "3 days ago"
    assert ago("1970-01-01T00:16:40Z", 1000.0 + 3 * HOUR) == "3 hours ago"
    assert ago("") == "N/A"
    assert ago(0.0) == "N/A"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1970-01-01T00:00:10Z", 10), ("1970-01-01T00:00:10.123456789Z", 10),
     ("1970-01-01T01:00:10.5+01:00", 10), ("", 0), ("yesterday", 0), ("0001-01-01T00:00:00Z", -62135596800)],
)  # fmt: skip
def test_timestamp(text: str, seconds: float) -> None:
    assert timestamp(text) == seconds


@pytest.mark.parametrize(
    ("zone", "expected", "stamp"),
    [
        ("UTC", "2024-05-01 12:30:00 +0000 UTC", "2024-05-01T12:30:00Z"),
        ("Asia/Tokyo", "2024-05-01 21:30:00 +0900 JST", "2024-05-01T21:30:00+09:00"),
        ("America/Sao_Paulo", "2024-05-01 09:30:00 -0300 -03", "2024-05-01T09:30:00-03:00"),
    ],
)
def test_moments_are_in_local_time(
    monkeypatch: pytest.MonkeyPatch, zone: str, expected: str, stamp: str
) -> None:
    if zone != "UTC" and not os.path.exists(f"/usr/share/zoneinfo/{zone}"):
        pytest.skip(f"no zone {zone} here")
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert moment("2024-05-01T12:30:00.5Z") == expected
        assert output.local_rfc3339(1714566600.5) == stamp
    finally:
        monkeypatch.undo()
        time.tzset()


def test_no_moment() -> None:
    assert moment(0.0) == "N/A"


def test_short() -> None:
    assert short_id("sha256:" + "ab" * 32) == "abababababab"
    assert short_id("sha256:" + "ab" * 32, full=True) == "sha256:" + "ab" * 32
    assert short_id("cd" * 32) == "cdcdcdcdcdcd"
    assert ellipsis("abcdef", 4) == "abc…"
    assert ellipsis("abcd", 4) == "abcd"


@given(st.text())
def test_any_time_is_read(text: str) -> None:
    assert isinstance(timestamp(text), float)


@given(st.floats(min_value=0, max_value=1e24))
def test_any_size_is_short(count: float) -> None:
    assert len(human_size(count)) <= 10
