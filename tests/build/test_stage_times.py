"""Times of images as a build reads them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.services.build.stageprogress import parse_rfc3339, rfc3339


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_in_utc_is_read_whatever_comes_behind_its_seconds(when: datetime) -> None:
    seconds = max(0, int(when.replace(microsecond=0).timestamp()))
    for fraction in ("", ".5", ".123456789"):
        assert parse_rfc3339(f"{when:%Y-%m-%dT%H:%M:%S}{fraction}Z".rjust(20, "0")) == seconds * 10**9


@given(st.integers(0, 200_000_000_000))
def test_what_is_written_is_read(seconds: int) -> None:
    assert parse_rfc3339(rfc3339(seconds * 10**9)) == seconds * 10**9


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2024-02-29T00:00:00Z", 1709164800),
        ("2024-02-29T02:00:00.5+02:00", 1709164800),
        ("1969-12-31T23:59:59Z", 0),
        ("0001-01-01T00:00:00Z", 0),
        ("2023-02-29T00:00:00Z", 0),
        ("2024-13-01T00:00:00Z", 0),
        ("2024-01-01T24:00:00Z", 0),
        ("2024-01-01T00:00:60Z", 0),
        ("+024-01-01T00:00:00Z", 0),
        ("yesterday, at midnight", 0),
        ("", 0),
    ],
)
def test_what_is_no_time_is_the_beginning(text: str, seconds: int) -> None:
    assert parse_rfc3339(text) == seconds * 10**9
