"""Options of log drivers."""

from __future__ import annotations

import pytest

from nacre.grammars.logoptions import LogOptions, parse_log_options, rendered
from nacre.words.errors import NacreError


def pairs(*texts: str) -> list[tuple[str, str]]:
    return [text.partition("=")[::2] for text in texts]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("driver", "given", "found"),
    [
        ("", (), LogOptions()),
        ("none", (), LogOptions("none")),
        ("json-file", ("max-size=10m",), LogOptions(max_size=10_000_000)),
        ("json-file", ("max-size=1.5 KiB", "max-file=3"), LogOptions(max_size=1500, max_file=3)),
        ("local", (), LogOptions("local", 20_000_000, 5, True)),
        ("local", ("max-file=1",), LogOptions("local", 20_000_000, 1, False)),
        ("local", ("max-size=5", "compress=F", "mode=blocking"), LogOptions("local", 5, 5, False)),
        (
            "journald",
            ("labels=a,b", "labels-regex=^x", "env=C", "env-regex=d$", "tag={{.Name}}"),
            LogOptions("journald", 0, 1, False, ("a", "b"), "^x", ("C",), "d$", "{{.Name}}"),
        ),
    ],
)
def test_what_is_read(driver: str, given: tuple[str, ...], found: LogOptions) -> None:
    assert parse_log_options(driver, pairs(*given)) == found


@pytest.mark.parametrize(
    ("driver", "given", "said"),
    [
        ("fluentd", "", "the log driver fluentd is not supported"),
        ("nolog", "", "no log driver named 'nolog'"),
        ("", "max-sizes=1", "unknown log opt 'max-sizes' for json-file log driver"),
        ("none", "max-size=1", "unknown log opt 'max-size' for none log driver"),
        ("local", "tag=x", "unknown log opt 'tag' for local log driver"),
        ("journald", "max-size=1", "unknown log opt 'max-size' for journald log driver"),
    ],
)
def test_what_is_refused(driver: str, given: str, said: str) -> None:
    with pytest.raises(NacreError) as caught:
        parse_log_options(driver, pairs(given) if given else ())
    assert caught.value.message.startswith(said)


@pytest.mark.parametrize(
    ("driver", "given", "why"),
    [
        ("", "max-size=0", "it must be a positive number"),
        ("", "max-size=-1", "it is not a size"),
        ("", "max-size=1x", "it is not a size"),
        ("", "max-size=١m", "it is not a size"),
        ("", "max-file=2", "max-size is not set"),
        ("local", "max-file=0", "it cannot be less than 1"),
        ("local", "max-file=x", "it is not a whole number"),
        ("local", "compress=yes", "it is not a boolean"),
        ("", "env-regex=(", "missing ), "),
        ("", "tag={{.Nam}}", ""),
        ("", "mode=non-blocking", ""),
    ],
)
def test_values_that_are_refused(driver: str, given: str, why: str) -> None:
    with pytest.raises(NacreError) as caught:
        parse_log_options(driver, pairs(given))
    said = f"invalid log opt '{given}' for {driver or 'json-file'} log driver: {why}"
    assert caught.value.message.startswith(said)


def test_compress_needs_several_files() -> None:
    with pytest.raises(NacreError, match=r"'compress=true' .* max-file is less than 2"):
        parse_log_options("json-file", pairs("max-size=1m", "compress=true"))


def test_what_entries_keep() -> None:
    options = parse_log_options("", pairs("labels=a,none", "labels-regex=^x", "env=B", "env-regex=^Y"))
    labels, env = {"a": "1", "b": "2", "xy": "3"}, ["B=4", "Y1=5", "C=6", "alone"]
    assert options.picked(labels, env) == {"a": "1", "xy": "3", "B": "4", "Y1": "5"}
    assert rendered("{{.ImageName}}/{{.Name}}", {"ImageName": "app", "Name": "box"}) == "app/box"
